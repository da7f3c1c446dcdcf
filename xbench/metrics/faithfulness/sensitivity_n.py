"""Sensitivity-n: faithfulness correlation at several sizes of the subsets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.imputers.base import Imputer
from xbench.metrics.imputers.known import imputer_of
from xbench.metrics.maps import Maps
from xbench.metrics.ranks import pearson
from xbench.metrics.subsets import RandomSubsets, check_draws, predicted, several_features


@dataclass(frozen=True)
class SensitivityN(Metric):
    """Pearson's correlation of sum_S phi_k and f(x) - f(x without S) over random subsets S of n features, several n.

    The mean over the sizes, and each of them. A map that satisfies sensitivity-n for all n has 1, which only a linear
    model admits. NaN where the map or the changes are constant.
    Pitfall: the map is taken as it is, as in the paper, which compares maps already multiplied by the input: slopes
    lose.
    Source: Ancona, Ceolini, Öztireli, Gross 2018, "Towards better understanding of gradient-based attribution methods
    for Deep Neural Networks" (arXiv 1711.06104).

    Args:
        n_draws: subsets of each size.
        shares: the sizes n, as shares of a sample's features; the subsets of an equal share are those of
            `FaithfulnessCorrelation`, `MuFidelity` and `LDS`.
        imputer: what stands in place of a removed feature, as in `CurveMetric`; 0 in the paper.
    """

    n_draws: int = 50
    shares: tuple[float, ...] = (0.2, 0.5, 0.8)
    imputer: Imputer | str = "baseline"

    def __post_init__(self) -> None:
        check_draws(self.n_draws, *self.shares)
        imputer_of(self.imputer)
        if len(set(self.names)) < len(self.shares):
            raise ValueError(f"shares: expected different whole percentages, got {self.shares}")

    @property
    def names(self) -> list[str]:
        """A column for each share."""
        return [f"sensitivity_n_{100 * share:.0f}" for share in self.shares]

    @property
    def facts(self) -> MetricFacts:
        meaning = "Correlation of the relevance of random subsets and of what removing them does to the output, "
        columns = {
            "sensitivity_n": Column(
                "higher", label="Sensitivity-n", short="Sens.-n", low=-1, high=1,
                meaning=f"{meaning}averaged over several sizes.",
            ),
            **{
                name: Column(
                    "higher", label=f"Sensitivity-n at {100 * share:.0f}%", low=-1, high=1, detail=True,
                    meaning=f"{meaning}{100 * share:.0f}% of the features each.",
                )
                for name, share in zip(self.names, self.shares, strict=True)
            },
        }  # fmt: skip
        source = (
            "Ancona, Ceolini, Öztireli, Gross 2018, Towards better understanding of gradient-based attribution methods "
            "for Deep Neural Networks, arXiv 1711.06104"
        )
        return MetricFacts("Sensitivity-n", source, columns, family="faithfulness")

    @property
    def evidence(self) -> tuple[RandomSubsets, ...]:
        return tuple(RandomSubsets(self.n_draws, share, imputer_of(self.imputer)) for share in self.shares)

    def describe(self, case: Case) -> str:
        shares = ", ".join(f"{100 * share:g}%" for share in self.shares)
        removed = f"{shares} of the {case.called} {imputer_of(self.imputer).describe(case)}"
        return f"{removed}, {self.n_draws} random subsets each"

    def check(self, case: Case) -> None:
        several_features(case)
        imputer_of(self.imputer).check(case)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        scores = []
        for subsets, drops in zip(self.evidence, found, strict=True):
            told = predicted(case, maps, subsets)
            scores.append(pearson(told, drops, torch.ones_like(told, dtype=torch.bool)))
        return {"sensitivity_n": torch.stack(scores).mean(0), **dict(zip(self.names, scores, strict=True))}
