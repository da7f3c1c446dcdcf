"""Every two methods on every column: the difference on the same samples, whether it is significant, and how large.

A sample counts for a pair where both methods have a number; it is undefined where a measured value is, and absent where
one of the two was not measured. Formulas and sources are in `paired`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xbench.tables import paired
from xbench.tables.agreement import Numbers
from xbench.tables.columns import TableColumn

LEVEL = 0.05  # adjusted p-values below it are significant
RULE = (
    "Wilcoxon signed-rank tests of paired samples, two-sided, adjusted by Holm for all pairs of methods of a column, "
    f"p < {LEVEL}"
)
_NAMES = ("model", "dataset", "metric", "algorithm", "other")
_COUNTS = ("n", "undefined", "absent")
_NUMBERS = ("difference", "low", "high", "p", "p_holm", "p_better", "rank_biserial")
_HELD = 2**22  # differences held at once: 32 MiB
_TEXT = pd.Series(["text"]).dtype  # as in `tables`
_SIGNS = {"higher": 1.0, "lower": -1.0}
_COST = "a cost is measured per block of samples: not tested"
_UNDIRECTED = "no direction is better"
_NONE = "no sample with both values"
_ONE = "one sample: no interval"
_EQUAL = "equal on every sample"
_CONSTANT = "the same difference on every sample"
_FEW = "too few different values to resample: Student's t interval"


def build(
    scores: pd.DataFrame, columns: Mapping[str | None, tuple[TableColumn, ...]], controls: Collection[str]
) -> pd.DataFrame:
    """A row per model, data set, column and pair of methods, in the order of `scores`.

    `difference` is the mean of the first's values less the second's, with its 95 % interval from `low` to `high`;
    `p_better` and `rank_biserial` are above 1/2 and 0 where the first is better. `p_holm` is adjusted for all pairs of
    methods of the column; pairs with a control are adjusted among themselves. `reason` says why a number is missing or
    unusual.
    """
    known = {column.name: column for found in columns.values() for column in found}
    parts = [_empty()]
    for names, group in scores.groupby(["model", "dataset", "metric"], sort=False):
        setting = (str(names[0]), str(names[1]), str(names[2]))
        parts.append(_setting(setting, group, known[setting[2]], controls))
    whole = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    return whole.astype(_empty().dtypes.to_dict())


def not_worse(pairwise: pd.DataFrame) -> set[tuple[str, ...]]:
    """(model, data set, column, a, b) where a was tested against b and is not significantly worse."""
    tested = pairwise[pairwise["p_holm"].notna()]
    first, second = (list(tested[name]) for name in ("algorithm", "other"))
    settings = list(zip(*(tested[name] for name in _NAMES[:3]), strict=True))
    worse = np.where(tested["p_holm"] < LEVEL, np.sign(tested["rank_biserial"]), 0)  # -1: the first is, 1: the second
    found = {(*where, a, b) for where, a, b, side in zip(settings, first, second, worse, strict=True) if side >= 0}
    return found | {
        (*where, b, a) for where, a, b, side in zip(settings, first, second, worse, strict=True) if side <= 0
    }


def samples_needed(pairs: int) -> int:
    """The fewest samples with which any of so many pairs can be significant: pairs * 2^(1 - n) < 0.05."""
    return math.floor(1 + math.log2(pairs / LEVEL)) + 1


def equivalence(scores: pd.DataFrame, column: TableColumn, rope: float) -> pd.DataFrame:
    """How probable each pair is practically equal in one column: the Bayesian signed-rank test of every pair.

    Args:
        scores: as in `build`.
        column: a column with a direction.
        rope: the region of practical equivalence: differences up to this magnitude do not matter; in the column's unit.

    Returns:
        A row per model, data set and pair: n, and the probabilities that the first is better, equal or worse.

    Raises:
        ValueError: no direction of the column is better, or `rope` is negative.
    """
    if column.direction not in _SIGNS:
        raise ValueError(f"no direction of {column.name!r} is better, so that no method is")
    rows: list[tuple[object, ...]] = []
    for (model, dataset), group in scores[scores["metric"] == column.name].groupby(["model", "dataset"], sort=False):
        names, values, _ = _matrix(group)
        for first, second in _pairs(len(names), most=1):
            found = _SIGNS[column.direction] * paired.differences(values, (first, second))[0]
            below, within, above = paired.bayesian_signed_rank(found, rope)
            n = int((~np.isnan(found)).sum())
            rows.append((model, dataset, names[first[0]], names[second[0]], n, above, within, below))
    return pd.DataFrame(rows, columns=["model", "dataset", "algorithm", "other", "n", "better", "equal", "worse"])


def _setting(
    setting: tuple[str, str, str], group: pd.DataFrame, column: TableColumn, controls: Collection[str]
) -> pd.DataFrame:
    names, values, measured = _matrix(group)
    labels, control = np.array(names, dtype=object), np.array([name in controls for name in names], dtype=bool)
    parts = []
    for first, second in _pairs(len(names), most=max(1, _HELD // max(1, values.shape[1]))):
        found = paired.differences(values, (first, second))
        n, both = (~np.isnan(found)).sum(1), (measured[first] & measured[second]).sum(1)
        heads = dict(zip(_NAMES, (*setting, labels[first], labels[second]), strict=True))
        counts = {"n": n, "undefined": both - n, "absent": values.shape[1] - both}
        part = pd.DataFrame(heads | counts | _tested(found, n, column))
        parts.append(part.assign(with_control=control[first] | control[second]))
    if not parts:
        return _empty()
    whole = pd.concat(parts, ignore_index=True)
    whole["p_holm"] = whole.groupby("with_control")["p"].transform(lambda p: paired.holm(p.to_numpy()))
    return whole[list(_empty().columns)]


def _pairs(methods: int, most: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The rows of both methods of every pair, at most so many pairs at a time."""
    first, second = np.triu_indices(methods, 1)
    for start in range(0, len(first), most):
        yield first[start : start + most], second[start : start + most]


