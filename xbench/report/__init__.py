"""The comparison report: one self-contained page with figures and tables, from the store only. No torch."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbench.store.store import Store

if TYPE_CHECKING:
    from xbench.tables.tables import Tables

__all__ = ["write"]


def write(
    store: Store,
    manifest: Mapping[str, Any],
    directory: Path,
    *,
    built: "Tables | None" = None,
    reuse: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Path:
    """Write `directory`/index.html with its tables/ and figures/ and return the path of the page.

    The same store and manifest give the same bytes. The page is written last, so an existing page is complete.

    Args:
        built: the tables of `manifest`, if the caller has built them already.
        reuse: whether to keep an existing page and figures with the same content (same numbers, same code).
        progress: called with the number of finished figures and their total.

    Raises:
        StoreError: the directory cannot be written.
    """
    from xbench.report import current
    from xbench.report.collect import settings
    from xbench.tables import tables  # importing pandas takes a second; a mistyped command should fail at once

    built = built or tables.build(store, manifest)
    tables.write(built, directory / "tables")
    found = settings(store, manifest, built.grid)
    path, inputs = directory / "index.html", current.digest(built, found, manifest)
    if reuse and current.is_current(path, inputs):
        return path
    from xbench.boundary.files import write_atomic
    from xbench.report import build  # imports matplotlib, only if there is something to draw

    page = build.page_of(store, manifest, built, found, directory, inputs, reuse=reuse, progress=progress)
    write_atomic(path, page.encode(errors="backslashreplace"))
    return path
