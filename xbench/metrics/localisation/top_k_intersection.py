"""Top-k intersection: how many of the k most relevant cells hold evidence?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.needs import Need
from xbench.core.truth import Truth
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.localisation.base import LocalisationMetric, largest_inside


@dataclass(frozen=True)
class TopKIntersection(LocalisationMetric):
    """The share of the k most relevant cells that lies in the mask; k is at most the number of the sample's cells.

    Pitfall: with a mask smaller than k the best value is below 1: compare only samples of one data set.
    Source: Theiner, Müller-Budack, Ewerth 2022, "Interpretable Semantic Photo Geolocation" (WACV,
    arXiv 2104.14995).

    Args:
        k: number of cells.
    """

    k: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ValueError(f"k: expected a number of cells >= 1, got {self.k}")

    @property
    def facts(self) -> MetricFacts:
        return MetricFacts(
            "Top-k intersection",
            "Theiner, Müller-Budack, Ewerth 2022, Interpretable Semantic Photo Geolocation, arXiv 2104.14995",
            {
                "top_k_intersection": Column(
                    "higher",
                    label="Top-k intersection",
                    short="Top-k",
                    low=0,
                    high=1,
                    meaning="Share of the k most relevant cells that lie on the known evidence.",
                )
            },
            family="localisation",
            needs=(Need.TRUTH,),
        )

    def compare(self, truth: Truth, relevance: Tensor) -> dict[str, Tensor]:
        count = truth.inside.sum(1).clamp(max=self.k)
        return {"top_k_intersection": largest_inside(truth, relevance, count) / count}
