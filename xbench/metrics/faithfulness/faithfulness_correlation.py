"""Faithfulness correlation: does a subset's relevance go with what its removal does?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.maps import Maps
from xbench.metrics.ranks import pearson
from xbench.metrics.subsets import SubsetMetric, predicted


@dataclass(frozen=True)
class FaithfulnessCorrelation(SubsetMetric):
    """Pearson's correlation, over random subsets S of one size, of sum_S phi_k and f(x) - f(x without S).

    NaN where the map or the changes are constant.
    Pitfall: the size of the subsets decides: methods may change places with it.
    Source: Bhatt, Weller, Moura 2020, "Evaluating and Aggregating Feature-based Model Explanations"
    (arXiv 2005.00631).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="Faithfulness correlation", short="Faith. corr.", low=-1, high=1,
            meaning="Correlation of the relevance of random subsets of the features and of what removing them does to "
            "the output.",
        )  # fmt: skip
        source = (
            "Bhatt, Weller, Moura 2020, Evaluating and Aggregating Feature-based Model Explanations, arXiv 2005.00631"
        )
        return MetricFacts("Faithfulness correlation", source, {"faithfulness_correlation": column}, "faithfulness")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        told = predicted(case, maps, self.evidence[0])
        return {"faithfulness_correlation": pearson(told, found[0], torch.ones_like(told, dtype=torch.bool))}
