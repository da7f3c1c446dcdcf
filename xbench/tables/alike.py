"""Finds methods with identical maps, so that a reader does not count one result twice.

DeepLIFT SHAP with one baseline is DeepLIFT, and rules for attention change nothing in a network without attention.
Such methods appear in a table under two names; a note below the table names them.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from xbench.store.store import Store, StoreError
from xbench.tables.outcomes import StoredCell

_TOLERANCE = 1e-5  # share of a map's largest value; float32 sums in another order differ by less


def notes(
    store: Store, cells: Iterable[StoredCell], scores: pd.DataFrame, measures: Iterable[str], labels: Mapping[str, str]
) -> list[str]:
    """A sentence per model and data set that has methods with the same maps.

    Args:
        measures: names of the metrics' columns; maps are read only for methods that agree in all of these.
        labels: the display names of the algorithms to compare (no controls).
    """
    keys: dict[tuple[str, str], dict[str, list[str]]] = {}
    for cell in cells:
        model, dataset, algorithm, _ = cell.group
        if cell.kind == "attribution" and algorithm is not None and algorithm in labels and cell.result and cell.key:
            keys.setdefault((model, dataset), {}).setdefault(algorithm, []).append(cell.key)
    scores = scores[scores["metric"].isin(list(measures))]
    found = []
    for (model, dataset), of in keys.items():
        here = scores[(scores["model"] == model) & (scores["dataset"] == dataset) & scores["algorithm"].isin(list(of))]
        for group in _groups(store, of, here):
            names = ", ".join(labels[name] for name in group)
            where = f" on {model}, {dataset}" if len(keys) > 1 else ""
            found.append(f"The same maps{where}, under {len(group)} names: {names}.")
    return found


def _groups(store: Store, keys: Mapping[str, Sequence[str]], scores: pd.DataFrame) -> list[list[str]]:
    """Groups of two or more algorithms with the same maps."""
    if scores.empty:
        return []
    wide = scores.pivot_table(
        index="algorithm", columns=["metric", "sample"], values="value", dropna=False, sort=False, observed=True
    )
    groups: list[list[str]] = []
    for name in [name for name in keys if name in wide.index]:
        values = wide.loc[name].to_numpy(dtype=float)
        for group in groups:
            first = wide.loc[group[0]].to_numpy(dtype=float)
            if np.allclose(values, first, rtol=1e-4, atol=1e-6, equal_nan=True) and _same(store, keys, name, group[0]):
                group.append(name)
                break
        else:
            groups.append([name])
    return [group for group in groups if len(group) > 1]


def _same(store: Store, keys: Mapping[str, Sequence[str]], one: str, other: str) -> bool:
    """Whether two algorithms have the same maps in every block."""
    if len(keys[one]) != len(keys[other]):
        return False
    return all(_equal(_maps(store, a), _maps(store, b)) for a, b in zip(keys[one], keys[other], strict=True))


def _maps(store: Store, key: str) -> dict[str, np.ndarray]:
    """The maps of a cell; empty if its file is absent or damaged."""
    try:
        arrays = store.arrays(key)
    except (KeyError, StoreError):
        return {}
    return {name: array for name, array in arrays.items() if name.startswith("map_")}


def _equal(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    if not one or one.keys() != other.keys():
        return False
    for name, array in one.items():
        if array.shape != other[name].shape:
            return False
        scale = float(np.abs(array).max(initial=0.0))
        if not np.allclose(array, other[name], rtol=0.0, atol=_TOLERANCE * scale):
            return False
    return True
