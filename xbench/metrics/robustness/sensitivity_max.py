"""Sensitivity-max: how much a small change of the sample can change its map."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.maps import Maps
from xbench.metrics.robustness.sensitivity import SensitivityMetric

CITATION = (
    "Yeh, Hsieh, Suggala, Inouye, Ravikumar 2019, On the (In)fidelity and Sensitivity of Explanations, arXiv 1901.09392"
)


@dataclass(frozen=True)
class SensitivityMax(SensitivityMetric):
    """max over draws of ||phi(x + e) - phi(x)|| / ||phi(x)||, e uniform in the L-infinity ball.

    A map of zero norm has no relative change: NaN, counted as undefined (Captum divides by 1, which lets it win). The
    same holds for a sample that no draw changes, such as zeros under a relative radius. A stochastic method makes new
    draws for every explanation, as it does in use; `sensitivity_max_floor` records the change caused by these draws
    alone, the same maximum at radius 0 (0 for deterministic methods, NaN for a callable, for which it is unknown).
    Pitfall: a maximum grows with the number of draws: compare equal settings only.
    Source: Yeh, Hsieh, Suggala, Inouye, Ravikumar 2019, "On the (In)fidelity and Sensitivity of Explanations"
    (arXiv 1901.09392); the other perturbations are for data whose small changes are not noise: masked
    tokens, masked time, dropped edges.

    The parameters are those of `SensitivityMetric`.
    """

    @property
    def facts(self) -> MetricFacts:
        main = Column(
            "lower", label="Sensitivity (max)", short="Sensitivity", low=0, lead=True,
            meaning="Largest relative change of the map when the input moves inside a small ball (Yeh et al. 2019).",
        )  # fmt: skip
        floor = Column(
            "none", label="Sensitivity (floor)", low=0, detail=True,
            meaning="The same with the input not moved: the noise of a method that draws at random.",
        )  # fmt: skip
        columns = {"sensitivity_max": main} | ({"sensitivity_max_floor": floor} if self.floor else {})
        return MetricFacts("Sensitivity-max", CITATION, columns, family="robustness", anywhere=True, version=2)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        names = self.facts.columns  # the floor is not always among them
        each = self.relative_changes(case, x, maps, found)
        return {name: changes.amax(1) for name, changes in zip(names, each, strict=True)}
