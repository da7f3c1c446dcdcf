"""Efficient MPRT: does the map become more complex when all weights are noise?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.maps import Maps
from xbench.metrics.randomisation.random_weights import FullyRandom, histogram_entropy
from xbench.metrics.randomisation.similarity import compared

CITATION = (
    "Hedström, Weber, Lapuschkin, Höhne 2023, Sanity Checks Revisited: An Exploration to Repair the Model Parameter "
    "Randomisation Test, arXiv 2401.06465; 2024, A Fresh Look at Sanity Checks for Saliency Maps, arXiv 2405.02383"
)


@dataclass(frozen=True)
class EfficientMPRT(Metric):
    """(H(phi') - H(phi)) / H(phi), H the entropy of a map's histogram, phi' the map of the model with all weights drawn
    anew: that of `MPRT`.

    A map that explains the model has less structure when the model has none. NaN where the entropy is 0: all values of
    the map are equal.
    Pitfall: it compares histograms, not places, and depends on the bins; a map that is dense already cannot rise.
    Source: Hedström, Weber, Lapuschkin, Höhne 2023, "Sanity Checks Revisited" (arXiv 2401.06465), and 2024, "A Fresh
    Look at Sanity Checks for Saliency Maps" (arXiv 2405.02383).

    Args:
        n_bins: bins of the histogram, of equal width from the least to the greatest value of each map.
    """

    n_bins: int = 100

    def __post_init__(self) -> None:
        if self.n_bins < 2:
            raise ValueError(f"n_bins: expected at least 2, got {self.n_bins}")

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="Efficient MPRT", short="eMPRT", low=-1,
            meaning="Relative rise of the map's entropy when all weights are drawn anew: 0 says that it stays as "
            "complex as it is.",
        )  # fmt: skip
        columns = {"efficient_mprt": column}
        return MetricFacts("Efficient MPRT", CITATION, columns, "randomisation", (Need.MODULE,), anywhere=True)

    @property
    def evidence(self) -> tuple[FullyRandom]:
        return (FullyRandom(self.n_bins),)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        before = histogram_entropy(maps.values, compared(case, maps.values), self.n_bins)
        after = found[0].double()[:, 1]
        return {"efficient_mprt": torch.where(before == 0, torch.nan, (after - before) / before)}
