"""Non-sensitivity: are the features without relevance those without an effect?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.faithfulness.monotonicity_correlation import SingleFeatures
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class NonSensitivity(SingleFeatures):
    """How many features have either no relevance or no effect, but not both.

    An effect is that the output changes when the feature, alone, goes to its baseline (the paper draws it from its
    distribution). The evaluations are those of `MonotonicityCorrelation`. Floats are never quite 0: what is below a
    share of the sample's largest counts as none.
    Pitfall: a feature that matters only with others has no effect, and a right map's relevance there is a mistake.
    Source: Nguyen, Martinez 2020, "On Quantitative Aspects of Model Interpretability" (arXiv 2007.07584).

    Args:
        max_features: samples of more features have NaN, for each costs an evaluation.
        tolerance: share of the largest relevance, and of the largest effect, up to which there is none.
    """

    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance: expected a number from 0 on and below 1, got {self.tolerance}")

    @property
    def facts(self) -> MetricFacts:
        columns = {
            "non_sensitivity": Column(
                "lower", unit="features", label="Non-sensitivity", low=0,
                meaning="How many features have relevance without an effect on the output, or an effect without "
                "relevance.",
            ),
            "non_sensitivity_share": Column(
                "lower", label="Non-sensitivity, share", low=0, high=1, detail=True,
                meaning="The share of the features that have relevance without an effect, or an effect without "
                "relevance.",
            ),
        }  # fmt: skip
        source = "Nguyen, Martinez 2020, On Quantitative Aspects of Model Interpretability, arXiv 2007.07584"
        return MetricFacts("Non-sensitivity", source, columns, family="axiomatic")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        phi, drops, own = self.compared(case, maps, found[0])
        count = ((self._none(phi) ^ self._none(drops)) & own).sum(1).double()
        count = count.masked_fill(phi.isnan().any(1), float("nan"))
        return {"non_sensitivity": count, "non_sensitivity_share": count / own.sum(1)}

    def _none(self, values: Tensor) -> Tensor:
        size = values.abs()
        return size <= self.tolerance * size.amax(1, keepdim=True)
