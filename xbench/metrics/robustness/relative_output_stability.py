"""Relative output stability: how much the map changes, relatively, per change of the model's output."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import NotApplicable
from xbench.metrics.base import MetricFacts
from xbench.metrics.maps import Maps
from xbench.metrics.robustness.nearby import OutputsNearby
from xbench.metrics.robustness.relative_stability import CITATION, RelativeStability


@dataclass(frozen=True)
class RelativeOutputStability(RelativeStability):
    """max over draws of (||phi(x') - phi(x)|| / ||phi(x)||) / (||h(x') - h(x)|| / ||h(x)||), h all outputs as they are.

    `relative_output_stability_elements` is max of ||(phi(x') - phi(x)) / phi(x)|| / ||h(x') - h(x)||, the change of the
    outputs as it is, as in the paper. NaN for a map of zeros and where no draw changes the output and keeps the class.
    Pitfall: where outputs are flat (a saturated model) any change of the map counts as large.
    Source: Agarwal et al. 2022, "Rethinking Stability for Attribution-based Explanations" (arXiv 2203.06877).

    The parameters are those of `NearbyMetric`.
    """

    @property
    def facts(self) -> MetricFacts:
        columns = self.columns("relative_output_stability", "Relative output stability", "ROS", "the output")
        return MetricFacts("Relative output stability", CITATION, columns, "robustness", anywhere=True)

    def check(self, case: Case) -> None:
        outputs_explained(case)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        change, relative, _ = OutputsNearby(*self.settings).outputs(found[1])
        return self.stabilities(case, maps, found, relative, change)


def outputs_explained(case: Case) -> None:
    """NotApplicable where a neuron is explained."""
    if case.neuron:
        raise NotApplicable("needs a map of the output: a neuron is explained")
