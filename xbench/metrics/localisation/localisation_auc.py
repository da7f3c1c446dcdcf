"""AUROC and average precision: does relevance separate the evidence from the rest, at every threshold?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.needs import Need
from xbench.core.truth import Truth
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.localisation.base import LocalisationMetric


@dataclass(frozen=True)
class LocalisationAUC(LocalisationMetric):
    """Area under the ROC curve (0.5 is chance), and average precision (chance is the mask's area), of the cells.

    A mask that covers the whole sample has no AUROC: NaN.
    Pitfall: the ROC curve of a small mask is decided by the many cells outside: average precision is stricter there.
    Source: Fong, Vedaldi 2017, "Interpretable Explanations of Black Boxes by Meaningful Perturbation" for masks as
    labels of the cells; DeYoung et al. 2020, "ERASER" (arXiv 1911.03429) for average precision (AUPRC) on rationales.
    """

    @property
    def facts(self) -> MetricFacts:
        return MetricFacts(
            "AUROC and average precision",
            "DeYoung et al. 2020, ERASER: A Benchmark to Evaluate Rationalized NLP Models, arXiv 1911.03429",
            {
                "localisation_auroc": Column(
                    "higher",
                    label="AUROC",
                    low=0,
                    high=1,
                    meaning="How well relevance tells the known evidence from the rest; 0.5 is chance.",
                ),
                "localisation_ap": Column(
                    "higher",
                    label="Average precision",
                    low=0,
                    high=1,
                    detail=True,
                    meaning="Average precision of relevance as a detector of the known evidence; chance is its area.",
                ),
            },
            family="localisation",
            needs=(Need.TRUTH,),
        )

    def compare(self, truth: Truth, relevance: Tensor) -> dict[str, Tensor]:
        # Imported late: scikit-learn takes a second to load.
        from sklearn.metrics import average_precision_score, roc_auc_score

        areas, precisions = [], []
        for row in range(len(relevance)):
            inside = truth.inside[row]
            labels, values = truth.evidence[row][inside].cpu().numpy(), relevance[row][inside].cpu().numpy()
            defined = bool(labels.any())
            areas.append(float(roc_auc_score(labels, values)) if defined and not labels.all() else torch.nan)
            precisions.append(float(average_precision_score(labels, values)) if defined else torch.nan)
        return {
            "localisation_auroc": torch.tensor(areas, dtype=torch.float64),
            "localisation_ap": torch.tensor(precisions, dtype=torch.float64),
        }
