"""The distance of every method to the known answer, and the trust in each column that follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from xbench.store.store import Store
from xbench.tables import pairs, trust
from xbench.tables.agreement import Numbers, mean_ranks
from xbench.tables.columns import TableColumn
from xbench.tables.comparison import CONTROLS
from xbench.tables.outcomes import StoredCell
from xbench.tables.pairs import Where
from xbench.tables.trust import Estimate

EVERY = "all"  # stands for the model and the data set in rows that are means over these
RANDOM = "random"  # the control that stands in as the disrupted map
_DIGITS = 6  # closed forms are met up to rounding, in which no method is better than another
DISTANCES = ("model", "dataset", "algorithm", "sample", "answer", "distance")
_TRUST = ("model", "dataset", "metric", "measure", "answer", "value", "ci_low", "ci_high", "methods", "samples",
          "settings")  # fmt: skip
_TEXT = pd.Series(["text"]).dtype  # as in `tables`


@dataclass(frozen=True)
class Trust:
    """How far to trust each column.

    Attributes:
        summary: a row per model, data set, metric and measure, and per metric the mean over these ("all").
        distances: a row per model, data set, algorithm and sample: the distance of its map to the known answer.
    """

    summary: pd.DataFrame
    distances: pd.DataFrame


@dataclass
class _Explained:
    """The attribution cells of one model and data set.

    names: what the tables call the model and the data set, without the seed; they tell repeats by another seed.
    answers: the control of each kind of answer, "exact" or "mask".
    """

    names: Where
    answers: dict[str, str] = field(default_factory=dict)
    cells: dict[str, list[StoredCell]] = field(default_factory=dict)
    controls: set[str] = field(default_factory=set)

    @property
    def answer(self) -> str | None:
        """What is known: how much every feature counts, before where the evidence lies."""
        return next((kind for kind in ("exact", "mask") if kind in self.answers), None)

    @property
    def methods(self) -> list[str]:
        return [name for name in self.cells if name not in self.controls]


def build(
    store: Store,
    cells: Iterable[StoredCell],
    scores: pd.DataFrame,
    columns: Mapping[str | None, tuple[TableColumn, ...]],
) -> Trust:
    """The trust in every column with a direction, for each setting that has a control with the known answer."""
    settings = _settings(cells)
    known = {where: setting for where, setting in settings.items() if setting.answer is not None}
    distances = {where: _distances(store, where, setting) for where, setting in known.items()}
    asked = [column for metric, found in columns.items() if metric is not None for column in found]
    found: list[_Measured] = []
    first = {setting.names: where for where, setting in reversed(known.items())}  # the others are repeats
    for where in reversed(first.values()):
        again = [other for other, each in settings.items() if each.names == known[where].names and other != where]
        values = _values(scores, [where, *again])
        for column in asked:
            if column.direction != "none":
                found += _measured(known[where], column, [runs.get(column.name) for runs in values], distances[where])
    whole = pd.concat([_distances(store, ("", ""), _Explained(("", ""))), *distances.values()], ignore_index=True)
    whole = whole.astype(dict.fromkeys(DISTANCES[:5], _TEXT) | {"distance": "float64"})
    return Trust(_summary(found), whole)


@dataclass(frozen=True)
class _Measured:
    """One measure of one column in one setting, or its mean over them."""

    names: Where
    metric: str
    measure: str
    answer: str
    estimate: Estimate
    methods: int
    samples: int
    settings: int = 1

    @property
    def row(self) -> tuple[object, ...]:
        numbers = (self.estimate.value, *self.estimate.interval, self.methods, self.samples, self.settings)
        return (*self.names, self.metric, self.measure, self.answer, *numbers)


def _summary(found: Sequence[_Measured]) -> pd.DataFrame:
    by_column: dict[tuple[str, str], list[_Measured]] = {}
    for each in found:
        if not np.isnan(each.estimate.value):
            by_column.setdefault((each.metric, each.measure), []).append(each)
    means = [
        _Measured(
            (EVERY, EVERY), metric, measure, EVERY, trust.mean_of([each.estimate for each in of]),
            max(each.methods for each in of), sum(each.samples for each in of), len(of),
        )
        for (metric, measure), of in by_column.items()
    ]  # fmt: skip
    kinds: dict[str, Any] = dict.fromkeys(_TRUST[:5], _TEXT) | dict.fromkeys(_TRUST[5:8], "float64")
    rows = [each.row for each in (*found, *means)]
    return pd.DataFrame(rows, columns=list(_TRUST)).astype(kinds | dict.fromkeys(_TRUST[8:], "int64"))


def _settings(cells: Iterable[StoredCell]) -> dict[Where, _Explained]:
    settings: dict[Where, _Explained] = {}
    for cell in cells:
        model, dataset, algorithm, _ = cell.group
        if cell.kind != "attribution" or algorithm is None or not cell.result:
            continue
        # A sweep over seeds names the seed behind the data set.
        seed = f" seed={cell.result['identity'].get('seed')}"
        names = (model.replace(seed, ""), dataset.replace(seed, ""))
        setting = settings.setdefault((model, dataset), _Explained(names))
        setting.cells.setdefault(algorithm, []).append(cell)
        info = cell.result["info"]
        if info.get("control", algorithm in CONTROLS):
            setting.controls.add(algorithm)
        if info.get("answer"):
            setting.answers[info["answer"]] = algorithm
    return settings


def _values(scores: pd.DataFrame, runs: Sequence[Where]) -> list[dict[str, pd.DataFrame]]:
    """For each run the scores of every column, algorithms by samples."""
    found = []
    for model, dataset in runs:
        here = scores[(scores["model"] == model) & (scores["dataset"] == dataset) & scores["sample"].notna()]
        found.append({
            str(metric): mine.pivot(index="algorithm", columns="sample", values="value")
            for metric, mine in here.groupby("metric", sort=False)
        })  # fmt: skip
    return found


def _measured(
    setting: _Explained, column: TableColumn, runs: Sequence[pd.DataFrame | None], distances: pd.DataFrame
) -> Iterator[_Measured]:
    """The measures of one column, as far as the store holds what each needs."""
    first, *repeats = runs
    if first is None or setting.answer is None:
        return
    methods = [name for name in setting.methods if name in first.index and first.loc[name].notna().any()]
    if not methods:
        return
    sign = -1.0 if column.direction == "lower" else 1.0
    samples = first.columns

    def signed(run: pd.DataFrame) -> Numbers:
        return sign * run.reindex(index=methods, columns=samples).to_numpy(dtype=np.float64)

    def found(measure: str, estimate: Estimate) -> _Measured:
        assert setting.answer is not None
        return _Measured(setting.names, column.name, measure, setting.answer, estimate, len(methods), len(samples))

    far = distances.pivot(index="algorithm", columns="sample", values="distance")
    far = far.reindex(index=methods, columns=samples)
    yield found("truth_order", trust.truth_order(signed(first), far.to_numpy(dtype=np.float64)))
    again = [trust.noise_resilience(signed(first), signed(run)) for run in repeats if run is not None]
    if again:
        yield found("noise_resilience", trust.mean_of(again))
    if RANDOM in first.index:
        control = sign * first.loc[RANDOM].to_numpy(dtype=np.float64)
        yield found("adversary_reactivity", trust.adversary_reactivity(signed(first), control))


def _distances(store: Store, where: Where, setting: _Explained) -> pd.DataFrame:
    """The distance of every map but the answers' own, sample by sample."""
    rows: list[tuple[object, ...]] = []
    if setting.answer is not None:
        answers = _read(store, setting.cells[setting.answers[setting.answer]])
        for algorithm, cells in setting.cells.items():
            if algorithm in setting.answers.values():
                continue
            found = _read(store, cells)
            for sample in answers.keys() & found.keys():
                far = distance(found[sample], answers[sample], setting.answer)
                rows.append((*where, algorithm, sample, setting.answer, far))
    return pd.DataFrame(sorted(rows, key=str), columns=list(DISTANCES))


