"""Smooth MPRT: does the map change when the weights do, once its noise is averaged out?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.evidence import Change, Changed, Explained, Smoothing
from xbench.metrics.maps import Maps
from xbench.metrics.randomisation.efficient_mprt import CITATION
from xbench.metrics.randomisation.random_weights import Order, cascade, check_cascades
from xbench.metrics.randomisation.similarity import compared
from xbench.metrics.ranks import spearman


@dataclass(frozen=True)
class SmoothlyRandom(Changed):
    """Spearman's correlation of the smoothed map and those of models with weights drawn anew, (n, cascades)."""

    cascades: int
    order: Order
    smoothing: Smoothing

    def changes(self, case: Case, explained: Explained) -> Iterator[Change]:
        yield Change(smoothing=self.smoothing)
        for model, _ in cascade(explained.model, case.draws.seed, self.cascades, self.order):
            yield Change(model=model, smoothing=self.smoothing)

    def reduce(self, case: Case, maps: Maps, others: Iterator[Tensor]) -> Tensor:
        smooth = next(others)
        own = compared(case, smooth)
        return torch.stack([spearman(smooth, other, own) for other in others], dim=1)


@dataclass(frozen=True)
class SmoothMPRT(Metric):
    """MPRT of maps that are means over noisy copies of the sample: the mean over cascades.

    Without it a method whose maps are noisy scores well: noise is unlike any other noise.
    Pitfall: all maps are explained `nt_samples` times, and a map of the input alone becomes smoother too.
    Source: Hedström, Weber, Lapuschkin, Höhne 2023, "Sanity Checks Revisited" (arXiv 2401.06465), and 2024, "A Fresh
    Look at Sanity Checks for Saliency Maps" (arXiv 2405.02383), with rank correlation; there are 50 copies.

    Args:
        cascades: at how many stages of the cascade samples are explained again, evenly spread; the last is the whole
            model, and the only one by default, because each costs `nt_samples` explanations. With more of them
            `smooth_mprt_full` is the last alone.
        order: bottom_up (the authors' advice) or top_down.
        nt_samples: noisy copies.
        stdevs: standard deviation of the noise, a share of each sample's range.
    """

    cascades: int = 1
    order: Order = "bottom_up"
    nt_samples: int = 10
    stdevs: float = 0.1

    def __post_init__(self) -> None:
        check_cascades(self.cascades, self.order)
        Smoothing(self.nt_samples, self.stdevs)

    @property
    def facts(self) -> MetricFacts:
        main = Column(
            "lower", label="Smooth MPRT", short="sMPRT", low=-1, high=1,
            meaning="Mean rank correlation of the smoothed map with those of the model whose weights are drawn anew: 1 "
            "says that the map does not depend on the model.",
        )  # fmt: skip
        full = Column(
            "lower", label="Smooth MPRT, all weights", low=-1, high=1, detail=True,
            meaning="The same with all weights drawn anew.",
        )  # fmt: skip
        columns = {"smooth_mprt": main} if self.cascades == 1 else {"smooth_mprt": main, "smooth_mprt_full": full}
        needs = (Need.MODULE, Need.NUMBERS)
        return MetricFacts("Smooth MPRT", CITATION, columns, "randomisation", needs, version=2, anywhere=True)

    @property
    def evidence(self) -> tuple[SmoothlyRandom]:
        return (SmoothlyRandom(self.cascades, self.order, Smoothing(self.nt_samples, self.stdevs)),)

    def describe(self, case: Case) -> str:
        return f"Gaussian noise, sd {self.stdevs:g} of the range"

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        alike = found[0].double()
        scores = {"smooth_mprt": alike.mean(1), "smooth_mprt_full": alike[:, -1]}
        return {name: scores[name] for name in self.facts.columns}
