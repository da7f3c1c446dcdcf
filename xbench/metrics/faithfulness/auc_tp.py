"""AUC-TP: the area under the threshold-performance curve."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.curves import undefined_where_nan
from xbench.metrics.faithfulness.removal import PredictionMetric, area
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class AUCTP(PredictionMetric):
    """The area under whether the predicted class survives while the most relevant features are removed.

    The paper takes the model's performance on the labels at each threshold; here the prediction itself is the label,
    so the mean over samples is the area of the share of predictions that stay.
    Pitfall: what a model says of an emptied sample counts as a survival when it is the same class.
    Source: Atanasova, Simonsen, Lioma, Augenstein 2020, "A Diagnostic Study of Explainability Techniques for Text
    Classification" (arXiv 2009.13295).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="AUC-TP", low=0, high=1,
            meaning="Area under the share of predictions that stay while the most relevant features are removed.",
        )  # fmt: skip
        source = (
            "Atanasova, Simonsen, Lioma, Augenstein 2020, A Diagnostic Study of Explainability Techniques for Text "
            "Classification, arXiv 2009.13295"
        )
        return MetricFacts("AUC-TP", source, {"auc_tp": column}, "faithfulness", needs=self.needs)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        return {"auc_tp": undefined_where_nan(maps, area(self.kept(found[0])))}
