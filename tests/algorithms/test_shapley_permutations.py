"""The permutations of Shapley value sampling: random directions, orthogonal to each other, and their ranks."""

from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models_for_tests import mlp, numbers
from xbench import attribute
from xbench.algorithms import ShapleyValueSampling
from xbench.core.draws import Draws
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request


def places(method: ShapleyValueSampling, k: int, n: int = 1) -> Tensor:
    """When each of k features joins in every permutation of n samples, (n_samples, n, k), read from the points."""
    explainer = Explainer(Request(mlp(k, 1), torch.ones(n, k, dtype=torch.float64)))
    points = list(method.plan(explainer.case(distribution=False), explainer.x).points)[2:]
    absent = (torch.stack(points) == 0).reshape(method.n_samples, k - 1, n, k)
    return absent.sum(1)


def slow_orders(seed: int, sample: str, k: int, count: int, antithetic: bool) -> list[list[int]]:
    """Features in the order in which they join, by Gram and Schmidt (Mitchell et al. 2022, sections 4.2 and 4.3)."""
    orders: list[list[int]] = []
    block = 0
    while len(orders) < count:
        basis = [np.ones(k) / k**0.5]
        for vector in Draws(seed, (sample,)).generator(0, "permutation", block).standard_normal((k - 1, k)):
            for earlier in basis:
                vector = vector - (vector @ earlier) * earlier
            basis.append(vector / np.linalg.norm(vector))
            order = sorted(range(k), key=lambda feature, v=vector: v[feature])
            orders += [order, order[::-1]] if antithetic else [order]
        block += 1
    return orders[:count]


@pytest.mark.parametrize("count", [1, 4, 5, 23])
@pytest.mark.parametrize("antithetic", [True, False])
def test_values_are_the_mean_gains_along_orthogonal_permutations(antithetic, count):
    k, seed = 5, 3
    model, x, x0 = mlp(k, 6, 1), 2 * numbers(2, k), numbers(2, k, seed=2)
    maps = attribute(model, x, ShapleyValueSampling(count, antithetic), baselines=x0, seed=seed)
    for row in range(2):
        phi = torch.zeros(k, dtype=torch.float64)
        for order in slow_orders(seed, str(row), k, count, antithetic):
            path = [x0[row].clone()]
            for feature in order:
                path.append(path[-1].clone())
                path[-1][feature] = x[row, feature]
            for feature, (before, after) in zip(order, pairwise(path), strict=True):
                phi[feature] += (model(after) - model(before)).item() / count
        torch.testing.assert_close(maps[row], phi, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("antithetic", [True, False])
def test_every_permutation_is_as_likely_as_another(antithetic):
    """In each draw: the first, the last of a block of orthogonal directions, the first of the next block."""
    k, n = 4, 4800
    for found in places(ShapleyValueSampling(7, antithetic), k, n):
        counts = [int((found == torch.tensor(order)).all(1).sum()) for order in permutations(range(k))]
        assert sum(counts) == n
        assert sum((c - n / 24) ** 2 / (n / 24) for c in counts) < 53  # 23 degrees of freedom: 1 in 2600


def test_orthogonal_pairs_of_three_features_never_agree():
    """Each of the 6 orders is a sector of 60 degrees, and 2 orthogonal directions with their opposites lie 90 apart."""
    found = places(ShapleyValueSampling(4), 3, n=200)
    assert all(len(orders.unique(dim=0)) == 4 for orders in found.transpose(0, 1))
