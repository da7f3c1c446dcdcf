"""Attribution maps in the form that metrics use."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case


@dataclass(frozen=True)
class Maps:
    """Maps of n samples.

    Attributes:
        values: (n, d) as the algorithm returns them.
        density: (n, d) the map per element, which sums to the total (see `Algorithm.density`).
        local: whether maps are gradient-like, to be multiplied by a change of the input; else shares of f(x) -
            f(baseline).
        stochastic: whether explaining again without a perturbation changes the maps; None: unknown.
    """

    values: Tensor
    density: Tensor
    local: bool
    stochastic: bool | None

    def part(self, rows: slice) -> Maps:
        """The maps of the samples `rows`; copies, because a metric may write into them."""
        return Maps(self.values[rows].clone(), self.density[rows].clone(), self.local, self.stochastic)


def relevance(case: Case, maps: Maps) -> tuple[Tensor, Tensor]:
    """The map summed within each feature, (n, K) in double precision, and the mask of existing features, (n, K) bool.

    K is the largest number of features of a sample; features that a sample lacks are 0.
    """
    summed = by_feature(case, maps.density)
    return summed, torch.arange(summed.shape[1], device=summed.device) < case.counts.to(summed.device)[:, None]


def by_feature(case: Case, values: Tensor) -> Tensor:
    """Values of the elements, (n, d), summed within each feature: (n, K) in double precision."""
    feature, outside = case.membership
    values = values.double()
    if outside is not None:
        values = values.masked_fill(outside, 0)
    summed = values.new_zeros(len(values), int(case.counts.max()))
    if not summed.shape[1]:  # no sample has a feature
        return summed
    return summed.scatter_add_(1, feature.expand(len(values), -1), values)
