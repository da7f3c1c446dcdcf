"""Decides whether an existing page is up to date, because drawing figures takes most of a report's time."""

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from xbench.report.collect import Manifest, Setting
from xbench.tables.tables import Tables

_DRAWN_WITH = ("matplotlib", "seaborn", "jinja2", "pillow", "numpy", "pandas")
_HEAD = 4096  # bytes; the digest is near the top of the page


def digest(tables: Tables, found: Sequence[Setting], manifest: Manifest) -> str:
    """sha256 (hex) of everything a page depends on: its numbers, the code of this package and the drawing libraries.

    Maps are represented by the key, seconds and counters of their cells, which change when a cell is computed again.
    """
    hashed = hashlib.sha256()
    for frame in (tables.scores, tables.summary, tables.cells, tables.agreement, tables.curves, tables.trust):
        hashed.update(frame.to_csv(index=False).encode())
    facts = [
        dict(manifest),
        tables.environment,
        [asdict(setting) for setting in found],
        list(tables.grid.notes),
        [asdict(column) for column in tables.grid.columns],
    ]
    hashed.update(json.dumps(facts, sort_keys=True).encode())
    hashed.update(drawn_by().encode())
    return hashed.hexdigest()


@functools.cache
def drawn_by() -> str:
    """sha256 (hex) of the code of this package and the versions of the drawing libraries."""
    hashed = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *here.glob("templates/*")]):
        hashed.update(path.name.encode() + path.read_bytes())
    hashed.update(json.dumps([version(package) for package in _DRAWN_WITH]).encode())
    return hashed.hexdigest()


def is_current(page: Path, inputs: str) -> bool:
    """Whether `page` was built from `inputs` and all its linked figures exist."""
    if not page.exists():
        return False
    text = page.read_text(encoding="utf-8")
    linked = re.findall(r'href="(figures/[^"]+)"', text)
    return inputs in text[:_HEAD] and all((page.parent / name).exists() for name in linked)
