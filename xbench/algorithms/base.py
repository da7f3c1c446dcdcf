"""What every attribution algorithm is: hyperparameters, facts about its maps, and a plan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Plans


@dataclass(frozen=True)
class Facts:
    """What a user, the planner and the metrics must know about an algorithm's maps.

    Attributes:
        label: the name in tables and figures.
        citation: authors, year, title, where.
        local: True when the map is a gradient-like slope, False when it is a share of f(x) - f(baseline)
            (multiplied by the difference from the baseline). Metrics need to know.
        needs: what the model and the samples must offer.
        stochastic: depends on the seed; None: not known.
        complete: the map sums to f(x) - f(baseline) (a distribution: to f(x) - its mean), up to numerical error.
        distribution: reads `baselines` as a distribution to average over, not as one per sample.
        activation: the map is made of the activations at the read site, without any gradient.
        reads_elsewhere: gradients or activations are read at a place that the algorithm names itself, and the map
            is given where points enter all the same (GradCAM).
        per_feature: the result is one value per feature, (n, K), not a map.
        whole: a map may depend on the samples it is made with: all of a call go together, whatever the memory.
        through_neuron: of a chosen neuron, the map explains the output as far as it passes there, not the neuron.
        control: a reference for the eye, not an explanation.
        version: changed when the numbers change, so that stored results are recomputed.
    """

    label: str
    citation: str
    local: bool = False
    needs: tuple[Need, ...] = ()
    stochastic: bool | None = False
    complete: bool = False
    distribution: bool = False
    activation: bool = False
    reads_elsewhere: bool = False
    per_feature: bool = False
    whole: bool = False
    through_neuron: bool = False
    control: bool = False
    version: int = 1

    @property
    def gradient(self) -> bool:
        """Whether the model must be differentiable."""
        return Need.GRADIENT in self.needs

    @property
    def reads(self) -> bool:
        """Whether the map has the shape of the read site; otherwise that of the place where points enter."""
        return (self.gradient or self.activation) and not self.reads_elsewhere


class Algorithm(ABC):
    """Base of all algorithms: frozen dataclasses that hold hyperparameters and nothing else."""

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """What its maps mean."""

    @abstractmethod
    def plan(self, case: Case, x: Tensor) -> Plans:
        """The evaluations that explain the samples at `x`, (n, d). Must be cheap: points are made lazily.

        A generator (`result = yield Plan(...)`, then `return map`) where later points depend on earlier answers.
        """

    def check(self, case: Case) -> None:  # noqa: B027  (most algorithms fit any shape)
        """ValueError when these hyperparameters do not fit the samples' shapes; called once before any evaluation.

        NotApplicable when no choice of them would: `needs ...` or `takes no ...`.
        """

    def density(self, case: Case, maps: Tensor) -> Tensor:
        """The map per element, (n, d): what adds up to the whole.

        Methods that give every element of a feature the feature's full value divide by its size here.
        """
        return maps


def at_least(name: str, value: float, least: float) -> None:
    """ValueError unless `value` is at least `least`."""
    if not value >= least:
        raise ValueError(f"{name}: expected at least {least}, got {value}")
