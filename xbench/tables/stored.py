"""Stored results in Python: the tables of a finished command, and its maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xbench.config.arguments import nearest
from xbench.store.store import Store
from xbench.tables import outcomes, tables
from xbench.tables.tables import Tables

Map = np.ndarray | tuple[np.ndarray, ...]


def results(name: str = "latest", store: Path | str = "results") -> Tables:
    """The tables of the command named `name`, read from the folder `store`.

    Returns:
        pandas frames `.scores` (a row per model, data set, algorithm, metric and sample), `.summary` (means with
        intervals), `.comparison` (the table of the report), `.pairwise` (each two methods on the same samples of every
        column: difference with its interval, p-values, effect sizes), `.cells`, `.curves` (of ordered removal, per
        sample), `.agreement` (of each two methods: means with intervals) and `.agreement_scores` (per sample),
        `.trust` (how far to trust each column, where the answer is known) and `.trust_distances` (of each map to the
        answer, per sample); and `.environment`.

    Raises:
        KeyError: the store holds no such run; the message lists its runs.
    """
    opened = Store(store)
    return tables.build(opened, opened.manifest(name))


def load_maps(
    name: str, algorithm: str, *, model: str | None = None, dataset: str | None = None, store: Path | str = "results"
) -> dict[str, Map]:
    """The maps of one algorithm by sample id, in the order of the samples.

    Args:
        name: the command's `name=`.
        algorithm: the algorithm's name in the tables: "ig".
        model, dataset: names in the tables; needed if the command had several.

    Returns:
        For each sample a float array with the shape of the explained tensor (the input, or the layer named by `layer=`
        or `read=`), or a tuple of arrays for several tensors.

    Raises:
        KeyError: the store holds no such run, or the run no such algorithm, model or data set.
        ValueError: several models or data sets fit, or some of the maps have no result; the message says which.
        StoreError: a file is damaged.
    """
    opened = Store(store)
    mine = [cell for cell in outcomes.resolve(opened, opened.manifest(name)) if cell.kind == "attribution"]
    given = (("model", 0, model), ("dataset", 1, dataset), ("algorithm", 2, algorithm))
    for what, place, wanted in given:
        names = list(dict.fromkeys(str(cell.group[place]) for cell in mine))
        if wanted is not None and wanted not in names:
            raise KeyError(f"run {name!r} has no {what} {wanted!r}; {nearest(wanted, names)}")
    mine = [cell for cell in mine if all(wanted in (None, cell.group[place]) for _, place, wanted in given)]
    for what, place, _ in given:
        names = list(dict.fromkeys(str(cell.group[place]) for cell in mine))
        if len(names) > 1:
            raise ValueError(f"run {name!r} has several {what}s; choose {what}= one of {', '.join(names)}")
    lacking = [cell for cell in mine if cell.result is None]
    if lacking:
        raise ValueError(
            f"{len(lacking)} of {len(mine)} blocks of {algorithm!r} have no result "
            f"({lacking[0].status}: {lacking[0].reason}); the command of that run computes what is missing"
        )
    found: dict[str, Map] = {}
    for cell in mine:
        assert cell.key is not None
        arrays = opened.arrays(cell.key)
        parts = [arrays[f"map_{i}"] for i in range(sum(part.startswith("map_") for part in arrays))]
        for row, sample in enumerate(cell.samples):
            found[str(sample)] = parts[0][row] if len(parts) == 1 else tuple(part[row] for part in parts)
    return found
