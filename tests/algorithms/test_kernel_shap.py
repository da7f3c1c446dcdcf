"""Kernel SHAP: exact where it can be, else the least squares of its coalitions, which are drawn fairly."""

from itertools import combinations, pairwise
from math import comb, factorial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.formulas import Game, N, exactly
from tests.models_for_tests import Quadratic, numbers
from xbench import algorithms as a
from xbench import attribute
from xbench.algorithms.parts.coalitions import draw_coalitions
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

# Shapley values


def shapley(model: nn.Module, x: Tensor, x0: Tensor, groups: Tensor) -> Tensor:
    """Shapley values of the groups, (n, K), by the definition: a sum over all coalitions."""
    k = int(groups.max()) + 1

    def value(coalition: tuple[int, ...]) -> Tensor:
        present = torch.isin(groups, torch.tensor(coalition, dtype=torch.int64)) | (groups < 0)
        return model(torch.where(present, x, x0)).detach()

    phi = torch.zeros(len(x), k, dtype=x.dtype)
    for i in range(k):
        others = [j for j in range(k) if j != i]
        for size in range(k):
            weight = factorial(size) * factorial(k - size - 1) / factorial(k)
            for coalition in combinations(others, size):
                phi[:, i] += weight * (value((*coalition, i)) - value(coalition))
    return phi


@pytest.mark.parametrize("k", [1, 2, 3, 4, 6])
def test_kernel_shap_of_few_features_is_exact(k):
    model, x, x0 = Game(k), numbers(N, k), numbers(N, k, seed=2)
    maps = attribute(model, x, a.KernelShap(max(2**k, 3)), baselines=x0)
    exactly(maps, shapley(model, x, x0, torch.arange(k)), 1e-10)


def test_kernel_shap_of_groups_is_exact():
    model, x, x0 = Game(7), numbers(N, 7), numbers(1, 7, seed=2)
    groups = torch.tensor([3, 0, 0, -1, 1, 2, 3])
    maps = attribute(model, x, a.KernelShap(16), baselines=x0, features=groups.unsqueeze(0))
    phi = shapley(model, x, x0, groups)
    exactly(maps, torch.where(groups >= 0, phi[:, groups.clamp(min=0)], 0.0), 1e-10)


def test_kernel_shap_of_samples_with_different_numbers_of_features():
    """Exact for the samples with few features, beside one that is sampled."""
    model, x, x0 = Game(7), numbers(3, 7), numbers(1, 7, seed=2)
    groups = torch.tensor([[0, 1, 2, -1, -1, -1, -1], [0, 1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0, -1]])
    maps = attribute(model, x, a.KernelShap(20), baselines=x0, features=groups)
    for row in (0, 2):
        phi = shapley(model, x[[row]], x0, groups[row])
        exactly(maps[[row]], torch.where(groups[row] >= 0, phi[:, groups[row].clamp(min=0)], 0.0), 1e-10)
    whole = model(x[[1]]) - model(x0)
    exactly(maps[1].sum(), whole[0], 1e-10)


def drawn_with(k: int, count: int) -> np.ndarray:
    """Probabilities with which the coalitions of the sizes 1..k-1 are drawn, (k-1,): min(1, c / C(k, size))."""
    numbers = np.array([float(comb(k, size)) for size in range(1, k)])
    low, high = 0.0, float(numbers.max())
    for _ in range(200):
        c = (low + high) / 2
        low, high = (c, high) if np.minimum(numbers, c).sum() < count else (low, c)
    return np.minimum(1, high / numbers)


def weights_of(z: np.ndarray, count: int) -> np.ndarray:
    """The Shapley kernel of the coalitions z (S, K) over their probabilities."""
    k = z.shape[1]
    weights = (k - 1) / np.array([comb(k, size) * size * (k - size) for size in range(1, k)]) / drawn_with(k, count)
    return weights[z.sum(1).astype(int) - 1]


def slow_fit(z: np.ndarray, weights: np.ndarray, values: np.ndarray, empty: float, full: float) -> np.ndarray:
    """Weighted least squares on the coalitions z (S, K) under sum(phi) = full - empty, by its Lagrange equations."""
    k = z.shape[1]
    system = np.zeros((k + 1, k + 1))
    weighted = 2 * z.T * weights
    system[:k, :k], system[:k, k], system[k, :k] = weighted @ z, 1, 1
    right = np.append(weighted @ (values - empty), full - empty)
    return np.linalg.solve(system, right)[:k]


@pytest.mark.parametrize("paired", [True, False])
def test_kernel_shap_is_the_constrained_least_squares_of_its_coalitions(paired):
    k, method = 10, a.KernelShap(60, paired)
    model, x, x0 = Game(k), numbers(2, k), numbers(2, k, seed=2)
    maps = attribute(model, x, method, baselines=x0, seed=3)
    explainer = Explainer(Request(model, x, baselines=x0, seed=3))
    points = list(method.plan(explainer.case(distribution=False), explainer.x).points)
    assert torch.equal(points[0], x)
    assert torch.equal(points[1], x0)
    assert len(points) == 60
    for row in range(2):
        z = np.stack([(p[row] == x[row]).double().numpy() for p in points[2:]])
        values = torch.stack([model(p)[row] for p in points]).detach().numpy()
        phi = slow_fit(z, weights_of(z, 58), values[2:], values[1], values[0])
        exactly(maps[row], torch.from_numpy(phi), 1e-9)
        if paired:
            assert np.array_equal(z[0::2] + z[1::2], np.ones((29, k)))


