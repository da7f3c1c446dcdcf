"""What every attribution algorithm is: hyperparameters, facts about its maps, and a plan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from xbench.case import Case
from xbench.plan import Plan


@dataclass(frozen=True)
class Facts:
    """What a user, the planner and the metrics must know about an algorithm's maps.

    Attributes:
        label: the name in tables and figures.
        citation: authors, year, title, where.
        local: True when the map is a gradient-like slope, False when it is a share of f(x) - f(baseline)
            (multiplied by the difference from the baseline). Metrics need to know.
        gradient: needs a differentiable model.
        stochastic: depends on the seed.
        complete: the map sums to f(x) - f(baseline), up to numerical error.
        distribution: reads `baselines` as a distribution to average over, not as one per sample.
        per_feature: the result is one value per feature, (n, K), not a map.
        control: a reference for the eye, not an explanation.
        version: raised when the numbers change, so that stored results are recomputed.
    """

    label: str
    citation: str
    local: bool = False
    gradient: bool = False
    stochastic: bool = False
    complete: bool = False
    distribution: bool = False
    per_feature: bool = False
    control: bool = False
    version: int = 1


class Algorithm(ABC):
    """Base of all algorithms: frozen dataclasses that hold hyperparameters and nothing else."""

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """What its maps mean."""

    @abstractmethod
    def plan(self, case: Case, x: Tensor) -> Plan:
        """The evaluations that explain the samples at `x`, (n, d). Must be cheap: points are made lazily."""

    def check(self, case: Case) -> None:  # noqa: B027  (most algorithms fit any shape)
        """ValueError when these hyperparameters do not fit the samples' shapes; called once before any evaluation."""

    def density(self, case: Case, maps: Tensor) -> Tensor:
        """The map per element, (n, d): what adds up to the whole.

        Methods that give every element of a feature the feature's full value divide by its size here.
        """
        return maps


def at_least(name: str, value: float, least: float) -> None:
    """ValueError unless `value` is at least `least`."""
    if not value >= least:
        raise ValueError(f"{name}: expected at least {least}, got {value}")
