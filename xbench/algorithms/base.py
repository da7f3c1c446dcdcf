"""The base of all attribution algorithms: hyperparameters, facts about the maps, and a plan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Plans

Tells = Literal["", "exact", "mask"]


@dataclass(frozen=True)
class Facts:
    """Facts about an algorithm's maps for users, the planner and the metrics.

    Attributes:
        label: the name in tables and figures.
        citation: authors, year, title, venue.
        local: whether the map is a gradient-like slope; False: shares of f(x) - f(baseline), i.e. already multiplied by
            the difference from the baseline. Metrics depend on it.
        needs: requirements on the model and the samples.
        stochastic: whether the map depends on the seed; None: unknown.
        complete: whether the map sums to f(x) - f(baseline) (for a distribution: minus its mean), up to numerical
            error.
        distribution: whether `baselines` are a distribution to average over, not one per sample.
        activation: whether the map consists of the activations at the read site, without any gradient.
        reads_elsewhere: whether the algorithm itself names the place where gradients or activations are read, while the
            map still has the shape of the place where points enter (GradCAM).
        per_feature: whether the result is one value per feature, (n, K), instead of a map.
        whole: whether a map may depend on the other samples: all samples of a call are then explained together, at any
            memory setting.
        through_neuron: whether, for a chosen neuron, the map explains the part of the output that passes through the
            neuron, not the neuron itself.
        control: whether the map is a visual reference, not an explanation.
        answer: what a control's map tells of the known answer: "exact", how much every feature counts, or "mask", where
            the evidence lies; "": nothing.
        version: number raised when the numbers change, so that stored results are recomputed.
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
    answer: Tells = ""
    version: int = 1

    @property
    def gradient(self) -> bool:
        """Whether the model must be differentiable."""
        return Need.GRADIENT in self.needs

    @property
    def reads(self) -> bool:
        """Whether the map has the shape of the read site, not of the place where points enter."""
        return (self.gradient or self.activation) and not self.reads_elsewhere


class Algorithm(ABC):
    """Base of all algorithms: frozen dataclasses of hyperparameters."""

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """Label, source and meaning of the maps."""

    @abstractmethod
    def plan(self, case: Case, x: Tensor) -> Plans:
        """The evaluations that explain the samples at `x`, (n, d). Must be cheap: points are computed lazily.

        If later points depend on earlier answers, a generator: `result = yield Plan(...)`, then `return map`.
        """

    def check(self, case: Case) -> None:  # noqa: B027  (most algorithms fit any shape)
        """Check the hyperparameters against the samples' shapes; called once before any evaluation.

        Raises:
            ValueError: these hyperparameters do not fit.
            NotApplicable: no hyperparameters would fit: `needs ...` or `takes no ...`.
        """

    def density(self, case: Case, maps: Tensor) -> Tensor:
        """The map per element, (n, d), whose sum is the total attribution.

        Methods that give every element of a feature the feature's full value divide by the feature's size here.
        """
        return maps


def at_least(name: str, value: float, least: float) -> None:
    """Raise ValueError unless `value` is at least `least`."""
    if not value >= least:
        raise ValueError(f"{name}: expected at least {least}, got {value}")
