"""Base of localisation metrics: relevance per cell of the mask, and how many of the largest cells lie inside it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.names import SIGNS
from xbench.core.truth import Truth
from xbench.metrics.base import Metric
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class LocalisationMetric(Metric):
    """Base of the metrics that compare a map with the position of the evidence.

    The map is summed within each cell of the mask. A sample without evidence, or a map with NaN, scores NaN, which
    counts as undefined. Ties between cells are resolved by the expectation over random orders, so a constant map scores
    the area of the mask.

    Args:
        sign: "positive" or "signed": only positive relevance counts (ranks: the largest first); "absolute": magnitudes.
    """

    sign: str = "positive"

    def __post_init__(self) -> None:
        if self.sign not in SIGNS:
            raise ValueError(f"sign: expected one of {', '.join(SIGNS)}, got {self.sign!r}")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        truth = case.truth
        assert truth is not None, "a localisation metric is only asked where the evidence is known"
        relevance = truth.relevance(maps.density)
        relevance = relevance.abs() if self.sign == "absolute" else relevance
        undefined = relevance.isnan().any(1) | ~(truth.evidence & truth.inside).any(1)
        scores = self.compare(truth, relevance.nan_to_num())
        return {name: values.double().masked_fill(undefined, torch.nan) for name, values in scores.items()}

    @abstractmethod
    def compare(self, truth: Truth, relevance: Tensor) -> dict[str, Tensor]:
        """The columns, (n,) each, from finite relevance (n, m); values of samples without evidence are ignored."""


def largest_inside(truth: Truth, relevance: Tensor, count: Tensor) -> Tensor:
    """How many of each sample's `count` (n,) most relevant cells lie in the mask, (n,) float64, ties in expectation."""
    ranked = relevance.masked_fill(~truth.inside, -torch.inf)
    order = ranked.sort(dim=1, descending=True).values
    threshold = order.gather(1, (count.clamp(min=1) - 1)[:, None])
    above, level = ranked > threshold, (ranked == threshold) & truth.inside
    evidence = truth.evidence & truth.inside
    drawn = (count - above.sum(1)).double() / level.sum(1).clamp(min=1)
    return (above & evidence).sum(1).double() + drawn * (level & evidence).sum(1).double()
