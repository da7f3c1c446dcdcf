"""Local Lipschitz estimate: how fast the map can change around a sample."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.maps import Maps
from xbench.metrics.robustness.reexplained import NearbyMetric, Reexplained
from xbench.metrics.robustness.relative_stability import worst


@dataclass(frozen=True)
class LocalLipschitz(NearbyMetric):
    """max over draws of ||phi(x') - phi(x)|| / ||x' - x||, on the explanations of `SensitivityMax`.

    Draws that leave the sample as it is are left out; NaN where none is left, as at radius 0.
    Pitfall: it has the scale of the map, so a method that gives small numbers wins; compare methods by
    `SensitivityMax`, and this one across samples or settings of a method.
    Source: Alvarez-Melis, Jaakkola 2018, "On the Robustness of Interpretability Methods" (arXiv 1806.08049), with the
    neighbours drawn instead of searched for.

    The parameters are those of `NearbyMetric`.
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Local Lipschitz estimate", short="Lipschitz", low=0,
            meaning="Largest change of the map per change of the input in a small ball; it has the map's scale.",
        )  # fmt: skip
        source = "Alvarez-Melis, Jaakkola 2018, On the Robustness of Interpretability Methods, arXiv 1806.08049"
        return MetricFacts(
            "Local Lipschitz estimate",
            source,
            {"local_lipschitz": column},
            "robustness",
            (Need.NUMBERS,),
            anywhere=True,
        )

    @property
    def evidence(self) -> tuple[Reexplained]:
        return (self.reexplained,)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        changes = self.reexplained.changes(found[0])
        return {"local_lipschitz": worst(changes.maps, changes.inputs)}
