"""What every metric is: parameters, facts, the evidence it needs beside the map, and arithmetic."""

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
Family = Literal["faithfulness", "robustness", "randomisation", "complexity", "localisation", "axiomatic", "own"]


@dataclass(frozen=True)
class Column:
    """One number per sample.

    Attributes:
        direction: which way is better.
        unit: "" for none.
        label: the heading; "": the column's name in words.
        short: the heading where there is little room; "": the label.
        meaning: one sentence for the reader of a table.
        low, high: the least and the greatest value that is possible; None: no bound.
        detail: says more about the main column; left out where there is little room.
    """

    direction: Direction
    unit: str = ""
    label: str = ""
    short: str = ""
    meaning: str = ""
    low: float | None = None
    high: float | None = None
    detail: bool = False


@dataclass(frozen=True)
class MetricFacts:
    """What tables, the planner and the store must know.

    Attributes:
        label, citation: the name in tables, and the source.
        columns: the numbers, by name; the first is the main score.
        family: what kind of question the metric asks.
        needs: what the model, the samples and the data must offer.
        anywhere: scores also maps that were read at another place than where points enter.
        version: raised when the numbers change.
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
        """What is done to the samples, for tables; "" when nothing is."""
        return ""

    def check(self, case: Case) -> None:  # noqa: B027  (most metrics suit every sample)
        """Raise NotApplicable, `needs ...`, where the metric has no meaning: its cells are skipped."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """What must be evaluated beside the map; metrics that name equal evidence share it."""
        return ()

    @abstractmethod
    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        """The columns, (n,) each, from the maps and what each evidence found, (n, q), in order. Runs no model."""
