"""Total variation: is the map smooth?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import NotApplicable
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class TotalVariation(Metric):
    """How much the map varies between neighbours, as a share of its size; channels are summed first.

        TV = sum over neighbours i, j of |phi_i - phi_j| / sum_i |phi_i|

    Neighbours are next to each other in height, width or time; pixels of one feature share its relevance, so large
    features make smooth maps. 0 for a constant map; a map of zeros has none: NaN.
    Pitfall: a smooth map need not be a right one: blurring it lowers the number.
    Source: Rudin, Osher, Fatemi 1992, "Nonlinear total variation based noise removal algorithms" (Physica D 60);
    of maps, Fong, Vedaldi 2017, "Interpretable Explanations of Black Boxes by Meaningful Perturbation"
    (arXiv 1704.03296).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Total variation", short="Variation", low=0,
            meaning="Sum of the differences between neighbours in the map, relative to the sum of its magnitudes.",
        )  # fmt: skip
        source = (
            "Fong, Vedaldi 2017, Interpretable Explanations of Black Boxes by Meaningful Perturbation, arXiv 1704.03296"
        )
        return MetricFacts("Total variation", source, {"total_variation": column}, family="complexity")

    def check(self, case: Case) -> None:
        shapes = case.layout.shapes
        if len(shapes) != 1 or len(shapes[0]) < 2 or case.channels_last:
            raise NotApplicable("needs neighbours in height, width or time: samples are not one image, clip or series")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        shape = case.layout.shapes[0]
        outside = (case.features < 0).expand(len(x), -1)
        values = maps.density.double().masked_fill(outside, 0).reshape(-1, *shape).sum(1)
        inside = (~outside).reshape(-1, *shape).any(1)
        varied = values.new_zeros(len(x))
        for dim in range(1, values.dim()):
            # Padding has no relevance, which is no border of the map.
            both = inside.narrow(dim, 1, inside.shape[dim] - 1) & inside.narrow(dim, 0, inside.shape[dim] - 1)
            varied += (values.diff(dim=dim).abs() * both).flatten(1).sum(1)
        whole = values.abs().flatten(1).sum(1)
        return {"total_variation": torch.where(whole != 0, varied / torch.where(whole > 0, whole, 1), torch.nan)}
