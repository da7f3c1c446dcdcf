"""Characterisation score: is the explanation both necessary and sufficient?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.graph.fidelity_plus import SOURCE
from xbench.metrics.graph.subgraphs import Predictions, SubgraphMetric
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class Characterisation(SubgraphMetric):
    """The weighted harmonic mean of fidelity+ and 1 - fidelity-, both on probabilities:

        (w+ + w-) / (w+ / fid+ + w- / (1 - fid-))

    Zero where either is zero. Pitfall: the paper takes it of the means over samples, this is the mean over samples.
    Source: Amara et al. 2022 (arXiv 2206.09677).

    Args:
        top: the share of the features that is the explanation.
        plus: the weight w+ of fidelity+; that of 1 - fidelity- is 1 - w+.
    """

    plus: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.plus < 1:
            raise ValueError(f"plus: expected a weight between 0 and 1, got {self.plus}")

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="Characterisation", low=0, high=1,
            meaning="Harmonic mean of how necessary (fidelity+) and how sufficient (1 − fidelity−) the most relevant "
            "part of the graph is.",
        )  # fmt: skip
        return MetricFacts("Characterisation", SOURCE, {"characterisation": column}, family="graph",
                           needs=(Need.GRAPHS, Need.OUTPUTS))  # fmt: skip

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        seen = Predictions.of(found[0], maps)
        necessary, sufficient = seen.drop(case, seen.without), 1 - seen.drop(case, seen.alone)
        below = self.plus * sufficient + (1 - self.plus) * necessary
        both = torch.where(below == 0, 0, necessary * sufficient / torch.where(below == 0, 1, below))
        return {"characterisation": both}
