"""IoU at a threshold: do the relevant cells and the evidence cover each other?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.needs import Need
from xbench.core.truth import Truth
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.localisation.base import LocalisationMetric


@dataclass(frozen=True)
class LocalisationIoU(LocalisationMetric):
    """The cells above a share of the largest relevance, as a set, against the mask: what both have, over what either.

    NaN where a map has no relevance of the sign at all.
    Pitfall: the threshold decides: maps that differ in their tails alone score differently.
    Source: Zhou, Khosla, Lapedriza, Oliva, Torralba 2016, "Learning Deep Features for Discriminative Localization"
    (CVPR, arXiv 1512.04150), whose segments are the cells above 20 % of the largest; there
    it is a box around them that is compared.

    Args:
        threshold: as a share of the sample's largest relevance.
    """

    threshold: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold: expected a number from 0 on and below 1, got {self.threshold}")

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="IoU", low=0, high=1,
            meaning=f"The cells above {100 * self.threshold:g}% of the largest relevance and the known evidence: what "
            "both have, over what either has.",
        )  # fmt: skip
        return MetricFacts(
            "IoU at a threshold",
            "Zhou et al. 2016, Learning Deep Features for Discriminative Localization, arXiv 1512.04150",
            {"localisation_iou": column},
            family="localisation",
            needs=(Need.TRUTH,),
        )

    def compare(self, truth: Truth, relevance: Tensor) -> dict[str, Tensor]:
        inside = relevance.masked_fill(~truth.inside, 0)
        most = inside.amax(1, keepdim=True)
        taken, evidence = inside > self.threshold * most, truth.evidence & truth.inside
        either = (taken | evidence).sum(1).double()
        share = (taken & evidence).sum(1) / torch.where(either > 0, either, 1)
        return {"localisation_iou": torch.where(most[:, 0] > 0, share, torch.nan)}
