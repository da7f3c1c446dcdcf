"""MuFidelity and LDS: does the relevance of a subset rank what its removal does?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.maps import Maps
from xbench.metrics.ranks import spearman
from xbench.metrics.subsets import SubsetMetric, predicted


@dataclass(frozen=True)
class MuFidelity(SubsetMetric):
    """Spearman's correlation, over random subsets S of one size, of sum_S phi_k and f(x) - f(x without S).

    Faithfulness correlation by ranks, on the same subsets: no outlier decides it, and no bend of the output.
    NaN where the map or the changes are constant.
    Pitfall: single pixels hardly change the output: the paper's features of images are the cells of a grid.
    Source: Fel, Cadène, Chalvidal, Cord, Vigouroux, Serre 2021, "Look at the Variance! Efficient Black-box
    Explanations with Sobol-based Sensitivity Analysis" (arXiv 2111.04138), after Bhatt, Weller, Moura 2020.
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="MuFidelity", low=-1, high=1,
            meaning="Rank correlation of the relevance of random subsets of the features and of what removing them "
            "does to the output.",
        )  # fmt: skip
        source = "Fel et al. 2021, Look at the Variance! Efficient Black-box Explanations, arXiv 2111.04138"
        return MetricFacts("MuFidelity", source, {"mu_fidelity": column}, family="faithfulness")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        told = predicted(case, maps, self.evidence[0])
        return {self.main: spearman(told, found[0], torch.ones_like(told, dtype=torch.bool))}


@dataclass(frozen=True)
class LDS(MuFidelity):
    """The linear datamodelling score: Spearman's correlation of the map's sum over what is left and of the output.

    Over random halves of the features, which no method has seen. The sum of what is left is the whole less that of
    what is removed, and the output f(x) less its drop: the ranks are those of `MuFidelity`, at another size.
    Pitfall: with few features the halves are few, and a method that samples them too has seen most.
    Source: Park, Georgiev, Ilyas, Leclerc, Mądry 2023, "TRAK" (arXiv 2303.14186), for training samples; Cohen-Wang,
    Shah, Georgiev, Mądry 2024, "ContextCite" (arXiv 2409.00729), for features.
    """

    share: float = 0.5

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="LDS", low=-1, high=1,
            meaning="Rank correlation of the output without random features and of the map's sum over what is left "
            "(linear datamodelling score).",
        )  # fmt: skip
        source = "Park, Georgiev, Ilyas, Leclerc, Mądry 2023, TRAK, arXiv 2303.14186; ContextCite, arXiv 2409.00729"
        return MetricFacts("Linear datamodelling score", source, {"lds": column}, family="faithfulness")
