"""Kernel SHAP: Shapley values by a weighted regression on random coalitions of features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xbench.algorithms.base import Facts, at_least
from xbench.algorithms.parts.coalitions import draw_determining
from xbench.algorithms.parts.on_features import OnFeatures, warn_undetermined
from xbench.core.case import Case
from xbench.core.masking import coalition, to_elements, value_dtype
from xbench.core.plan import Answer, Plan, Want


@dataclass(frozen=True)
class KernelShap(OnFeatures):
    """Minimises sum_z w(z) (f(h(z)) - f(x0) - z.phi)^2 subject to sum(phi) = f(x) - f(x0).

    z are coalitions of features, h(z) the sample with the absent features at their baseline. No coalition is drawn
    twice: each is drawn with probability p(z) = min(1, c / C(K, |z|)), where c makes the p add up to the number of
    draws, and weighs w(z) = kernel(z) / p(z), where the Shapley kernel is (K - 1) / (C(K, |z|) |z| (K - |z|)). All are
    used when they fit into `n_samples`, which makes the result exact. Every element of a feature carries its value.

    Pairs of complements cancel all terms of even order (interactions of two features, for one). Where f is odd about
    the middle of x and x0, as a linear model is and an output that saturates nearly is, the second of a pair tells
    nothing new: a pair is one equation. Where pairs do not determine the K values but as many single coalitions do
    (n_samples from K + 1 to about 2 K), coalitions are drawn one by one: exact on every linear model. So few amplify
    what interactions add, up to beyond the values themselves near K + 1; 3 K evaluations or more serve any model
    better. Below K + 1 the values are not determined: those of least norm are taken, with a warning, and their sum
    alone is right. With 25 evaluations for 10 features `paired=False` does better on outputs that saturate, see
    experiments/estimators_vs_captum.md.

    Sources: Lundberg, Lee 2017, "A Unified Approach to Interpreting Model Predictions" (arXiv 1705.07874); pairs:
    Covert, Lee 2021, "Improving KernelSHAP: Practical Shapley Value Estimation via Linear Regression" (arXiv
    2012.01536); p: Musco, Witter 2025, "Provably Accurate Shapley Value Estimation via Leverage Score Sampling" (arXiv
    2410.01917). Captum draws independently, with probability proportional to the kernel and no pairs, and puts a weight
    of 1e6 on the two ends instead of the constraint.

    Args:
        n_samples: evaluations per sample, the empty and the full coalition included; 2^K where these are fewer.
        paired: draw each coalition together with its complement (lower variance of most models), where the pairs
            determine the values.
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
            complete=self.return_input_shape,
            per_feature=not self.return_input_shape,
            version=3,
        )

    def plan(self, case: Case, x: Tensor) -> Plan:
        warn_undetermined(self.facts.label, self.n_samples, case)
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
        count = min(self.n_samples, 2**k) - 2
        return draw_determining(case.draws.generator(row, "coalitions"), k, count, self.paired)


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
