"""LIME, against the fit of its neighbours."""

from math import exp

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso, LinearRegression, Ridge
from torch import Tensor

from tests.algorithms.games import (
    COUNTS,
    FEATURES,
    NUMBERED,
    Coalitions,
    D,
    Game,
    N,
    draws,
    exactly,
    mapped,
    samples,
)
from tests.models_for_tests import numbers
from xbench import algorithms as a
from xbench import attribute

# LIME


def neighbours(value: Coalitions, row: int, method: a.Lime, x: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Presences (S, K), outputs (S,) and weights (S,) of one sample."""
    z, y, w = [], [], []
    for draw in range(method.n_samples):
        present = draws().generator(row, "lime", draw).random(value.k) < 0.5
        members = np.flatnonzero(present).tolist()
        point = value.point(members)
        if method.similarity == "cosine":
            distance = 1 - float(point @ x[row] / (point.norm() * x[row].norm()))
        else:
            distance = float((point - x[row]).norm())
        z.append(present.astype(float))
        y.append(value(members))
        w.append(exp(-(distance**2) / (2 * method.kernel_width**2)))
    return np.stack(z), np.array(y), np.array(w)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    ("kind", "fitted"),
    [("lasso", Lasso(0.1, tol=1e-12)), ("ridge", Ridge(0.1)), ("linear", LinearRegression())],
    ids=["lasso", "ridge", "linear"],
)
def test_lime_is_the_fit_of_its_neighbours(kind, fitted, similarity):
    model, (x, x0) = Game(D), samples()
    method = a.Lime(40, kind, 0.1, similarity, 0.7)

    def slowly(value: Coalitions, row: int) -> np.ndarray:
        z, y, w = neighbours(value, row, method, x)
        return fitted.fit(z, y, sample_weight=w).coef_

    maps = attribute(model, x, method, baselines=x0, features=FEATURES)
    exactly(maps, mapped(slowly, model, x, x0, NUMBERED), 1e-6 if kind == "lasso" else 1e-10)


@pytest.mark.parametrize("kind", ["lasso", "ridge", "linear"])
def test_lime_minimises_its_errors_and_its_penalty(kind):
    """At the minimum the derivative of the errors in each coefficient is that of the penalty, negative."""
    model, (x, x0), alpha = Game(D), samples(1), 0.2
    method = a.Lime(60, kind, alpha, return_input_shape=False)
    c = attribute(model, x, method, baselines=x0)[0].numpy()
    z, y, w = neighbours(Coalitions(model, x[0], x0[0], torch.arange(D)), 0, method, x)
    intercept = np.average(y - z @ c, weights=w)
    slope = (w * (y - intercept - z @ c)) @ z  # minus half the derivative of the weighted sum of squared errors
    if kind == "lasso":
        kept = c != 0
        assert 0 < kept.sum() < D
        assert slope[kept] / w.sum() == pytest.approx(alpha * np.sign(c[kept]), abs=1e-6)
        assert np.abs(slope[~kept] / w.sum()).max() < alpha
    else:
        assert slope == pytest.approx(alpha * c if kind == "ridge" else np.zeros(D), abs=1e-10)


def test_lime_with_functions_of_the_user():
    """One feature present at a time, weighed by the sample's first element, summed up."""
    model, (x, x0), seen = Game(D), samples(), []

    def similarity(x: Tensor, point: Tensor, present: Tensor) -> Tensor:
        seen.append((x, point, present))
        return x[:, 0].abs() + present.sum(1)

    method = a.Lime(
        20, lambda z, y, w: (w * y) @ z, similarity=similarity, perturb_func=lambda rng, k: rng.permutation(k) == 0
    )
    maps = attribute(model, x, method, baselines=x0, features=FEATURES)

    def slowly(value: Coalitions, row: int) -> np.ndarray:
        total = np.zeros(value.k)
        for draw in range(20):
            chosen = int(draws().generator(row, "lime", draw).permutation(value.k).argmin())
            total[chosen] += (float(x[row, 0].abs()) + 1) * value([chosen])
        return total

    exactly(maps, mapped(slowly, model, x, x0, NUMBERED))
    assert len(seen) == 20
    for of, point, present in seen:
        assert torch.equal(of, x)
        assert torch.equal(present.sum(1), torch.ones(N, dtype=torch.int64))
        inside = present.gather(1, NUMBERED.clamp(min=0)) | (NUMBERED < 0)
        assert torch.equal(point, torch.where(inside, x, x0))


@pytest.mark.parametrize("rows", [None, 1])
def test_lime_gives_one_value_per_feature_on_request(rows):
    model, (x, x0) = Game(D), samples()
    maps = attribute(model, x, a.Lime(40, "ridge"), baselines=x0, features=FEATURES)
    method = a.Lime(40, "ridge", return_input_shape=False)
    values = attribute(model, x, method, baselines=x0, features=FEATURES, rows=rows)
    assert values.shape == (N, max(COUNTS))
    spread = values.gather(1, NUMBERED.clamp(min=0)).masked_fill(NUMBERED < 0, 0)
    exactly(spread, maps)
    for row, k in enumerate(COUNTS):
        assert torch.equal(values[row, k:], torch.zeros(D - k, dtype=torch.float64))


@pytest.mark.parametrize(("baseline", "similarity", "total"), [(torch.inf, "cosine", "nan"), (1e6, "euclidean", "0.0")])
def test_lime_without_weights_says_so(baseline, similarity, total):
    model, x = Game(D), numbers(N, D)
    method = a.Lime(25, similarity=similarity, perturb_func=lambda _, k: np.arange(k) > 0)
    with pytest.raises(ValueError, match=f"similarity: expected weights with a positive sum, got {total} for sample 0"):
        attribute(lambda x: model(x.clamp(-9, 9)), x, method, baselines=baseline)
