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
        inside, evidence = truth.inside, truth.evidence & truth.inside
        values = relevance.masked_fill(~inside, -torch.inf).contiguous()
        ordered, order = values.sort(dim=1)
        # From place i of the ascending order on: how many cells, and how many of them hold evidence.
        rest = torch.arange(values.shape[1], -1, -1, device=values.device).expand(len(values), -1)
        hits = torch.nn.functional.pad(evidence.gather(1, order).flip(1).cumsum(1).flip(1), (0, 1))
        first, last = (torch.searchsorted(ordered, values, side=side) for side in ("left", "right"))
        hits_from, cells_from = hits.gather(1, first), rest.gather(1, first)  # of cells at least as relevant as each
        others_from = cells_from - hits_from
        others_above = (rest - hits).gather(1, last)
        positive, negative = evidence.sum(1), (inside & ~evidence).sum(1)
        # The share of pairs of an evident and another cell in the right order, ties half: Mann-Whitney's form.
        right = (negative[:, None] - (others_from + others_above).double() / 2).masked_fill(~evidence, 0).sum(1)
        precision = (hits_from.double() / cells_from).masked_fill(~evidence, 0).sum(1)
        auroc = (right / (positive * negative)).masked_fill(positive * negative == 0, torch.nan)
        return {"localisation_auroc": auroc, "localisation_ap": precision / positive}
