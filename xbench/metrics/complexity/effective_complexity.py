"""Effective complexity: how many features have relevance to speak of?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.maps import Maps, relevance


@dataclass(frozen=True)
class EffectiveComplexity(Metric):
    """The number of features whose absolute relevance is more than a share of the sample's largest.

    The paper counts the most relevant features that keep the output; of the map alone its count is by a threshold on
    the relevance, which is relative here: an absolute one counts the map's scale. A map of zeros has none: NaN.
    Pitfall: the threshold decides: maps of many small values change places with it.
    Source: Nguyen, Martinez 2020, "On Quantitative Aspects of Model Interpretability" (arXiv 2007.07584).

    Args:
        threshold: as a share of the largest absolute relevance.
    """

    threshold: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold: expected a number from 0 on and below 1, got {self.threshold}")

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", unit="features", label="Effective complexity", short="Eff. compl.", low=1,
            meaning=f"How many features have more than {100 * self.threshold:g}% of the largest absolute relevance.",
        )  # fmt: skip
        source = "Nguyen, Martinez 2020, On Quantitative Aspects of Model Interpretability, arXiv 2007.07584"
        return MetricFacts("Effective complexity", source, {"effective_complexity": column}, family="complexity")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        size = relevance(case, maps)[0].abs()
        most = size.amax(1)
        count = (size > self.threshold * most[:, None]).sum(1).double()
        return {"effective_complexity": count.masked_fill((most == 0) | size.isnan().any(1), torch.nan)}
