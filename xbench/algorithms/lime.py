"""LIME: a sparse linear model fitted to the outputs of perturbed samples, weighted by similarity."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from xbench.algorithms.base import Facts, at_least
from xbench.algorithms.parts.on_features import OnFeatures, warn_undetermined
from xbench.algorithms.parts.surrogates import Distance, Fit, Similarity, Surrogate, fitted, similarity
from xbench.core.case import Case
from xbench.core.masking import coalition, numbers, to_elements, value_dtype
from xbench.core.plan import Answer, Plan, Want

Sampler = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Lime(OnFeatures):
    """Coefficients of a linear model on presence of features: argmin_c sum_z w(z) (f(h(z)) - c0 - c.z)^2 + penalty.

    z are random subsets of the features, h(z) the sample with the absent features at their baseline, w(z) the
    similarity of h(z) to the sample. Every element of a feature carries its coefficient. Rows per sample: n_samples.
    Source: Ribeiro, Singh, Guestrin 2016, "Why Should I Trust You?" (arXiv 1602.04938).

    Args:
        n_samples: number of subsets per sample.
        interpretable_model: `lasso`, `ridge` or `linear`, or a function of (S, K) presences, (S,) outputs and (S,)
            weights that returns the K coefficients.
        alpha: strength of the penalty of the first two: `lasso` minimises half the weighted mean of the squared errors
            plus alpha |c|_1, `ridge` their weighted sum plus alpha |c|_2^2, as in scikit-learn. `linear` (and `lasso`
            with alpha 0) needs more subsets than features; with fewer it returns the solution of least norm and warns.
        similarity: `cosine` or `euclidean`, the distance d in w = exp(-d^2 / (2 kernel_width^2)) between the
            perturbed sample and the sample, both flattened; or a function of the sample (n, d), the perturbed sample
            (n, d) and the presences (n, K) that returns (n,) weights.
        kernel_width: width of the kernel, see `similarity`.
        perturb_func: draws the presences of K features, a function of a NumPy generator and K; None: each with
            probability 1/2.
        return_input_shape: False gives one value per feature, (n, K), instead of a map in the shape of the input.
    """

    n_samples: int = 25
    interpretable_model: Surrogate | Fit = "lasso"
    alpha: float = 0.01
    similarity: Distance | Similarity = "cosine"
    kernel_width: float = 1.0
    perturb_func: Sampler | None = None
    return_input_shape: bool = True

    def __post_init__(self) -> None:
        at_least("n_samples", self.n_samples, 1)
        at_least("alpha", self.alpha, 0)
        if not self.kernel_width > 0:
            raise ValueError(f"kernel_width: expected a positive number, got {self.kernel_width}")
        if not callable(self.interpretable_model) and self.interpretable_model not in get_args(Surrogate):
            known = ", ".join(get_args(Surrogate))
            raise ValueError(f"interpretable_model: expected {known}, got {self.interpretable_model!r}")
        if not callable(self.similarity) and self.similarity not in get_args(Distance):
            raise ValueError(f"similarity: expected {' or '.join(get_args(Distance))}, got {self.similarity!r}")

    @property
    def facts(self) -> Facts:
        return Facts("LIME", "Ribeiro, Singh, Guestrin 2016, Why Should I Trust You?: Explaining the Predictions of "
                     "Any Classifier, arXiv 1602.04938",
                     stochastic=True, per_feature=not self.return_input_shape)  # fmt: skip

    def plan(self, case: Case, x: Tensor) -> Plan:
        if self.interpretable_model == "linear" or (self.interpretable_model == "lasso" and not self.alpha):
            warn_undetermined(self.facts.label, self.n_samples, case)
        counts = case.counts.tolist()
        weights: deque[Tensor] = deque()

        perturb = self.perturb_func or _halves

        def presences(draw: int) -> Tensor:
            present = np.zeros((len(counts), max(counts)), dtype=bool)
            for row, k, generator in zip(present, counts, case.draws.of_samples("lime", draw), strict=True):
                row[:k] = perturb(generator, k)
            return torch.from_numpy(present).to(x.device)

        def points() -> Iterator[Tensor]:
            for draw in range(self.n_samples):
                present = presences(draw)
                point = coalition(case, x, present)
                weights.append(
                    similarity(self.similarity, self.kernel_width, x, point, present).detach().double().cpu()
                )
                yield point

        def fit(answers: Iterator[Answer]) -> Tensor:
            values = numbers(torch.stack([a.value for a in answers], 1), self.facts.label).numpy()
            w = torch.stack(list(weights), 1).numpy()
            phi = np.zeros((len(counts), max(counts)))
            for row, k in enumerate(counts):
                if not 0 < w[row].sum() < np.inf:
                    raise ValueError(
                        f"similarity: expected weights with a positive sum, got {w[row].sum()} for sample "
                        f"{case.draws.ids[row]}; a larger `kernel_width` or finite baselines may help"
                    )
                drawn = case.draws.of_draws(row, "lime", self.n_samples)  # redrawn to save memory
                z = np.array([perturb(generator, k) for generator in drawn], dtype=bool).astype(float)
                phi[row, :k] = fitted(self.interpretable_model, self.alpha, z, values[row], w[row])
            found = torch.from_numpy(phi).to(x.device, value_dtype(x))
            return to_elements(case, found, x) if self.return_input_shape else found

        return Plan(points(), self.n_samples, Want.VALUE, fit)


def _halves(generator: np.random.Generator, k: int) -> np.ndarray:
    return generator.random(k) < 0.5
