"""Sparseness: is the relevance concentrated on few features?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.maps import Maps, relevance


@dataclass(frozen=True)
class Sparseness(Metric):
    """The Gini index of the features' absolute relevance: 0 if all are equal, (K - 1) / K if one feature has it all.

        G = sum_k (2k - K - 1) |phi|_(k) / (K sum_k |phi|_(k)),  |phi|_(1) <= ... <= |phi|_(K)

    Undefined (NaN) for a map of zeros.
    Pitfall: a sparse map need not be correct.
    Source: Chalasani, Chen, Chowdhury, Wu, Jha 2020, "Concise Explanations of Neural Networks using Adversarial
    Training" (arXiv 1810.06583).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="Sparseness", low=0, high=1,
            meaning="Gini index of the relevance: 0 when all features have the same, 1 when one has it all.",
        )  # fmt: skip
        source = (
            "Chalasani, Chen, Chowdhury, Wu, Jha 2020, Concise Explanations of Neural Networks using Adversarial "
            "Training, arXiv 1810.06583"
        )
        return MetricFacts("Sparseness", source, {"sparseness": column}, family="complexity")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        values, own = relevance(case, maps)
        # Features that a sample lacks sort first and contribute nothing.
        size = values.abs().masked_fill(~own, 0).sort(dim=1).values
        count = own.sum(1, keepdim=True).double()
        rank = torch.arange(1, size.shape[1] + 1, device=size.device) - (size.shape[1] - count)
        whole = size.sum(1)
        gini = ((2 * rank - count - 1) * size).sum(1) / (count[:, 0] * torch.where(whole > 0, whole, 1))
        return {"sparseness": torch.where(whole != 0, gini, torch.nan)}
