"""What every metric is: a score per sample from a map, with the evaluations it needs declared as plans."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from xbench.core.case import Case
from xbench.core.plan import Plan

Direction = Literal["lower", "higher", "none"]


@dataclass(frozen=True)
class Column:
    """One number per sample: which way is better, and its unit ("" for none)."""

    direction: Direction
    unit: str = ""


@dataclass(frozen=True)
class MetricFacts:
    """What tables, the planner and the store must know.

    truth: compares with where the evidence is known to lie; not applicable where nobody knows.
    anywhere: scores also maps that were read at another place than where points enter.
    version: raised when the numbers change.
    """

    label: str
    citation: str
    columns: Mapping[str, Column]
    anywhere: bool = False
    truth: bool = False
    version: int = 1


@dataclass(frozen=True)
class Maps:
    """Maps as a metric sees them.

    Attributes:
        values: (n, d) as the algorithm gives them.
        density: (n, d) the same per element: what adds up to the whole (see `Algorithm.density`).
        local: gradient-like, to be multiplied by a change of the input; else shares of f(x) - f(baseline).
        stochastic: explaining again without any perturbation changes them; None: not known.
    """

    values: Tensor
    density: Tensor
    local: bool
    stochastic: bool | None

    def part(self, rows: slice) -> Maps:
        """Those of some samples; copies, for a metric may write into them."""
        return Maps(self.values[rows].clone(), self.density[rows].clone(), self.local, self.stochastic)


class Metric(ABC):
    """Base of all metrics: frozen dataclasses of hyperparameters. The first column is the main score."""

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

    def probe(self, case: Case, x: Tensor) -> Plan | None:
        """Evaluations that do not depend on the map: done once and shared by all algorithms; result (n, q)."""
        return None

    @property
    def has_probe(self) -> bool:
        """Whether there are such evaluations."""
        return type(self).probe is not Metric.probe

    @abstractmethod
    def score(self, case: Case, x: Tensor, maps: Maps, evidence: Tensor | None) -> dict[str, Tensor]:
        """The columns, (n,) each, from the maps and the evidence (the probe's or the re-explanations' result)."""


class ReexplainingMetric(Metric):
    """A metric that explains perturbed samples again, with the same algorithm."""

    @abstractmethod
    def perturbed(self, case: Case, x: Tensor, maps: Maps) -> tuple[int, Iterator[tuple[Case, Tensor]]]:
        """How many perturbed versions there are, and each with the case that keys the algorithm's own draws."""

    @abstractmethod
    def compare(self, case: Case, maps: Maps, again: Iterator[Tensor]) -> Tensor:
        """Evidence (n, q) from the maps of the perturbed versions, in order, keeping running values only."""
