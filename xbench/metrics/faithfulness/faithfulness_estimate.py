"""Faithfulness estimate: does a feature's relevance go with what its removal does?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.faithfulness.monotonicity_correlation import SingleFeatures
from xbench.metrics.maps import Maps
from xbench.metrics.ranks import pearson


@dataclass(frozen=True)
class FaithfulnessEstimate(SingleFeatures):
    """Pearson's correlation of phi_k and f(x) - f(x without k) over the features k of a sample.

    With signs. The evaluations are those of `MonotonicityCorrelation`. NaN where
    the map or the changes are constant, as for a sample of one feature.
    Pitfall: one feature at a time: what features do together it does not see.
    Source: Alvarez-Melis, Jaakkola 2018, "Towards Robust Interpretability with Self-Explaining Neural Networks"
    (arXiv 1806.07538), faithfulness.
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="Faithfulness estimate", short="Faith. est.", low=-1, high=1,
            meaning="Correlation of the features' relevance and of what removing each, alone, does to the output.",
        )  # fmt: skip
        source = (
            "Alvarez-Melis, Jaakkola 2018, Towards Robust Interpretability with Self-Explaining Neural Networks, "
            "arXiv 1806.07538"
        )
        return MetricFacts("Faithfulness estimate", source, {"faithfulness_estimate": column}, family="faithfulness")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        phi, drops, own = self.compared(case, maps, found[0])
        return {"faithfulness_estimate": pearson(phi, drops, own)}
