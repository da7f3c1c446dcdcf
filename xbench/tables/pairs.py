"""Agreement of each two methods of a run, from the relevance that its attribution cells hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from xbench.store.store import Store, StoreError
from xbench.tables.agreement import MEASURES, NAMES, Numbers, agree
from xbench.tables.outcomes import StoredCell
from xbench.tables.stats import mean_intervals

_NAMED = ("model", "dataset", "algorithm", "other")
_SUMMARY = (*_NAMED, "measure", "mean", "ci_low", "ci_high", "n", "n_undefined")
_TEXT = pd.Series(["text"]).dtype  # as in `tables`
_LACKING = (
    "No agreement of {}: their maps are not where points enter, or were stored by an older release "
    "(reuse=never makes them anew)."
)

Where = tuple[str, str]  # model, dataset
Blocks = Mapping[tuple[str | None, ...], Mapping[str, "_Relevance"]]  # by the samples of a block, then by method


@dataclass(frozen=True)
class _Relevance:
    """Relevance of the features of a block, (n, K), and how many each sample has, (n,)."""

    values: Numbers
    features: np.ndarray


@dataclass(frozen=True)
class Agreement:
    """How far each two methods agree.

    Attributes:
        scores: a row per model, data set, two methods and sample, a column per measure; NaN is undefined.
        summary: a row per model, data set, two methods and measure: the mean over samples and its interval.
        notes: what a reader must know.
    """

    scores: pd.DataFrame
    summary: pd.DataFrame
    notes: tuple[str, ...] = ()


def build(store: Store, cells: Iterable[StoredCell], manifest: Mapping[str, Any]) -> Agreement:
    """The agreement of all methods on each model and data set; no rows where the run has switched it off."""
    top = _top(manifest)
    found: dict[Where, dict[tuple[str | None, ...], dict[str, _Relevance]]] = {}
    lacking: dict[str, None] = {}
    for cell in cells if top else ():
        model, dataset, algorithm, _ = cell.group
        if cell.kind != "attribution" or algorithm is None or not cell.result:
            continue
        read = relevance_of(store, cell)
        if read is None:
            lacking[algorithm] = None
        else:
            found.setdefault((model, dataset), {}).setdefault(cell.samples, {})[algorithm] = read
    scores = [_scores(where, blocks, top) for where, blocks in found.items()]
    whole = pd.concat([_scores(("", ""), {}, top), *scores], ignore_index=True)
    whole = whole.astype(dict.fromkeys((*_NAMED, "sample"), _TEXT) | dict.fromkeys(NAMES, "float64"))
    notes = (_LACKING.format(", ".join(lacking)),) if lacking else ()
    return Agreement(whole, _summary(whole), notes)


def _top(manifest: Mapping[str, Any]) -> float:
    """What the run calls the most important features; 0 where it asks for no agreement, or knows of none."""
    config = manifest.get("config") or {}
    first: Mapping[str, Any] = next(iter(config.get("jobs", [config])), {})
    return float(first.get("agreement") or 0)


def relevance_of(store: Store, cell: StoredCell) -> _Relevance | None:
    """None where the cell holds no relevance, or its file is gone or damaged."""
    assert cell.key is not None
    try:
        arrays = store.arrays(cell.key)
    except (KeyError, StoreError):
        return None
    if "relevance" not in arrays:
        return None
    return _Relevance(arrays["relevance"].astype(np.float64), arrays["features"])


def _scores(where: Where, blocks: Blocks, top: float) -> pd.DataFrame:
    order = list(dict.fromkeys(name for methods in blocks.values() for name in methods))
    parts = [pd.DataFrame(columns=[*_NAMED, "sample", *NAMES])]
    for samples, methods in blocks.items():
        names = [name for name in order if name in methods]
        upper = np.triu_indices(len(names), 1)
        if len(names) < 2:
            continue
        values = np.stack([_of_sample([methods[name] for name in names], row, top) for row in range(len(samples))])
        rows: dict[str, Any] = dict(zip(("model", "dataset"), where, strict=True))
        rows["algorithm"] = np.tile(np.array(names, dtype=object)[upper[0]], len(samples))
        rows["other"] = np.tile(np.array(names, dtype=object)[upper[1]], len(samples))
        rows["sample"] = np.repeat(np.array(samples, dtype=object), len(upper[0]))
        by_measure = values[:, :, *upper].transpose(1, 0, 2).reshape(len(NAMES), -1)
        parts.append(pd.DataFrame(rows | dict(zip(NAMES, by_measure, strict=True))))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _of_sample(methods: Sequence[_Relevance], row: int, top: float) -> Numbers:
    count = int(methods[0].features[row])
    return agree(np.stack([method.values[row, :count] for method in methods]), top)


def _summary(scores: pd.DataFrame) -> pd.DataFrame:
    rows: list[Sequence[object]] = []
    for names, group in scores.groupby(list(_NAMED), sort=False):
        intervals = mean_intervals(group[list(NAMES)].to_numpy(dtype=np.float64))
        rows += [(*names, measure.name, *interval) for measure, interval in zip(MEASURES, intervals, strict=True)]
    kinds: dict[str, Any] = dict.fromkeys((*_NAMED, "measure"), _TEXT) | dict.fromkeys(_SUMMARY[5:8], "float64")
    return pd.DataFrame(rows, columns=list(_SUMMARY)).astype(kinds | dict.fromkeys(_SUMMARY[8:], "int64"))
