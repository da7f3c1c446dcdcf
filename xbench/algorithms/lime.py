"""LIME: a sparse linear model fitted to the outputs of perturbed samples, nearby ones first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sklearn.linear_model import Lasso, LinearRegression, Ridge
from torch import Tensor

from xbench.algorithms.base import Facts, at_least
from xbench.algorithms.parts.masking import OnFeatures, coalition, to_elements, value_dtype
from xbench.case import Case
from xbench.plan import Answer, Plan, Want

Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Similarity = Callable[[Tensor, Tensor, Tensor], Tensor]
Draw = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Lime(OnFeatures):
    """Coefficients of a linear model on presence of features: argmin_c sum_z w(z) (f(h(z)) - c0 - c.z)^2 + penalty.

    z are random subsets of the features, h(z) the sample with the absent ones at their baseline, w(z) how similar
    h(z) is to the sample. Every element of a feature carries its coefficient. Rows per sample: n_samples.
    Source: Ribeiro, Singh, Guestrin 2016, "Why Should I Trust You?" (arXiv 1602.04938).

    Args:
        n_samples: subsets per sample.
        interpretable_model: `lasso`, `ridge` or `linear`, or a function of (S, K) presences, (S,) outputs and (S,)
            weights that gives the K coefficients.
        alpha: strength of the penalty of the first two (scikit-learn's, over the mean of the weighted errors).
        similarity: `cosine` or `euclidean`, the distance d in w = exp(-d^2 / (2 kernel_width^2)) between the
            perturbed sample and the sample, both flattened; or a function of the sample (n, d), the perturbed one
            (n, d) and the presences (n, K) that gives (n,) weights.
        kernel_width: see `similarity`.
        perturb_func: draws the presences of K features, a function of a NumPy generator and K; None: each with
            probability 1/2.
        return_input_shape: False gives one value per feature, (n, K), instead of a map in the shape of the input.
    """

    n_samples: int = 25
    interpretable_model: Literal["lasso", "ridge", "linear"] | Fit = "lasso"
    alpha: float = 0.01
    similarity: Literal["cosine", "euclidean"] | Similarity = "cosine"
    kernel_width: float = 1.0
    perturb_func: Draw | None = None
    return_input_shape: bool = True

    def __post_init__(self) -> None:
        at_least("n_samples", self.n_samples, 1)
        at_least("alpha", self.alpha, 0)
        if not self.kernel_width > 0:
            raise ValueError(f"kernel_width: expected a positive number, got {self.kernel_width}")
        if not callable(self.interpretable_model) and self.interpretable_model not in _MODELS:
            raise ValueError(f"interpretable_model: expected {', '.join(_MODELS)}, got {self.interpretable_model!r}")
        if not callable(self.similarity) and self.similarity not in ("cosine", "euclidean"):
            raise ValueError(f"similarity: expected cosine or euclidean, got {self.similarity!r}")

    @property
    def facts(self) -> Facts:
        return Facts("LIME", "Ribeiro, Singh, Guestrin 2016, Why Should I Trust You?, arXiv 1602.04938",
                     stochastic=True, per_feature=not self.return_input_shape)  # fmt: skip

    def plan(self, case: Case, x: Tensor) -> Plan:
        counts = case.counts.tolist()
        weights: deque[Tensor] = deque()

        def presences(draw: int) -> Tensor:
            present = np.zeros((len(counts), max(counts)), dtype=bool)
            for row, k in enumerate(counts):
                generator = case.draws.generator(row, "lime", draw)
                half = generator.random(k) < 0.5
                present[row, :k] = half if self.perturb_func is None else self.perturb_func(generator, k)
            return torch.from_numpy(present).to(x.device)

        def points() -> Iterator[Tensor]:
            for draw in range(self.n_samples):
                present = presences(draw)
                point = coalition(case, x, present)
                weights.append(self._similarity(x, point, present).double().cpu())
                yield point

        def fit(answers: Iterator[Answer]) -> Tensor:
            values = torch.stack([a.value.double() for a in answers], 1).cpu().numpy()
            z = torch.stack([presences(draw) for draw in range(self.n_samples)], 1).double().cpu().numpy()
            w = torch.stack(list(weights), 1).numpy()
            phi = np.zeros((len(counts), max(counts)))
            for row, k in enumerate(counts):
                phi[row, :k] = self._fit(z[row, :, :k], values[row], w[row])
            found = torch.from_numpy(phi).to(x.device, value_dtype(x))
            return to_elements(case, found, x) if self.return_input_shape else found

        return Plan(points(), self.n_samples, Want.VALUE, fit)

    def _similarity(self, x: Tensor, point: Tensor, present: Tensor) -> Tensor:
        if callable(self.similarity):
            return self.similarity(x, point, present)
        a, b = x.double(), point.double()
        cosine = self.similarity == "cosine"
        distance = 1 - torch.cosine_similarity(a, b, dim=1) if cosine else torch.linalg.vector_norm(a - b, dim=1)
        return torch.exp(-distance.square() / (2 * self.kernel_width**2))

    def _fit(self, z: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if callable(self.interpretable_model):
            return np.asarray(self.interpretable_model(z, y, weights))
        model = _MODELS[self.interpretable_model](self.alpha)
        return np.asarray(model.fit(z, y, sample_weight=weights).coef_)


_MODELS: dict[str, Callable[[float], Lasso | Ridge | LinearRegression]] = {
    "lasso": lambda alpha: Lasso(alpha=alpha, max_iter=10_000, random_state=0),
    "ridge": lambda alpha: Ridge(alpha=alpha),
    "linear": lambda alpha: LinearRegression(),
}
