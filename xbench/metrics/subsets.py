"""Random subsets: what removing several features at once does to the output, and what the map says it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.draws import Draws
from xbench.core.needs import NotApplicable
from xbench.core.plan import Answer, Plan, Want
from xbench.metrics.base import Metric
from xbench.metrics.curves import removal
from xbench.metrics.evidence import Shared
from xbench.metrics.imputers.base import BASELINE, Imputer
from xbench.metrics.imputers.known import imputer_of
from xbench.metrics.maps import Maps, relevance
from xbench.metrics.ranks import settled

ROUNDING = 8  # units in the last place by which equal outputs of different batches may differ


@dataclass(frozen=True)
class RandomSubsets(Shared):
    """f(x) - f(x without S) for random sets S of one share of the features, (n, n_draws).

    A set has round(share * K) of a sample's K features, at least one and never all, so that sets of one sample differ.
    Outputs that differ by rounding are equal. Draws are held out: no algorithm sees the same ones.
    """

    n_draws: int
    share: float
    imputer: Imputer = BASELINE

    def removed(self, case: Case, index: int) -> Tensor:
        """The set number `index` of every sample, (n, K) bool."""
        return _sets(case.draws, index, tuple(case.counts.tolist()), self.share).to(case.features.device)

    def plan(self, case: Case, x: Tensor) -> Plan:
        def points() -> Iterator[Tensor]:
            without = removal(case, x, self.imputer)
            yield x
            for index in range(self.n_draws):
                yield without(self.removed(case, index))

        def drops(answers: Iterator[Answer]) -> Tensor:
            found = torch.stack([answer.value for answer in answers], dim=1)
            eps = torch.finfo(found.dtype).eps if found.is_floating_point() else 0
            found = found.double()
            outputs = settled(found, ROUNDING * eps * found.abs().amax(1, keepdim=True))
            return outputs[:, :1] - outputs[:, 1:]

        return Plan(points(), 1 + self.n_draws, Want.VALUE, drops)


# Every algorithm and metric of a comparison is measured on the same sets: the latest ones are kept.
@lru_cache(maxsize=256)
def _sets(draws: Draws, index: int, counts: tuple[int, ...], share: float) -> Tensor:
    """A random set of every sample's features, (n, K) bool."""
    chosen = np.zeros((len(counts), max(counts)), dtype=bool)
    for row, rng in enumerate(draws.of_samples("subset", index)):
        size = min(max(1, round(share * counts[row])), counts[row] - 1)
        chosen[row, rng.permutation(counts[row])[: max(size, 0)]] = True
    return torch.from_numpy(chosen)


def check_draws(n_draws: int, *shares: float) -> None:
    """ValueError for parameters that no correlation can be had with."""
    if n_draws < 2:
        raise ValueError(f"n_draws: expected at least 2, got {n_draws}")
    if not shares or any(not 0 < share < 1 for share in shares):
        raise ValueError(f"share: expected numbers between 0 and 1, got {', '.join(map(str, shares)) or 'none'}")


@dataclass(frozen=True)
class SubsetMetric(Metric):
    """Base of the metrics of random subsets of one size, which they share.

    The map is taken as it is: a local one, a slope, says less about removals than its product with x - x0 would.

    Args:
        n_draws: subsets of each sample.
        share: of a sample's features that a subset has, at least one and never all.
        imputer: what stands in place of a removed feature, as in `CurveMetric`.
    """

    n_draws: int = 50
    share: float = 0.2
    imputer: Imputer | str = "baseline"

    def __post_init__(self) -> None:
        check_draws(self.n_draws, self.share)
        imputer_of(self.imputer)

    @property
    def evidence(self) -> tuple[RandomSubsets, ...]:
        return (RandomSubsets(self.n_draws, self.share, imputer_of(self.imputer)),)

    def describe(self, case: Case) -> str:
        removed = f"{100 * self.share:g}% of the {case.called} {imputer_of(self.imputer).describe(case)}"
        return f"{removed}, {self.n_draws} random subsets"

    def check(self, case: Case) -> None:
        several_features(case)
        imputer_of(self.imputer).check(case)


def several_features(case: Case) -> None:
    """NotApplicable where no sample has two features, of which some but not all could be removed."""
    if int(case.counts.max()) < 2:
        raise NotApplicable("needs at least two features: no sample has more than one")


def predicted(case: Case, maps: Maps, subsets: RandomSubsets) -> Tensor:
    """The relevance of each removed set, (n, n_draws): what the map says the output drops by."""
    phi, _ = relevance(case, maps)
    sums = [(phi * subsets.removed(case, index)).sum(1) for index in range(subsets.n_draws)]
    # A sum in another order differs by rounding; of a constant map all sums are equal.
    return settled(torch.stack(sums, dim=1), 1e-12 * phi.abs().sum(1, keepdim=True))
