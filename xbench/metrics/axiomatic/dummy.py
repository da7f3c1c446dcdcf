"""Dummy: do features that the function does not depend on have no relevance?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import NotApplicable
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.maps import Maps, relevance


@dataclass(frozen=True)
class Dummy(Metric):
    """The share of the absolute relevance on dummies: features that no output of the function depends on.

    For functions whose dummies are known: dataset=planted_linear model=known. A feature is a dummy if all its elements
    are. A map of zeros has no shares: NaN.
    Pitfall: a trained model may use what does not matter, so nothing is known of it.
    Source: the dummy axiom of Shapley 1953; sensitivity (b) of Sundararajan, Taly, Yan 2017, "Axiomatic Attribution for
    Deep Networks" (arXiv 1703.01365).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Relevance on dummies", short="Dummies", low=0, high=1,
            meaning="Share of the absolute relevance that lies on features that the function does not depend on.",
        )  # fmt: skip
        source = "Sundararajan, Taly, Yan 2017, Axiomatic Attribution for Deep Networks, arXiv 1703.01365"
        return MetricFacts("Dummy", source, {"dummy": column}, family="axiomatic")

    def check(self, case: Case) -> None:
        if case.planted is None or not case.planted.dummies.any():
            raise NotApplicable("needs a function with known dummies: dataset=planted_linear model=known")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        assert case.planted is not None, "the metric is only asked where dummies are known"
        size = relevance(case, maps)[0].abs()
        feature, outside = case.membership
        dummies = case.planted.dummies.to(feature.device)
        used = (~dummies).expand_as(feature) if outside is None else ~dummies & ~outside
        live = size.new_zeros(size.shape).scatter_add_(
            1, feature.expand(len(x), -1), used.to(size.dtype).expand(len(x), -1)
        )
        whole = size.sum(1)
        share = size.masked_fill(live > 0, 0).sum(1) / torch.where(whole > 0, whole, 1)
        return {"dummy": torch.where(whole != 0, share, torch.nan).masked_fill(whole.isnan(), torch.nan)}