def _tested(found: Numbers, n: NDArray[np.int64], column: TableColumn) -> dict[str, Any]:
    """The numbers of each pair but the adjusted one, and the reasons, from the differences (P, n)."""
    if column.family == "cost":
        mean = np.where(n > 0, np.nansum(found, axis=1) / np.maximum(n, 1), np.nan)
        reasons = [_COST if count else _NONE for count in n]
        return dict.fromkeys(_NUMBERS, np.nan) | {"difference": mean, "reason": reasons}
    means, ranks = paired.mean_differences(found), paired.signed_rank(found)
    sign = _SIGNS.get(column.direction, math.nan)
    return {
        "difference": means.mean,
        "low": means.low,
        "high": means.high,
        "p": ranks.p,
        "p_better": 0.5 + sign * (paired.better(found) - 0.5),
        "rank_biserial": sign * ranks.rank_biserial,
        "reason": _reasons(n, means, column),
    }


def _reasons(n: NDArray[np.int64], means: paired.Intervals, column: TableColumn) -> list[str]:
    constant = means.low == means.high
    few = (n > 1) & (n <= paired.MOST_RESAMPLED) & ~constant & ~means.resampled
    told = (
        (_NONE, n == 0),
        (_UNDIRECTED, (n > 0) & (column.direction not in _SIGNS)),
        (_ONE, n == 1),
        (_EQUAL, constant & (means.mean == 0)),
        (_CONSTANT, constant & (means.mean != 0)),
        (_FEW, few),
    )
    return ["; ".join(text for text, applies in told if applies[pair]) for pair in range(len(n))]


def _matrix(group: pd.DataFrame) -> tuple[list[str], Numbers, NDArray[np.bool_]]:
    """The algorithms of one setting, their values (A, n), and which of these were measured."""
    algorithms, names = pd.factorize(group["algorithm"])
    samples, ids = pd.factorize(group["sample"])
    values = np.full((len(names), len(ids)), np.nan)
    measured = np.zeros(values.shape, dtype=bool)
    planned = samples >= 0  # a cell that was planned for unknown data has no samples
    values[algorithms[planned], samples[planned]] = group["value"].to_numpy(dtype=np.float64)[planned]
    measured[algorithms[planned], samples[planned]] = group["status"].isin(["ok", "undefined"]).to_numpy()[planned]
    return [str(name) for name in names], values, measured


def _empty() -> pd.DataFrame:
    kinds: dict[str, Any] = dict.fromkeys(_NAMES, _TEXT) | dict.fromkeys(_COUNTS, "int64")
    kinds |= dict.fromkeys(_NUMBERS, "float64") | {"reason": _TEXT}
    return pd.DataFrame(columns=list(kinds)).astype(kinds)
