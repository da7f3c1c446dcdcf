"""Shapley values by sampling permutations: features join one by one, and each gets its marginal contribution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice, tee

import numpy as np
import torch
from torch import Tensor

from xbench.algorithms.base import Facts, at_least
from xbench.algorithms.parts.on_features import OnFeatures
from xbench.core.case import Case
from xbench.core.masking import coalition, to_elements, value_dtype
from xbench.core.plan import Answer, Plan, Want


@dataclass(frozen=True)
class ShapleyValueSampling(OnFeatures):
    """phi_k = mean over permutations of f(features before k, and k) - f(features before k).

    Every element of a feature carries the feature's value; the values sum to f(x) - f(x0) exactly.
    Rows per sample: 2 + n_samples (K - 1), K the largest number of features of a sample in flight.
    Permutations are the ranks of the coordinates of random directions, drawn in sets of K - 1 orthogonal directions:
    each permutation is equally likely, and the permutations of a set differ more than independent ones.
    Sources: Castro, Gomez, Tejada 2009, "Polynomial calculation of the Shapley value based on sampling"; Strumbelj,
    Kononenko 2010, "An Efficient Explanation of Individual Classifications using Game Theory"; antithetic pairs and
    orthogonal directions: Mitchell, Cooper, Frank, Holmes 2022, "Sampling Permutations for Shapley Value Estimation"
    (arXiv 2104.12199). Captum draws independent permutations, one for all samples of a batch.

    Args:
        n_samples: number of permutations per sample.
        antithetic: every second permutation reverses the one before it (lower variance).
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
        joining, joined = tee(self._places(case, x.device))

        def points() -> Iterator[Tensor]:
            yield x
            yield coalition(case, x, torch.zeros(len(x), k_max, dtype=torch.bool, device=x.device))
            for place in joining:
                for size in range(1, k_max):
                    yield coalition(case, x, place < size)

        def gains(answers: Iterator[Answer]) -> Tensor:
            full, empty = next(answers).value, next(answers).value
            total = full.new_zeros(len(x), k_max)
            # If all features are already present, a difference is rounding, not a contribution.
            whole = torch.arange(k_max + 1, device=x.device) >= case.counts.to(x.device)[:, None]
            for place in joined:
                between = [answer.value for answer in islice(answers, k_max - 1)]
                values = torch.where(whole, full[:, None], torch.stack([empty, *between, full], 1))
                total += values.diff(dim=1).gather(1, place.long().clamp(max=k_max - 1))  # the last adds nothing
            return to_elements(case, (total / self.n_samples).to(value_dtype(x)), x)

        return Plan(points(), 2 + self.n_samples * (k_max - 1), Want.VALUE, gains)

    def _places(self, case: Case, device: torch.device) -> Iterator[Tensor]:
        """The place of each feature in each permutation, (n, K) from 0; features that a sample lacks never join."""
        counts = case.counts.cpu().numpy()
        alike = [(np.flatnonzero(counts == k), self._permutations(case, counts == k, int(k))) for k in set(counts)]
        for _ in range(self.n_samples):
            places = np.full((len(counts), max(counts)), max(counts), dtype=np.int32)
            for rows, permutations in alike:
                places[rows, : counts[rows[0]]] = next(permutations)
            yield torch.from_numpy(places).to(device)

    def _permutations(self, case: Case, chosen: np.ndarray, k: int) -> Iterator[np.ndarray]:
        """The places of k features, (m, k), in the m chosen samples, for an endless sequence of permutations."""
        width = max(1, min(k - 1, self.n_samples))
        for block in count():
            streams = case.draws.of_samples("permutation", block)
            normal = [g.standard_normal((width, k)) for g, one in zip(streams, chosen, strict=True) if one]
            for place in _ranks(np.stack(normal)):
                yield place
                if self.antithetic:
                    yield k - 1 - place


def _ranks(normal: np.ndarray) -> np.ndarray:
    """The ranks of the coordinates of orthogonalised random directions (m, width, k): (width, m, k), small integers."""
    # Orthogonal to (1, ..., 1), which favours no coordinate, and to each other.
    directions, r = np.linalg.qr((normal - normal.mean(2, keepdims=True)).swapaxes(1, 2))
    directions *= np.sign(np.einsum("mii->mi", r))[:, None]  # with Gram-Schmidt's signs, not QR's
    return directions.transpose(2, 0, 1).argsort(2).argsort(2).astype(np.int32)