def numbered(z: np.ndarray) -> np.ndarray:
    """Coalitions as numbers, one bit for each feature."""
    return z @ (1 << np.arange(z.shape[1]))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(
    ("k", "count"),
    [(1, 0), (2, 1), (2, 2), (3, 5), (6, 1), (6, 23), (6, 61), (6, 62), (7, 100), (7, 126), (30, 23), (30, 2000)],
)
def test_no_coalition_is_drawn_twice(k, count, paired):
    for seed in range(20):
        z, weights = draw_coalitions(np.random.default_rng(seed), k, count, paired)
        assert z.shape == (count, k)
        assert weights.shape == (count,)
        found = set(numbered(z).tolist())
        assert len(found) == count
        assert not found & {0, 2**k - 1}
        if paired:
            alone = [number for number in found if 2**k - 1 - number not in found]
            assert len(alone) == count % 2


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("k", "count"), [(5, 3), (6, 20), (6, 21), (6, 50), (7, 60)])
def test_coalitions_are_drawn_with_the_probabilities_that_their_weights_undo(k, count, paired):
    """Frequencies over many draws; in pairs an odd number is that of one more, one of which is left out."""
    n, rounded = 1000, count + count % 2 if paired else count
    probability = drawn_with(k, rounded) * count / rounded
    found = np.zeros(2**k)
    for seed in range(n):
        z, weights = draw_coalitions(np.random.default_rng(seed), k, count, paired)
        found[numbered(z)] += 1
        assert np.allclose(weights, weights_of(z, rounded) * rounded / count, rtol=1e-12, atol=0)
    sizes = np.array([number.bit_count() for number in range(1, 2**k - 1)])
    p, found = probability[sizes - 1], found[1:-1]
    assert p.sum() == pytest.approx(count)
    certain = p > 1 - 1e-12
    assert (found[certain] == n).all()
    p, found = p[~certain], found[~certain]
    assert (abs(found - n * p) / np.sqrt(n * p * (1 - p))).max() < 4.5


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("k", "count"), [(6, 20), (6, 50), (9, 22), (30, 24)])
def test_the_coalitions_of_a_size_are_as_many_as_expected(k, count, paired):
    """Up to rounding, which is to whole pairs among those of half the features."""
    sizes = np.arange(1, k)
    expected = drawn_with(k, count) * [comb(k, size) for size in sizes.tolist()]
    step = np.where(paired & (2 * sizes == k), 2, 1)
    for seed in range(100):
        z, _ = draw_coalitions(np.random.default_rng(seed), k, count, paired)
        found = np.bincount(z.sum(1), minlength=k)[1:k]
        assert (abs(found - expected) < step - 1e-9).all()


@pytest.mark.parametrize(("k", "count", "paired"), [(3000, 98, True), (3001, 98, True), (2000, 41, False)])
def test_coalitions_of_thousands_of_features(k, count, paired):
    """C(3000, 1500) has 902 digits; every size has more coalitions than draws, so all have the same share of these."""
    z, weights = draw_coalitions(np.random.default_rng(0), k, count, paired)
    m = z.sum(1)
    assert len(np.unique(m)) > count / 3
    assert np.allclose(weights, (k - 1) / (m * (k - m)) * (k - 1) / count, rtol=1e-12, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
def test_the_error_of_kernel_shap_falls_until_it_is_exact(paired):
    """Half of all coalitions leave less than half the error of a quarter: distinct draws gain more than others."""
    k, n = 8, 60
    model, x, x0 = Game(k), numbers(1, k).expand(n, k), numbers(1, k, seed=2)
    exact = shapley(model, x[:1], x0, torch.arange(k))
    errors = [
        float((attribute(model, x, a.KernelShap(n_samples, paired), baselines=x0) - exact).square().mean())
        for n_samples in (32, 64, 128, 192, 254, 256)
    ]
    assert all(later < earlier for earlier, later in pairwise(errors))
    assert errors[2] < errors[1] / 2
    assert errors[4] > 1e-12
    assert errors[5] < 1e-24


@pytest.mark.slow
def test_kernel_shap_is_right_on_average():
    k, n = 8, 400
    model, x, x0 = Game(k), numbers(1, k).expand(n, k), numbers(1, k, seed=2)
    exact = shapley(model, x[:1], x0, torch.arange(k))[0]
    for paired in (True, False):
        maps = attribute(model, x, a.KernelShap(60, paired), baselines=x0)
        error = maps.std(0) / n**0.5
        assert error.max() > 1e-4
        assert ((maps.mean(0) - exact).abs() / error).max() < 4.5


def test_pairs_of_complements_are_exact_on_a_quadratic():
    """Terms of second order are even under taking the complement, so pairs cancel their error."""
    k = 12
    model, x, x0 = Quadratic(k), numbers(N, k), numbers(N, k, seed=2)
    exact = model.gradient((x + x0) / 2) * (x - x0)  # half of every product to each of its factors
    exactly(attribute(model, x, a.KernelShap(80, paired=True), baselines=x0), exact, 1e-9)
    unpaired = attribute(model, x, a.KernelShap(80, paired=False), baselines=x0)
    assert not torch.allclose(unpaired, exact, rtol=1e-2)
