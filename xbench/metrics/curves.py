"""Removal curves: the output while features are removed in the order of the map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.masking import coalition
from xbench.core.plan import Plan, Want, values
from xbench.metrics.evidence import Ranked
from xbench.metrics.maps import Maps, relevance


@dataclass(frozen=True)
class RemovalCurve(Ranked):
    """f at steps + 1 points, (n, steps + 1): the most relevant features at their baseline first, 0 to all of them.

    Each step removes about the same number of features. Ties are removed in the order of the features.
    """

    steps: int

    def plan(self, case: Case, x: Tensor, maps: Maps) -> Plan:
        phi, own = relevance(case, maps)
        phi = phi.nan_to_num().masked_fill(~own, -torch.inf)
        rank = phi.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        count = own.sum(1, keepdim=True)

        def points() -> Iterator[Tensor]:
            for step in range(self.steps + 1):
                yield coalition(case, x, rank >= (count * step / self.steps).round())

        return Plan(points(), self.steps + 1, Want.VALUE, values)


def undefined_where_nan(maps: Maps, scores: Tensor) -> Tensor:
    """Scores with NaN for maps that contain NaN, because these have no order."""
    return scores.masked_fill(maps.density.isnan().any(1), torch.nan)
