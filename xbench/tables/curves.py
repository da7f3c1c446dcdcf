"""Removal curves per sample, from the score cells that hold them."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from xbench.store.store import Store, StoreError
from xbench.tables.outcomes import StoredCell

_NAMED = ("model", "dataset", "algorithm", "curve", "sample")


def build(store: Store, cells: Iterable[StoredCell]) -> pd.DataFrame:
    """A row per model, data set, algorithm, curve, sample and share of removed features: the output there.

    Metrics that share a curve store the same one; it appears once.
    """
    parts: dict[tuple[object, ...], pd.DataFrame] = {}
    for cell in cells:
        model, dataset, algorithm, _ = cell.group
        names = cell.result["info"].get("curves", []) if cell.result and cell.kind == "score" else []
        of = {(model, dataset, str(algorithm), name): place for place, name in enumerate(names)}
        new = {key: place for key, place in of.items() if (key, cell.samples) not in parts}
        arrays = _arrays(store, cell) if new else {}
        for key, place in new.items():
            if f"curve_{place}" in arrays:
                parts[key, cell.samples] = _frame(key, cell.samples, arrays[f"curve_{place}"])
    kinds = dict.fromkeys(_NAMED, "category") | {"share": "float64", "value": "float64"}
    empty = pd.DataFrame(columns=list(kinds))
    return (pd.concat(parts.values(), ignore_index=True) if parts else empty).astype(kinds)


def _arrays(store: Store, cell: StoredCell) -> dict[str, np.ndarray]:
    """None of them where the file is gone or damaged: the curve is left out, the scores stand."""
    assert cell.key is not None
    try:
        return store.arrays(cell.key)
    except (KeyError, StoreError):
        return {}


def _frame(names: tuple[str, ...], samples: tuple[str | None, ...], values: np.ndarray) -> pd.DataFrame:
    n, points = values.shape
    rows: dict[str, object] = dict(zip(_NAMED[:4], names, strict=True))
    rows["sample"] = np.repeat(np.array(samples, dtype=object), points)
    rows["share"] = np.tile(np.linspace(0, 1, points), n)
    rows["value"] = values.reshape(-1)
    return pd.DataFrame(rows)
