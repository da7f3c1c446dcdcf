"""SmoothGrad, SmoothGrad-squared and VarGrad of any other algorithm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts, at_least
from xbench.algorithms.parts.noise import check_stdevs, random_baselines
from xbench.algorithms.saliency import Saliency
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Plans, sequence

NoiseType = Literal["smoothgrad", "smoothgrad_sq", "vargrad"]
_SOURCES = {
    "smoothgrad": ("SmoothGrad", "Smilkov, Thorat, Kim, Viegas, Wattenberg 2017, SmoothGrad: Removing Noise by Adding "
                   "Noise, arXiv 1706.03825"),
    "smoothgrad_sq": ("SmoothGrad-squared", "Hooker, Erhan, Kindermans, Kim 2019, A Benchmark for Interpretability "
                      "Methods in Deep Neural Networks, arXiv 1806.10758"),
    "vargrad": ("VarGrad", "Adebayo, Gilmer, Goodfellow, Kim 2018, Local Explanation Methods for Deep Neural Networks "
                "Lack Sensitivity to Parameter Values, arXiv 1810.03307"),
}  # fmt: skip


@dataclass(frozen=True)
class NoiseTunnel(Algorithm):
    """Explains noisy copies of the sample and takes the mean, the mean square or the variance of the maps.

    Sources: Smilkov et al. 2017 (arXiv 1706.03825); Hooker et al. 2019 (arXiv 1806.10758); Adebayo et al. 2018
    (arXiv 1810.03307). VarGrad is the population variance (divided by n, as in Captum), by Welford's recurrence.

    Args:
        algorithm: the algorithm whose maps are smoothed; by default the signed gradient.
        nt_type: `smoothgrad`, `smoothgrad_sq` or `vargrad`.
        nt_samples: number of noisy copies.
        stdevs: standard deviation of the Gaussian noise, one number or one per input tensor.
        relative: whether `stdevs` are shares of each sample's range max - min (the paper's convention) or absolute.
        draw_baseline_from_distrib: whether every copy gets a random row of the baselines instead of its own.
    """

    algorithm: Algorithm = field(default_factory=lambda: Saliency(abs=False))
    nt_type: NoiseType = "smoothgrad"
    nt_samples: int = 5
    stdevs: float | tuple[float, ...] = 1.0
    relative: bool = False
    draw_baseline_from_distrib: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.algorithm, Algorithm):
            raise TypeError(f"algorithm: expected an algorithm to smooth, got {type(self.algorithm).__name__}")
        if self.nt_type not in get_args(NoiseType):
            raise ValueError(f"nt_type: expected one of {', '.join(get_args(NoiseType))}, got {self.nt_type!r}")
        at_least("nt_samples", self.nt_samples, 1)
        check_stdevs(self.stdevs)

    @property
    def facts(self) -> Facts:
        inner, (label, citation) = self.algorithm.facts, _SOURCES[self.nt_type]
        # Squares and variances are not shares of the output and do not sum to f(x) - f(x0). A squared gradient does not
        # have a gradient's unit either, but it scales with the input like a local map.
        return replace(
            inner,
            needs=tuple(dict.fromkeys((Need.NUMBERS, *inner.needs))),
            label=f"{label} ({inner.label})",
            citation=f"{citation}; {inner.citation}",
            stochastic=True,
            complete=False,
            distribution=inner.distribution or self.draw_baseline_from_distrib,
        )

    def check(self, case: Case) -> None:
        if self.draw_baseline_from_distrib and case.paired:
            raise ValueError(
                "draw_baseline_from_distrib: every sample has its own baseline here, there is no distribution to draw "
                "from (xbench.attribute takes one as `baselines`)"
            )
        self.algorithm.check(case)

    def density(self, case: Case, maps: Tensor) -> Tensor:
        return self.algorithm.density(case, maps)

    def plan(self, case: Case, x: Tensor) -> Plans:
        stdevs = case.layout.spread(self.stdevs, x)
        if self.relative:
            stdevs = stdevs * case.ranges(x)

        def plans() -> Iterator[Plans]:
            for draw in range(self.nt_samples):
                yield self.algorithm.plan(self._case(case, draw, x), x + stdevs * case.draws.normal("tunnel", draw, x))

        return sequence(plans(), self.nt_samples, self._combine)

    def _case(self, case: Case, draw: int, x: Tensor) -> Case:
        # The smoothed algorithm makes new draws for every copy.
        case = case.redrawn(f"copy{draw}") if self.algorithm.facts.stochastic else case
        if not self.draw_baseline_from_distrib:
            return case
        return replace(case, baselines=random_baselines(case, draw, x), paired=True)

    def _combine(self, maps: Iterator[Tensor]) -> Tensor:
        if self.nt_type == "vargrad":
            return _variance(maps, self.nt_samples)
        square = self.nt_type == "smoothgrad_sq"
        total = sum(m.square() if square else m for m in maps)
        assert isinstance(total, Tensor)
        return total / self.nt_samples


def _variance(maps: Iterator[Tensor], n: int) -> Tensor:
    mean = next(maps).clone()
    squares = torch.zeros_like(mean)
    for count, m in enumerate(maps, 2):
        step = m - mean
        mean += step / count
        squares += step * (m - mean)
    return squares / n
