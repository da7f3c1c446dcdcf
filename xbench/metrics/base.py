"""The base of all metrics: parameters, facts, the evidence needed besides the map, and the score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.evidence import Evidence
from xbench.metrics.maps import Maps

Direction = Literal["lower", "higher", "none"]
Family = Literal[
    "faithfulness", "robustness", "randomisation", "complexity", "localisation", "axiomatic", "graph", "own"
]  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One number per sample.

    Attributes:
        direction: whether lower or higher values are better.
        unit: the unit; "" for none.
        label: the heading; "": the column's name in words.
        short: the heading in narrow tables; "": the label.
        meaning: one sentence for the reader of a table.
        low, high: the lowest and highest possible value; None: no bound.
        detail: whether the column only adds detail to another column; narrow tables omit it.
        lead: whether the column represents its family where only one column of it is shown, as on an axis.
    """

    direction: Direction
    unit: str = ""
    label: str = ""
    short: str = ""
    meaning: str = ""
    low: float | None = None
    high: float | None = None
    detail: bool = False
    lead: bool = False


@dataclass(frozen=True)
class MetricFacts:
    """Facts about a metric for tables, the planner and the store.

    Attributes:
        label, citation: the name in tables, and the source.
        columns: the numbers, by name; the first is the main score.
        family: the kind of question that the metric answers.
        needs: requirements on the model, the samples and the data.
        anywhere: whether maps read at another site than the one where points enter can be scored.
        version: number raised when the numbers change.
    """

    label: str
    citation: str
    columns: Mapping[str, Column]
    family: Family = "own"
    needs: tuple[Need, ...] = ()
    anywhere: bool = False
    version: int = 1


class Metric(ABC):
    """Base of all metrics: frozen dataclasses of parameters. The first column is the main score."""

    @property
    @abstractmethod
    def facts(self) -> MetricFacts:
        """Label, source and columns."""

    @property
    def main(self) -> str:
        return next(iter(self.facts.columns))

    def describe(self, case: Case) -> str:
        """How the samples are changed, for tables; "" if they are not."""
        return ""

    def check(self, case: Case) -> None:  # noqa: B027  (most metrics suit every sample)
        """Raise NotApplicable, `needs ...`, if the metric does not apply: its cells are skipped."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The evidence to evaluate besides the map; metrics that name equal evidence share it."""
        return ()

    def curves(self, *found: Tensor) -> dict[str, Tensor]:
        """Curves of the evidence that tables keep and the report draws, by name: (n, points), shares from 0 to 1."""
        return {}

    @abstractmethod
    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        """The columns, (n,) each, from the maps and the results of the evidence, (n, q), in order. Runs no model."""
