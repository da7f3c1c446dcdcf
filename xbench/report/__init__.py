"""The comparison report: one self-contained page, figures and tables, from the store alone; no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xbench.store import Store

__all__ = ["write"]


def write(store: Store, manifest: Mapping[str, Any], directory: Path, *, reuse: bool = False) -> Path:
    """Write `directory`/index.html with its tables/ and figures/ and return the path of the page.

    The same store and manifest give the same bytes. The page comes last, so one that is there is whole. With
    `reuse`, a page that already shows this (same numbers, same code) is left as it is, tables aside.

    Raises:
        StoreError: the directory cannot be written.
    """
    from xbench.report import build  # matplotlib and seaborn take seconds; a mistyped command should not

    return build.write(store, manifest, directory, reuse=reuse)
