"""Monotonicity correlation: does removing more relevant features change the output more?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.masking import require_few_features
from xbench.core.plan import Answer, Plan, Want
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.curves import removal
from xbench.metrics.evidence import Shared
from xbench.metrics.imputers.base import BASELINE, Imputer
from xbench.metrics.imputers.known import imputer_of
from xbench.metrics.maps import Maps, relevance
from xbench.metrics.ranks import spearman


@dataclass(frozen=True)
class EachFeature(Shared):
    """f(x) - f(x without feature k), (n, K); 0 for features that a sample lacks. K is at most `max_features`."""

    max_features: int
    imputer: Imputer = BASELINE

    def plan(self, case: Case, x: Tensor) -> Plan:
        most = int(case.counts.max())
        k_max = min(most, self.max_features)
        feature = torch.arange(most, device=x.device)

        def points() -> Iterator[Tensor]:
            without = removal(case, x, self.imputer)
            yield x
            for k in range(k_max):
                yield without((feature == k).expand(len(x), -1))

        def drops(answers: Iterator[Answer]) -> Tensor:
            full = next(answers).value.double()
            found = torch.stack([full - answer.value.double() for answer in answers], dim=1)
            return found.masked_fill(feature[:k_max] >= case.counts.to(x.device)[:, None], 0)

        return Plan(points(), 1 + k_max, Want.VALUE, drops)


@dataclass(frozen=True)
class SingleFeatures(Metric):
    """Base of the metrics that compare relevance with the effect of removing each feature alone; they share it.

    Args:
        max_features: samples with more features have NaN, because each feature costs one evaluation.
        imputer: what stands in place of a removed feature, as in `CurveMetric`.
    """

    max_features: int = 256
    imputer: Imputer | str = "baseline"

    def __post_init__(self) -> None:
        if self.max_features < 2:
            raise ValueError(f"max_features: expected at least 2, got {self.max_features}")
        imputer_of(self.imputer)

    @property
    def evidence(self) -> tuple[EachFeature]:
        return (EachFeature(self.max_features, imputer_of(self.imputer)),)

    def describe(self, case: Case) -> str:
        return f"each of the {case.called} {imputer_of(self.imputer).describe(case)}"

    def check(self, case: Case) -> None:
        require_few_features(case, self.max_features)
        imputer_of(self.imputer).check(case)

    def compared(self, case: Case, maps: Maps, drops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Relevance, drops and which features a sample has, (n, K) each; NaN for samples of too many features."""
        phi, own = relevance(case, maps)
        phi, own = phi[:, : self.max_features], own[:, : self.max_features]
        many = (case.counts.to(phi.device) > self.max_features)[:, None]
        # A part of the samples may have fewer features than all of them.
        return phi.masked_fill(many, torch.nan), drops.double()[:, : phi.shape[1]], own


@dataclass(frozen=True)
class MonotonicityCorrelation(SingleFeatures):
    """Spearman's correlation of |phi_k| and |f(x) - f(x without k)| over the features k of a sample.

    The paper draws a removed feature from its distribution, as `imputer="train"` does. NaN if the map or the changes
    are constant, as for a sample with one feature.
    Pitfall: without signs, so a map and its inverse score the same; what features do together it does not see.
    Source: Nguyen, Martinez 2020, "On Quantitative Aspects of Model Interpretability" (arXiv 2007.07584).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="Monotonicity correlation", short="Monotonicity", low=-1, high=1,
            meaning="Rank correlation of the features' relevance and of what removing each does to the output.",
        )  # fmt: skip
        source = "Nguyen, Martinez 2020, On Quantitative Aspects of Model Interpretability, arXiv 2007.07584"
        return MetricFacts("Monotonicity correlation", source, {"monotonicity_correlation": column}, "faithfulness")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        phi, drops, own = self.compared(case, maps, found[0])
        return {"monotonicity_correlation": spearman(phi.abs(), drops.abs(), own)}
