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
    twice: each is drawn with probability p(z) = min(1, c / C(K, |z|)), where c makes the p sum to the number of draws,
    and has weight w(z) = kernel(z) / p(z), where the Shapley kernel is (K - 1) / (C(K, |z|) |z| (K - |z|)). If all
    coalitions fit into `n_samples`, all are used and the result is exact. Every element of a feature carries its value.

    Pairs of complements cancel all terms of even order (such as interactions of two features). If f is odd about the
    midpoint of x and x0, as a linear model is and a saturating output nearly is, the second coalition of a pair adds no
    information: a pair is one equation. If pairs do not determine the K values but the same number of single coalitions
    does (n_samples from K + 1 to about 2 K), coalitions are drawn one by one, which is exact on every linear model. So
    few coalitions amplify the effect of interactions, near K + 1 beyond the values themselves; 3 K evaluations or more
    are better for any model. Below K + 1 the values are undetermined: the solution of least norm is returned, with a
    warning, and only its sum is right. With 25 evaluations for 10 features `paired=False` is better on saturating
    outputs, see experiments/estimators_vs_captum.md.

    Sources: Lundberg, Lee 2017, "A Unified Approach to Interpreting Model Predictions" (arXiv 1705.07874); pairs:
    Covert, Lee 2021, "Improving KernelSHAP: Practical Shapley Value Estimation via Linear Regression" (arXiv
    2012.01536); p: Musco, Witter 2025, "Provably Accurate Shapley Value Estimation via Leverage Score Sampling" (arXiv
    2410.01917). Captum draws independently, with probability proportional to the kernel and no pairs, and puts a weight
    of 1e6 on the two ends instead of the constraint.

    Args:
        n_samples: evaluations per sample, including the empty and the full coalition; at most 2^K.
        paired: draw each coalition together with its complement (lower variance on most models), if the pairs determine
            the values.
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
    least norm, which gives equal values to features that the coalitions do not distinguish.
    """
    k_max = z.shape[2]
    real = (torch.arange(k_max, device=z.device) < counts[:, None]).to(z.dtype)
    share = real * (total / counts.clamp(min=1))[:, None]
    rest = y - (z * share[:, None]).sum(2)
    centred = (z - z.sum(2, keepdim=True) / counts.clamp(min=1)[:, None, None]) * real[:, None]
    weighted = centred * weights[:, :, None]
    normal = weighted.transpose(1, 2) @ centred
    right = (weighted * rest[:, :, None]).sum(1)
    # Zero eigenvalues are computed as up to K * 1e-16 of the largest, true ones as above 1e-11 of it. torch's own
    # cutoff lies at the edge of the first range, and a single missed zero spoils the result.
    inverse = torch.linalg.pinv(normal, rtol=1e-13, hermitian=True)
    values: Tensor = share + (inverse @ right[:, :, None]).squeeze(2)
    return values
