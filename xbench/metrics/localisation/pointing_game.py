"""Pointing game: does the most relevant cell hold evidence?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from xbench.core.needs import Need
from xbench.core.truth import Truth
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.localisation.base import LocalisationMetric, largest_inside


@dataclass(frozen=True)
class PointingGame(LocalisationMetric):
    """1 where the most relevant cell (pixel, word, column) lies in the mask, else 0; the mean is the share of hits.

    Ties for the most relevant cell count by the share of tied cells inside the mask.
    Pitfall: one cell decides; all the rest of the map may be noise.
    Source: Zhang, Bargal, Lin, Brandt, Shen, Sclaroff 2018, "Top-Down Neural Attention by Excitation Backprop"
    (IJCV, arXiv 1608.00507).

    Args:
        tolerance: number of cells around the mask, in height and width, that count as hits (15 pixels in the paper).
    """

    tolerance: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tolerance < 0:
            raise ValueError(f"tolerance: expected a number of cells >= 0, got {self.tolerance}")

    @property
    def facts(self) -> MetricFacts:
        return MetricFacts(
            "Pointing game",
            "Zhang et al. 2018, Top-Down Neural Attention by Excitation Backprop, arXiv 1608.00507",
            {
                "pointing_game": Column(
                    "higher",
                    label="Pointing game",
                    low=0,
                    high=1,
                    meaning="Share of samples whose most relevant cell (pixel, word) lies on the known evidence.",
                )
            },
            family="localisation",
            needs=(Need.TRUTH,),
        )

    def compare(self, truth: Truth, relevance: Tensor) -> dict[str, Tensor]:
        wide = replace(truth, evidence=self._widened(truth)) if self.tolerance else truth
        one = torch.ones(len(relevance), dtype=torch.int64, device=relevance.device)
        return {"pointing_game": largest_inside(wide, relevance, one)}

    def _widened(self, truth: Truth) -> Tensor:
        parts = truth.evidence.split([torch.Size(shape).numel() for shape in truth.shapes], dim=1)
        grown = []
        for part, shape in zip(parts, truth.shapes, strict=True):
            if len(shape) < 2:
                raise ValueError(f"tolerance: needs masks with height and width, got {list(truth.shapes)}")
            image = part.reshape(len(part), -1, *shape[-2:]).float()
            side = 2 * self.tolerance + 1
            grown.append(F.max_pool2d(image, side, stride=1, padding=self.tolerance).flatten(1) > 0)
        return torch.cat(grown, dim=1)
