"""Symmetry: do two features that do the same have the same relevance?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import NotApplicable
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class Symmetry(Metric):
    """sum |phi_i - phi_j| / sum (|phi_i| + |phi_j|) over pairs i, j of which the function sees the product alone.

    Where x_i x0_j = x0_i x_j, as at baseline 0, each of a pair does alone what the other does, whatever else is there:
    Shapley values, and so the axiom, give both the same. A local map is multiplied by x - x0 first. For functions
    whose pairs are known: dataset=planted_interaction model=known. A map of zeros has no shares: NaN, as where no pair
    is symmetric.
    Pitfall: equal is not right: a constant map keeps the axiom.
    Source: the symmetry axiom of Shapley 1953; Sundararajan, Taly, Yan 2017, "Axiomatic Attribution for Deep Networks"
    (arXiv 1703.01365).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Asymmetry", low=0, high=1,
            meaning="How far apart the relevance of features is that do the same, relative to their relevance.",
        )  # fmt: skip
        source = "Sundararajan, Taly, Yan 2017, Axiomatic Attribution for Deep Networks, arXiv 1703.01365"
        return MetricFacts("Symmetry", source, {"symmetry": column}, family="axiomatic")

    def check(self, case: Case) -> None:
        if case.planted is None or not len(case.planted.partners):
            raise NotApplicable("needs a function with known symmetry: dataset=planted_interaction model=known")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        assert case.planted is not None, "the metric is only asked where pairs are known"
        x0 = case.baseline(x)
        values = maps.density.double() * (x - x0).double() if maps.local else maps.density.double()
        one, other = case.planted.partners.to(x.device).unbind(1)
        same = x[:, one] * x0[:, other] == x0[:, one] * x[:, other]
        left, right = (values[:, side].masked_fill(~same, 0) for side in (one, other))
        apart, size = (left - right).abs().sum(1), (left.abs() + right.abs()).sum(1)
        shares = torch.where(size != 0, apart / torch.where(size != 0, size, 1), torch.nan)
        return {"symmetry": shares.masked_fill(values.isnan().any(1), torch.nan)}