def _read(store: Store, cells: Iterable[StoredCell]) -> dict[str, Numbers]:
    """The relevance of each sample's features; without samples where a cell holds none."""
    found: dict[str, Numbers] = {}
    for cell in cells:
        read = pairs.relevance_of(store, cell)
        if read is not None:
            for sample, values, count in zip(cell.samples, read.values, read.features, strict=True):
                found[str(sample)] = values[: int(count)]
    return found


def distance(relevance: Numbers, answer: Numbers, kind: str) -> float:
    """How far the relevance (K,) of a sample's features is from the known answer (K,); NaN where that is undefined.

        exact    1 - cos(relevance, answer): amounts and signs, not the scale; from 0 to 2
        mask     1 - AUROC of the relevance for the features with evidence; from 0 to 1

    A map of zeros has no direction, a mask of all or no features no order.
    """
    if kind == "mask":
        evidence = answer > 0
        inside, outside = int(evidence.sum()), int((~evidence).sum())
        if not inside or not outside:
            return float("nan")
        wins = mean_ranks(relevance)[evidence].sum() - inside * (inside - 1) / 2
        return round(1 - float(wins) / (inside * outside), _DIGITS)
    size = float(np.linalg.norm(relevance) * np.linalg.norm(answer))
    return round(1 - float(relevance @ answer) / size, _DIGITS) if size else float("nan")
