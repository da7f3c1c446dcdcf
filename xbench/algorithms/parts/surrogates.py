"""Simple models fitted around a sample: the weights of perturbed samples, and the fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from sklearn.linear_model import Lasso, LinearRegression, Ridge

Surrogate = Literal["lasso", "ridge", "linear"]
Distance = Literal["cosine", "euclidean"]
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Similarity = Callable[[Tensor, Tensor, Tensor], Tensor]


def similarity(how: Distance | Similarity, width: float, x: Tensor, point: Tensor, present: Tensor) -> Tensor:
    """Weights (n,) of perturbed samples (n, d) that keep the `present` (n, K) features; see `Lime`."""
    if callable(how):
        return how(x.clone(), point.clone(), present.clone())  # clones, because the function may write into them
    a, b = x.double(), point.double()
    distance = 1 - torch.cosine_similarity(a, b, dim=1) if how == "cosine" else torch.linalg.vector_norm(a - b, dim=1)
    return torch.exp(-distance.square() / (2 * width**2))


def fitted(model: Surrogate | Fit, alpha: float, z: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Coefficients (K,) of the regression of y (S,) on z (S, K)."""
    if callable(model):
        return np.asarray(model(z, y, weights))
    from sklearn import config_context  # imported here, because it takes most of a second

    with config_context(assume_finite=True, skip_parameter_validation=True):  # the checks take longer than the fit
        return np.asarray(_regression(model, alpha).fit(z, y, sample_weight=weights).coef_)


def _regression(model: Surrogate, alpha: float) -> Lasso | Ridge | LinearRegression:
    from sklearn.linear_model import Lasso, LinearRegression, Ridge

    if model == "ridge":
        return Ridge(alpha=alpha)
    if model == "linear" or not alpha:
        return LinearRegression()
    # The tolerance makes the map independent of rounding in the outputs. The seed avoids NumPy's global state.
    return Lasso(alpha=alpha, max_iter=10_000, tol=1e-8, random_state=0)
