"""Relevance mass and rank accuracy: how much of the relevance, and of the most relevant cells, is evidence?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xbench.core.needs import Need
from xbench.core.truth import Truth
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.localisation.base import LocalisationMetric, largest_inside

_ARRAS = (
    "Arras, Osman, Samek 2022, CLEVR-XAI: A Benchmark Dataset for the Ground Truth Evaluation of Neural Network "
    "Explanations, arXiv 2003.07258"
)


@dataclass(frozen=True)
class RelevanceMass(LocalisationMetric):
    """The share of the relevance that lies in the mask; NaN if a map has no relevance of that sign.

    Pitfall: chance is the mask's area, so data sets with other areas cannot be compared.
    Source: Arras, Osman, Samek 2022, "CLEVR-XAI" (arXiv 2003.07258), relevance mass accuracy.
    """

    @property
    def facts(self) -> MetricFacts:
        return MetricFacts(
            "Relevance mass",
            _ARRAS,
            {
                "relevance_mass": Column(
                    "higher",
                    label="Relevance mass",
                    low=0,
                    high=1,
                    meaning="Share of the relevance that lies on the known evidence; chance is the evidence's area.",
                )
            },
            family="localisation",
            needs=(Need.TRUTH,),
        )

    def compare(self, truth: Truth, relevance: Tensor) -> dict[str, Tensor]:
        mass = relevance.clamp(min=0).masked_fill(~truth.inside, 0)
        whole = mass.sum(1)
        share = (mass * truth.evidence).sum(1) / torch.where(whole > 0, whole, 1)
        return {self.main: torch.where(whole > 0, share, torch.nan)}


@dataclass(frozen=True)
class RelevanceRank(LocalisationMetric):
    """The share of the K most relevant cells that lies in the mask, K being the mask's own size.

    Pitfall: by rank alone: how much relevance lies in the mask does not count.
    Source: Arras, Osman, Samek 2022, "CLEVR-XAI" (arXiv 2003.07258), relevance rank accuracy.
    """

    @property
    def facts(self) -> MetricFacts:
        return MetricFacts(
            "Relevance rank",
            _ARRAS,
            {
                "relevance_rank": Column(
                    "higher",
                    label="Relevance rank",
                    low=0,
                    high=1,
                    meaning="Share of the K most relevant cells that lie on the known evidence, K being its size.",
                )
            },
            family="localisation",
            needs=(Need.TRUTH,),
        )

    def compare(self, truth: Truth, relevance: Tensor) -> dict[str, Tensor]:
        count = (truth.evidence & truth.inside).sum(1)
        return {"relevance_rank": largest_inside(truth, relevance, count) / count.clamp(min=1)}


@dataclass(frozen=True)
class GridPointingGame(RelevanceMass):
    """The share of the positive relevance that lies in the explained class's cell of a mosaic of several images.

    For mosaics whose mask is the whole cell of the label, explained with `target=label`: dataset=shapes
    dataset.grid=2. It equals the relevance mass of such masks, under its established name and source.
    Pitfall: a model that looks at the other cells, for evidence against its class, is no fault of the map.
    Source: Böhle, Fritz, Schiele 2021, "Convolutional Dynamic Alignment Networks for Interpretable Classifications"
    (CVPR, arXiv 2104.00032).
    """

    @property
    def facts(self) -> MetricFacts:
        return replace(
            super().facts,
            label="Grid pointing game",
            citation="Böhle, Fritz, Schiele 2021, Convolutional Dynamic Alignment Networks, arXiv 2104.00032",
            columns={
                "grid_pointing_game": Column(
                    "higher",
                    label="Grid pointing game",
                    low=0,
                    high=1,
                    meaning="Share of the positive relevance that lies in the explained class's cell of a mosaic.",
                )
            },
        )
