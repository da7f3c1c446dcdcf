"""Estimates the time of cells from finished cells that differ only in their samples."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from statistics import median
from typing import Any

from xbench.store.store import Store

_NEWEST = 5000  # number of finished cells to read
_MAY_DIFFER = ("samples", "seed", "target")


class Times:
    """Seconds per sample of the finished cells of a store."""

    def __init__(self, store: Store) -> None:
        paths = [path for path in store.root.glob("cells/*/*.json") if not path.name.endswith(".failed.json")]
        self._known: dict[str, list[float]] = defaultdict(list)
        for path in sorted(paths, key=lambda path: path.stat().st_mtime)[-_NEWEST:]:
            record = store.load(path.stem, verify_arrays=False)
            if record is not None:
                self._known[_alike(record["identity"])].append(record["seconds"] / max(1, len(record["samples"])))

    def of(self, identity: Mapping[str, Any]) -> float | None:
        """Estimated seconds of the cell; None if no such cell has been computed."""
        known = self._known.get(_alike(identity))
        return None if known is None else median(known) * len(identity["samples"])


def _alike(identity: Mapping[str, Any]) -> str:
    return json.dumps({name: identity[name] for name in identity if name not in _MAY_DIFFER}, sort_keys=True)
