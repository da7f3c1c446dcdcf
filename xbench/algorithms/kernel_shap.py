"""Kernel SHAP: Shapley values by a weighted regression on random coalitions of features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import comb

import numpy as np
import torch
from torch import Tensor

from xbench.algorithms.base import Facts, at_least
from xbench.algorithms.parts.masking import OnFeatures, coalition, to_elements, value_dtype
from xbench.case import Case
from xbench.plan import Answer, Plan, Want


@dataclass(frozen=True)
class KernelShap(OnFeatures):
    """Minimises sum_z w(z) (f(h(z)) - f(x0) - z.phi)^2 subject to sum(phi) = f(x) - f(x0).

    z are coalitions of features, h(z) the sample with the absent features at their baseline, w the Shapley kernel
    (K - 1) / (C(K, |z|) |z| (K - |z|)). Coalitions are drawn with probability proportional to w, or all used when
    they fit into `n_samples`, which makes the result exact. Every element of a feature carries the feature's value.
    Source: Lundberg, Lee 2017, "A Unified Approach to Interpreting Model Predictions" (arXiv 1705.07874); pairs of
    complements: Covert, Lee 2021 (arXiv 2012.01536). Captum puts a weight of 1e6 on the two ends instead of the
    constraint, and draws no pairs.

    Args:
        n_samples: evaluations per sample, the empty and the full coalition included.
        paired: draw each coalition together with its complement (lower variance).
        return_input_shape: False gives one value per feature, (n, K), instead of a map in the shape of the input.
    """

    n_samples: int = 25
    paired: bool = True
    return_input_shape: bool = True

    def __post_init__(self) -> None:
        at_least("n_samples", self.n_samples, 3)

    @property
    def facts(self) -> Facts:
        return Facts(
            "Kernel SHAP",
            "Lundberg, Lee 2017, A Unified Approach to Interpreting Model Predictions, arXiv 1705.07874",
            stochastic=True,
            per_feature=not self.return_input_shape,
        )

    def plan(self, case: Case, x: Tensor) -> Plan:
        counts = case.counts.tolist()
        k_max = max(counts)
        drawn = [self._coalitions(case, row, k) for row, k in enumerate(counts)]
        n_drawn = max(len(z) for z, _ in drawn)
        z = torch.zeros(len(x), n_drawn, k_max, dtype=torch.bool)
        weights = torch.zeros(len(x), n_drawn, dtype=torch.float64)
        for row, (present, weight) in enumerate(drawn):
            z[row, : len(present), : present.shape[1]] = torch.from_numpy(present)
            weights[row, : len(weight)] = torch.from_numpy(weight)
        z, weights = z.to(x.device), weights.to(x.device)

        def points() -> Iterator[Tensor]:
            yield x
            yield coalition(case, x, z.new_zeros(len(x), k_max))
            for s in range(n_drawn):
                yield coalition(case, x, z[:, s])

        def fit(answers: Iterator[Answer]) -> Tensor:
            full, empty = next(answers).value.double(), next(answers).value.double()
            values = torch.stack([a.value.double() for a in answers], 1) if n_drawn else weights
            phi = _solve(z.double(), weights, values - empty[:, None], full - empty, case.counts.to(x.device))
            phi = phi.to(value_dtype(x))
            return to_elements(case, phi, x) if self.return_input_shape else phi

        return Plan(points(), n_drawn + 2, Want.VALUE, fit)

    def _coalitions(self, case: Case, row: int, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Coalitions (S, k) of one sample and their weights, the two ends excluded."""
        if k < 2:
            return np.zeros((0, k), dtype=bool), np.zeros(0)
        sizes = np.arange(1, k)
        kernel = (k - 1) / (sizes * (k - sizes))  # of all coalitions of a size together
        if k < 63 and 2**k <= self.n_samples:
            every = np.array(list(product([False, True], repeat=k)))[1:-1]
            return every, np.array([kernel[m - 1] / comb(k, m) for m in every.sum(1)])
        rng = case.draws.generator(row, "coalitions")
        n_draws = self.n_samples - 2
        half = -(-n_draws // 2) if self.paired else n_draws
        size = rng.choice(sizes, half, p=kernel / kernel.sum())
        rank = rng.random((half, k)).argsort(1).argsort(1)
        present = rank < size[:, None]
        if self.paired:
            present = np.stack([present, ~present], 1).reshape(2 * half, k)[:n_draws]
        return present, np.ones(n_draws)


def _solve(z: Tensor, weights: Tensor, y: Tensor, total: Tensor, counts: Tensor) -> Tensor:
    """Batched constrained least squares, (n, K). Features beyond a sample's count get 0.

    With phi = total / K + u, the constraint is sum(u) = 0: centre each coalition's row, then take the solution of
    least norm, which treats features alike where the coalitions do not tell them apart.
    """
    k_max = z.shape[2]
    real = (torch.arange(k_max, device=z.device) < counts[:, None]).to(z.dtype)
    share = real * (total / counts.clamp(min=1))[:, None]
    rest = y - (z * share[:, None]).sum(2)
    centred = (z - z.sum(2, keepdim=True) / counts.clamp(min=1)[:, None, None]) * real[:, None]
    weighted = centred * weights[:, :, None]
    normal = weighted.transpose(1, 2) @ centred
    right = (weighted * rest[:, :, None]).sum(1)
    # Eigenvalues that should be 0 come out up to K * 1e-16 of the largest, true ones above 1e-11 of it: torch's own
    # cut lies at the edge of the first kind, and one that slips through spoils the result.
    inverse = torch.linalg.pinv(normal, rtol=1e-13, hermitian=True)
    return share + (inverse @ right[:, :, None]).squeeze(2)
