"""Attribution localisation: how much denser is positive relevance on the evidence than on the whole?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xbench.core.truth import Truth
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.localisation.relevance_accuracy import RelevanceMass


@dataclass(frozen=True)
class AttributionLocalisation(RelevanceMass):
    """The share of the relevance that lies in the mask, over the mask's share of the cells: 1 is chance.

        mu_w = (R_in / R) / (S_in / S)

    The weight makes objects of different sizes comparable; without it this is the relevance mass. NaN where a
    map has no relevance of the sign at all.
    Pitfall: the largest value is S / S_in, so small objects rule the mean.
    Source: Kohlbrenner, Bauer, Nakajima, Binder, Samek, Lapuschkin 2020, "Towards Best Practice in Explaining Neural
    Network Decisions with LRP" (IJCNN, arXiv 1910.09840).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="Attribution localisation", short="Attr. loc.", low=0,
            meaning="Share of the relevance that lies on the known evidence, relative to the evidence's area: "
            "1 is chance.",
        )  # fmt: skip
        source = (
            "Kohlbrenner et al. 2020, Towards Best Practice in Explaining Neural Network Decisions with LRP, "
            "arXiv 1910.09840"
        )
        return replace(
            super().facts,
            label="Attribution localisation",
            citation=source,
            columns={"attribution_localisation": column},
        )

    def compare(self, truth: Truth, relevance: Tensor) -> dict[str, Tensor]:
        (mass,) = super().compare(truth, relevance).values()
        size = (truth.evidence & truth.inside).sum(1).double()
        weight = truth.inside.sum(1) / torch.where(size > 0, size, 1)
        return {"attribution_localisation": mass * weight}
