"""IDGI, against a loop over its steps."""

import pytest
import torch

from tests.algorithms.paths import (
    TARGET,
    D,
    N,
    chosen,
    exactly,
    gradient,
    halves,
    samples,
)
from tests.models_for_tests import numbers
from xbench import algorithms as a
from xbench import attribute

pytestmark = pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning")


# IDGI


def test_idgi_of_functions_along_one_direction_pays_by_the_squared_weights():
    """f = g(w . x): every gradient lies along w."""
    w, (x, x0) = numbers(D, seed=5), samples()
    shares = w.square() / w.square().sum()
    for g in (lambda z: 2 * z, torch.square, torch.sigmoid, torch.exp):
        maps = attribute(lambda z, g=g: g(z @ w), x, a.IDGI(5), baselines=x0)
        exactly(maps, shares * (g(x @ w) - g(x0 @ w))[:, None])


@pytest.mark.parametrize("n", [1, 5])
def test_idgi_pays_for_steps_from_points_without_slope(n):
    """A square has no slope at 0, where the path starts; a ReLU has none on one half of the path."""
    w, x = numbers(D, seed=5), numbers(N, D)
    shares = w.square() / w.square().sum()
    f = lambda z: (z @ w).square()  # noqa: E731
    exactly(attribute(f, x, a.IDGI(n)), shares * f(x)[:, None])
    flat = attribute(lambda z: (z @ w).relu(), x, a.IDGI(n), baselines=-x)
    exactly(flat, shares * ((x @ w).relu() - (-x @ w).relu())[:, None])
    assert attribute(lambda z: (z @ w).sign(), x, a.IDGI(n), baselines=-x).abs().max() == 0  # no slope anywhere


@pytest.mark.parametrize("n", [1, 6])
def test_idgi_against_a_loop_over_the_steps(n):
    (model, _, _), (x, x0) = halves(), samples()
    f = lambda z: chosen(model(z))  # noqa: E731
    total = torch.zeros_like(x)
    for j in range(n):
        here, there = (x0 + i / n * (x - x0) for i in (j, j + 1))
        slope = gradient(f, here)
        for row in range(N):
            gain = (f(there) - f(here))[row].detach()
            total[row] += gain * slope[row] * slope[row] / (slope[row] @ slope[row])
    exactly(attribute(model, x, a.IDGI(n), target=TARGET, baselines=x0), total)


def test_idgi_of_tiny_slopes_keeps_their_ratio():
    """The squares of these are 0 in float32."""
    w = numbers(D, seed=5).float() * 1e-25
    x = numbers(N, D).float()
    maps = attribute(lambda z: z @ w, x, a.IDGI(3)).double()
    shares = w.double().square() / w.double().square().sum()
    torch.testing.assert_close(maps * 1e25, shares * (x.double() @ w.double())[:, None] * 1e25, rtol=1e-4, atol=1e-6)
