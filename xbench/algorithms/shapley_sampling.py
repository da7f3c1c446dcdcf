"""Shapley values by sampling permutations: features join one after the other, and each is paid what it adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor

from xbench.algorithms.base import Facts, at_least
from xbench.algorithms.parts.masking import OnFeatures, coalition, to_elements, value_dtype
from xbench.case import Case
from xbench.plan import Answer, Plan, Want


@dataclass(frozen=True)
class ShapleyValueSampling(OnFeatures):
    """phi_k = mean over permutations of f(features before k, and k) - f(features before k).

    Every element of a feature carries the feature's value; the values sum to f(x) - f(x0) exactly.
    Rows per sample: 2 + n_samples (K - 1), K the largest number of features of a sample in flight.
    Permutations are the ranks of the coordinates of random directions, K - 1 of which are orthogonal to each other
    before fresh ones are drawn: each is as likely as any other, and together they differ more than independent ones.
    Sources: Castro, Gomez, Tejada 2009, "Polynomial calculation of the Shapley value based on sampling"; Strumbelj,
    Kononenko 2010, "An Efficient Explanation of Individual Classifications using Game Theory"; antithetic pairs and
    orthogonal directions: Mitchell, Cooper, Frank, Holmes 2022, "Sampling Permutations for Shapley Value Estimation"
    (arXiv 2104.12199). Captum draws independent permutations, one for all samples of a batch.

    Args:
        n_samples: permutations per sample.
        antithetic: every second permutation is the one before it, backwards (lower variance).
    """

    n_samples: int = 25
    antithetic: bool = True

    def __post_init__(self) -> None:
        at_least("n_samples", self.n_samples, 1)

    @property
    def facts(self) -> Facts:
        return Facts(
            "Shapley Value Sampling",
            "Castro, Gomez, Tejada 2009, Polynomial calculation of the Shapley value based on sampling, Computers & "
            "Operations Research 36",
            stochastic=True,
            complete=True,
        )

    def plan(self, case: Case, x: Tensor) -> Plan:
        k_max = int(case.counts.max())

        def points() -> Iterator[Tensor]:
            yield x
            yield coalition(case, x, torch.zeros(len(x), k_max, dtype=torch.bool, device=x.device))
            for place in self._places(case, x.device):
                for size in range(1, k_max):
                    yield coalition(case, x, place < size)

        def gains(answers: Iterator[Answer]) -> Tensor:
            full, empty = next(answers).value, next(answers).value
            total = full.new_zeros(len(x), k_max)
            for place in self._places(case, x.device):
                before = empty
                for size in range(1, k_max + 1):
                    value = next(answers).value if size < k_max else full
                    # Where all features are present already, rounding is no gain.
                    value = torch.where(case.counts.to(x.device) <= size, full, value)
                    total += (value - before)[:, None] * (place == size - 1)
                    before = value
            return to_elements(case, (total / self.n_samples).to(value_dtype(x)), x)

        return Plan(points(), 2 + self.n_samples * (k_max - 1), Want.VALUE, gains)

    def _places(self, case: Case, device: torch.device) -> Iterator[Tensor]:
        """When each feature joins, (n, K) from 0, one per permutation; features that a sample lacks never do."""
        counts = case.counts.tolist()
        samples = [self._permutations(case, row, k) for row, k in enumerate(counts)]
        for _ in range(self.n_samples):
            places = np.full((len(counts), max(counts)), max(counts))
            for row, k in enumerate(counts):
                places[row, :k] = next(samples[row])
            yield torch.from_numpy(places).to(device)

    def _permutations(self, case: Case, row: int, k: int) -> Iterator[np.ndarray]:
        """When each of a sample's k features joins, (k,), permutation after permutation without end."""
        for block in count():
            width = max(1, min(k - 1, self.n_samples))
            for place in _ranks(case.draws.generator(row, "permutation", block).standard_normal((width, k))):
                yield place
                if self.antithetic:
                    yield k - 1 - place


def _ranks(normal: np.ndarray) -> np.ndarray:
    """The ranks of the coordinates of random directions (width, k), made orthogonal; small, as many are kept."""
    # Orthogonal to (1, ..., 1), where no coordinate is favoured, and to each other.
    directions, r = np.linalg.qr((normal - normal.mean(1, keepdims=True)).T)
    directions *= np.sign(np.diag(r))  # QR chooses signs by the first coordinate; these are Gram-Schmidt's
    return directions.T.argsort(1).argsort(1).astype(np.int32)
