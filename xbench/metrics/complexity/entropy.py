"""Entropy: is the relevance on few features?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.maps import Maps, relevance


@dataclass(frozen=True)
class Entropy(Metric):
    """The entropy of the features' shares of the relevance: 0 when one has it all, ln K when all K have the same.

        H = -sum_k p_k ln p_k,  p_k = |phi_k| / sum_j |phi_j|

    "Complexity" in the paper and in Quantus. A map of zeros has none: NaN. Its largest value grows with the number of
    features: compare samples of one data set.
    Pitfall: a simple map need not be a right one.
    Source: Bhatt, Weller, Moura 2020, "Evaluating and Aggregating Feature-based Model Explanations"
    (arXiv 2005.00631).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Entropy", low=0, unit="nat",
            meaning="Entropy of the relevance: 0 when one feature has it all, ln K when all K have the same.",
        )  # fmt: skip
        source = (
            "Bhatt, Weller, Moura 2020, Evaluating and Aggregating Feature-based Model Explanations, arXiv 2005.00631"
        )
        return MetricFacts("Entropy", source, {"entropy": column}, family="complexity")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        size = relevance(case, maps)[0].abs()
        whole = size.sum(1)
        share = size / torch.where(whole > 0, whole, 1)[:, None]
        return {"entropy": torch.where(whole != 0, torch.special.entr(share).sum(1), torch.nan)}
