"""Relative input stability: how much the map changes, relatively, per relative change of the input."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import MetricFacts
from xbench.metrics.maps import Maps
from xbench.metrics.robustness.reexplained import own_input
from xbench.metrics.robustness.relative_stability import CITATION, RelativeStability


@dataclass(frozen=True)
class RelativeInputStability(RelativeStability):
    """max over draws of (||phi(x') - phi(x)|| / ||phi(x)||) / (||x' - x|| / ||x||), where x' keeps the predicted class.

    `relative_input_stability_elements` is max of ||(phi(x') - phi(x)) / phi(x)|| / ||(x' - x) / x||. NaN for a map or
    a sample of zeros, and where no draw moves the sample and keeps the class.
    Pitfall: heavy tails; compare medians. The element form is decided by the elements that are nearly 0.
    Source: Agarwal et al. 2022, "Rethinking Stability for Attribution-based Explanations" (arXiv 2203.06877).

    The parameters are those of `NearbyMetric`.
    """

    @property
    def facts(self) -> MetricFacts:
        columns = self.columns("relative_input_stability", "Relative input stability", "RIS", "the input")
        return MetricFacts("Relative input stability", CITATION, columns, "robustness", (Need.NUMBERS,), anywhere=True)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        changes = self.reexplained.changes(found[0])
        size = self.reexplained.norm(own_input(case, x))[:, None]
        return self.stabilities(case, maps, found, changes.inputs / size, changes.inputs_by_elements)
