"""Insertion: how fast does the output rise while the most relevant features are put back?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.curves import undefined_where_nan
from xbench.metrics.faithfulness.removal import CurveMetric, area
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class InsertionAUC(CurveMetric):
    """The area under the output while the most relevant features are inserted into a sample without any.

    It is the curve of removing the least relevant features first, read backwards, so its area is that one's. The paper
    inserts into a blurred image: `imputer=blur`.
    Pitfall: it depends on what stands in place of the features that are not yet there.
    Source: Petsiuk, Das, Saenko 2018, "RISE" (arXiv 1806.07421).
    """

    orders = ("lerf",)

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="Insertion AUC", short="insertion",
            meaning="Area under the output while the most relevant features are put back: a good map raises it early.",
        )  # fmt: skip
        source = "Petsiuk, Das, Saenko 2018, RISE: Randomized Input Sampling for Explanation, arXiv 1806.07421"
        return MetricFacts("Insertion AUC", source, {"insertion_auc": column}, "faithfulness")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        return {"insertion_auc": undefined_where_nan(maps, area(found[0]))}
