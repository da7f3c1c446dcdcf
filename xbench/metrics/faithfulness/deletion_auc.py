"""Deletion: what happens to the output while the most relevant features are removed?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.curves import undefined_where_nan
from xbench.metrics.faithfulness.removal import CurveMetric, area
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class DeletionAUC(CurveMetric):
    """The area under the output while the most relevant features are removed, the share removed from 0 to 1.

    By the trapezoidal rule, in the unit of the output: give `output=probability` for the paper's number.
    Pitfall: a removed pixel is unlike any training image, and a model may fall for that alone.
    Source: Petsiuk, Das, Saenko 2018, "RISE" (arXiv 1806.07421).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Deletion AUC", short="deletion",
            meaning="Area under the output while the most relevant features are removed: a good map lowers it at once.",
        )  # fmt: skip
        source = "Petsiuk, Das, Saenko 2018, RISE: Randomized Input Sampling for Explanation, arXiv 1806.07421"
        return MetricFacts("Deletion AUC", source, {"deletion_auc": column}, "faithfulness", version=2)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        return {"deletion_auc": undefined_where_nan(maps, area(found[0]))}
