"""Average sensitivity: how much a small change of the sample changes its map on average."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.maps import Maps
from xbench.metrics.robustness.sensitivity import SensitivityMetric


@dataclass(frozen=True)
class SensitivityAvg(SensitivityMetric):
    """mean over draws of ||phi(x + e) - phi(x)|| / ||phi(x)||, e as for `SensitivityMax`, whose explanations it shares.

    Undefined (NaN) in the same cases; `sensitivity_avg_floor` is the mean at radius 0. A mean, unlike a maximum, does
    not grow with the number of draws.
    Pitfall: a map that ignores the sample, such as a constant, is perfectly robust.
    Source: Bhatt, Weller, Moura 2020, "Evaluating and Aggregating Feature-based Model Explanations" (arXiv 2005.00631).
    """

    @property
    def facts(self) -> MetricFacts:
        main = Column(
            "lower", label="Sensitivity (mean)", short="Sens. mean", low=0,
            meaning="Mean relative change of the map when the input moves inside a small ball (Bhatt et al. 2020).",
        )  # fmt: skip
        floor = Column(
            "none", label="Sensitivity (mean, floor)", low=0, detail=True,
            meaning="The same with the input not moved: the noise of a method that draws at random.",
        )  # fmt: skip
        columns = {"sensitivity_avg": main} | ({"sensitivity_avg_floor": floor} if self.floor else {})
        source = (
            "Bhatt, Weller, Moura 2020, Evaluating and Aggregating Feature-based Model Explanations, arXiv 2005.00631"
        )
        return MetricFacts("Average sensitivity", source, columns, family="robustness", anywhere=True)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        names = self.facts.columns  # the floor is not always among them
        each = self.relative_changes(case, x, maps, found)
        return {name: changes.mean(1) for name, changes in zip(names, each, strict=True)}
