"""Every algorithm on models where its map can be written down, or against a slow loop straight from its definition."""

from itertools import combinations, pairwise
from math import ceil, comb, factorial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models_for_tests import Quadratic, mlp, numbers
from xbench import algorithms as a
from xbench import attribute
from xbench.algorithms.parts.coalitions import draw_coalitions
from xbench.algorithms.parts.quadrature import quadrature
from xbench.core.draws import Draws
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

N, D = 4, 5
RULES = ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"]


class Linear(nn.Module):
    """f(x) = w . x + 3, for samples of any shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.w = nn.Parameter(numbers(*shape, seed=5))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.w).flatten(1).sum(1) + 3


class Power(nn.Module):
    """f(x) = sum of x^power."""

    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        return x.pow(self.power).sum(1)


def exactly(one: Tensor, other: Tensor, tolerance: float = 1e-11) -> None:
    torch.testing.assert_close(one, other.detach(), rtol=tolerance, atol=tolerance)


def samples() -> tuple[Tensor, Tensor]:
    return numbers(N, D), numbers(N, D, seed=2)


# Quadrature and path integrals


@pytest.mark.parametrize("n_steps", [2, 3, 50, 500])
@pytest.mark.parametrize("method", RULES)
def test_weights_sum_to_one(method, n_steps):
    nodes, weights = quadrature(method, n_steps)
    assert len(nodes) == len(weights) == n_steps
    assert sum(weights) == pytest.approx(1, abs=1e-12)
    assert sorted(nodes) == nodes


@pytest.mark.parametrize("n_steps", [1, 2, 5, 20])
def test_gauss_legendre_is_numpys(n_steps):
    nodes, weights = np.polynomial.legendre.leggauss(n_steps)
    assert np.allclose(quadrature("gausslegendre", n_steps), [(nodes + 1) / 2, weights / 2], rtol=0, atol=1e-14)


def test_gauss_legendre_of_many_nodes_integrates_a_high_power():
    nodes, weights = quadrature("gausslegendre", 5000)
    assert np.dot(weights, np.power(nodes, 999)) == pytest.approx(1 / 1000, rel=1e-10)


@pytest.mark.parametrize(
    ("method", "places"),
    [
        ("riemann_left", [0, 0.25, 0.5, 0.75]),
        ("riemann_middle", [0.125, 0.375, 0.625, 0.875]),
        ("riemann_right", [0.25, 0.5, 0.75, 1]),
    ],
)
def test_riemann_nodes(method, places):
    assert quadrature(method, 4) == (places, [0.25] * 4)


def test_trapezoid_nodes_and_weights():
    nodes, weights = quadrature("riemann_trapezoid", 5)
    assert nodes == [0, 0.25, 0.5, 0.75, 1]
    assert weights == [0.125, 0.25, 0.25, 0.25, 0.125]


@pytest.mark.parametrize(
    ("method", "n_steps", "message"),
    [
        ("simpson", 5, "method: expected one of gausslegendre, riemann_left, .* got 'simpson'"),
        ("gausslegendre", 0, "n_steps: expected at least 1 for gausslegendre, got 0"),
        ("riemann_trapezoid", 1, "n_steps: expected at least 2 for riemann_trapezoid, got 1"),
    ],
)
def test_impossible_rules_are_refused(method, n_steps, message):
    with pytest.raises(ValueError, match=message):
        a.IntegratedGradients(n_steps, method)


@pytest.mark.parametrize("n_steps", [1, 2, 5])
@pytest.mark.parametrize("multiply", [True, False])
def test_integrated_gradients_of_a_quadratic_take_the_gradient_in_the_middle(n_steps, multiply):
    model, (x, x0) = Quadratic(D), samples()
    maps = attribute(model, x, a.IntegratedGradients(n_steps, multiply_by_inputs=multiply), baselines=x0)
    middle = model.gradient((x + x0) / 2)
    exactly(maps, middle * (x - x0) if multiply else middle)


@pytest.mark.parametrize("method", RULES)
def test_every_rule_on_a_quadratic_takes_the_gradient_at_its_mean_node(method):
    """The gradient is linear on the path: left and right are off by half a step, the others exact."""
    model, (x, x0), n = Quadratic(D), samples(), 8
    mean = {"riemann_left": 0.5 - 0.5 / n, "riemann_right": 0.5 + 0.5 / n}.get(method, 0.5)
    maps = attribute(model, x, a.IntegratedGradients(n, method), baselines=x0)
    exactly(maps, model.gradient(x0 + mean * (x - x0)) * (x - x0))


def test_gauss_legendre_is_exact_up_to_its_degree():
    """n nodes integrate a gradient of degree 2n - 1, and no more."""
    (x, x0), three = samples(), a.IntegratedGradients(3)
    exactly(attribute(Power(6), x, three, baselines=x0), x**6 - x0**6)
    maps = attribute(Power(8), x, three, baselines=x0)
    assert not torch.allclose(maps, x**8 - x0**8, rtol=1e-3)
    exactly(attribute(Power(8), x, a.IntegratedGradients(4), baselines=x0), x**8 - x0**8)


# Linear models: all agree


METHODS = [
    a.IntegratedGradients(3),
    a.IntegratedGradients(3, "riemann_trapezoid"),
    a.DeepLift(),
    a.FeatureAblation(),
    a.KernelShap(2**D),
    a.Occlusion((1,)),
    a.GradientShap(3),
    a.NoiseTunnel(a.IntegratedGradients(2), "smoothgrad", 3, 0.0),
]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_linear_model_is_shared_by_its_weights(method):
    model, (x, _), x0 = Linear(D), samples(), numbers(1, D, seed=7)
    exactly(attribute(model, x, method, baselines=x0), model.w * (x - x0), 1e-9)


@pytest.mark.parametrize("absolute", [True, False])
def test_saliency_and_input_x_gradient_of_a_quadratic(absolute):
    model, (x, _) = Quadratic(D), samples()
    gradient = model.gradient(x)
    exactly(attribute(model, x, a.Saliency(absolute)), gradient.abs() if absolute else gradient)
    exactly(attribute(model, x, a.InputXGradient()), gradient * x)


def test_deeplift_of_one_activation_is_the_difference_quotient():
    class Bump(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x).sum(1) + torch.tanh(x).sum(1)

    x, x0 = samples()
    x[0, 0] = x0[0, 0] = 0.5  # no difference: nothing to share, the multiplier is the gradient
    difference = (torch.relu(x) - torch.relu(x0)) + (torch.tanh(x) - torch.tanh(x0))
    exactly(attribute(Bump(), x, a.DeepLift(), baselines=x0), difference)
    multipliers = attribute(Bump(), x, a.DeepLift(multiply_by_inputs=False), baselines=x0)
    exactly(multipliers[:, 1:], (difference / (x - x0))[:, 1:])
    assert float(multipliers[0, 0]) == pytest.approx(2 - float(torch.tanh(x[0, 0])) ** 2)


# Perturbations


def test_feature_ablation_gives_each_element_its_features_loss():
    model, (x, x0) = Quadratic(6), (numbers(N, 6), numbers(N, 6, seed=2))
    groups = torch.tensor([[4, 4, 0, 7, -1, 4]])
    maps = attribute(model, x, a.FeatureAblation(), baselines=x0, features=groups)
    for group in (0, 4, 7):
        inside = groups[0] == group
        loss = model(x) - model(torch.where(inside, x0, x))
        exactly(maps[:, inside], loss[:, None].expand(-1, int(inside.sum())))
    assert torch.equal(maps[:, 4], torch.zeros(N, dtype=torch.float64))


def slow_occlusion(model: nn.Module, x: Tensor, x0: Tensor, window: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Every window on an image (n, H, W), the last of a row cut at the border."""
    height, width = x.shape[1:]
    total, cover = torch.zeros_like(x), torch.zeros_like(x)
    for i in range(ceil((height - window[0]) / stride[0]) + 1):
        for j in range(ceil((width - window[1]) / stride[1]) + 1):
            place = np.s_[:, i * stride[0] : i * stride[0] + window[0], j * stride[1] : j * stride[1] + window[1]]
            occluded = x.clone()
            occluded[place] = x0[place]
            total[place] += (model(x) - model(occluded))[:, None, None]
            cover[place] += 1
    assert cover.min() >= 1
    return total / cover


class Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp(35, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.flatten(1)).squeeze(1)


@pytest.mark.parametrize(
    ("window", "stride"),
    [((2, 3), (1, 1)), ((2, 3), (2, 3)), ((3, 3), (2, 2)), ((4, 2), (3, 2)), ((5, 7), (1, 1)), ((1, 1), (1, 1))],
)
def test_occlusion_against_a_loop_over_windows(window, stride):
    model, x, x0 = Image(), numbers(N, 5, 7), numbers(N, 5, 7, seed=2)
    maps = attribute(model, x, a.Occlusion(window, stride), baselines=x0)
    exactly(maps, slow_occlusion(model, x, x0, window, stride))


def test_occlusion_completes_windows_and_strides():
    model, x = Image(), numbers(N, 5, 7)
    zeros = torch.zeros_like(x)
    exactly(attribute(model, x, a.Occlusion((2,))), slow_occlusion(model, x, zeros, (2, 7), (1, 1)))
    exactly(attribute(model, x, a.Occlusion((2,), 2)), slow_occlusion(model, x, zeros, (2, 7), (2, 1)))
    exactly(attribute(model, x, a.Occlusion((2, 2), 2)), slow_occlusion(model, x, zeros, (2, 2), (2, 2)))
    exactly(attribute(model, x, a.Occlusion()), slow_occlusion(model, x, zeros, (1, 7), (1, 1)))
    exactly(attribute(model, x, a.Occlusion(((2, 3),), ((2, 1),))), slow_occlusion(model, x, zeros, (2, 3), (2, 1)))


def test_occlusion_of_an_image_takes_a_quarter_of_its_sides():
    model, x = Linear(3, 8, 12), numbers(2, 3, 8, 12)
    chosen = attribute(model, x, a.Occlusion())
    assert torch.equal(chosen, attribute(model, x, a.Occlusion((3, 2, 3), (3, 1, 1))))
    chosen = attribute(model, x, a.Occlusion(strides=2))
    assert torch.equal(chosen, attribute(model, x, a.Occlusion((3, 2, 3), (3, 2, 2))))


@pytest.mark.parametrize(
    ("window", "strides", "message"),
    [
        ((6, 1), None, r"window \(6, 1\) is larger than the samples \(5, 7\)"),
        ((2, 2), (3, 1), r"strides: \(3, 1\) is larger than the window \(2, 2\), elements would be skipped"),
        ((1, 1, 1), None, r"\(1, 1, 1\) has more dimensions than the samples \(5, 7\)"),
        (((1, 1), (1, 1)), None, "expected one window for each of 1 input tensors"),
        ((2, 2), (1, 1, 1), "strides: .* has more dimensions"),
    ],
)
def test_windows_that_do_not_fit(window, strides, message):
    with pytest.raises(ValueError, match=message):
        attribute(Image(), numbers(N, 5, 7), a.Occlusion(window, strides))


@pytest.mark.parametrize(("window", "strides"), [((0, 2), None), ((2, 2), 0), ((), None), ((2, -1), None)])
def test_windows_without_size_are_refused(window, strides):
    with pytest.raises(ValueError, match="expected positive sizes"):
        a.Occlusion(window, strides)


def test_windows_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match="expected integers, got 1.5"):
        a.Occlusion((1.5, 2))  # type: ignore[arg-type]


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


class Game(nn.Module):
    """Not additive, not symmetric."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.inner = mlp(d, 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.inner(2 * x).squeeze(1) + x.prod(1)) * 3


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
    n, rounded = 3000, count + count % 2 if paired else count
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


# Noise


def noise(purpose: str, draw: int, like: Tensor, seed: int = 0) -> Tensor:
    return Draws(seed, tuple(map(str, range(len(like))))).normal(purpose, draw, like)


@pytest.mark.parametrize("inner", [a.Saliency(abs=False), a.IntegratedGradients(3), a.FeatureAblation()], ids=str)
@pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
def test_noise_tunnel_against_a_loop_over_copies(nt_type, inner):
    model, (x, x0), count = Game(D), samples(), 7
    maps = attribute(model, x, a.NoiseTunnel(inner, nt_type, count, 0.3), baselines=x0)
    copies = torch.stack([attribute(model, x + 0.3 * noise("tunnel", k, x), inner, baselines=x0) for k in range(count)])
    wanted = {
        "smoothgrad": copies.mean(0),
        "smoothgrad_sq": copies.square().mean(0),
        "vargrad": copies.var(0, unbiased=False),
    }
    exactly(maps, wanted[nt_type])


def test_relative_noise_is_a_share_of_each_samples_range():
    """Over the elements that belong to a feature, tensor by tensor."""
    x = torch.tensor([[0.0, 1.0, 3.0, 99.0], [-1.0, 0.0, 0.5, 99.0]], dtype=torch.float64)
    y = torch.tensor([[5.0, 7.0], [0.0, 0.0]], dtype=torch.float64)

    class Cubes(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a.pow(3).sum(1) + b.pow(3).sum(1)

    tunnel = a.NoiseTunnel(a.Saliency(abs=False), "smoothgrad", 3, (0.1, 0.2), relative=True)
    features = torch.tensor([[0, 1, 2, -1]]), torch.tensor([[3, 4]])
    maps = torch.cat(attribute(Cubes(), (x, y), tunnel, features=features), 1)
    joint = torch.cat([x, y], 1)
    spans = torch.tensor([[3.0] * 4 + [2.0] * 2, [1.5] * 4 + [0.0] * 2], dtype=torch.float64)
    stdev = spans * torch.tensor([0.1] * 4 + [0.2] * 2, dtype=torch.float64)
    copies = torch.stack([3 * (joint + stdev * noise("tunnel", k, joint)).square() for k in range(3)])
    exactly(maps, copies.mean(0))


def test_a_stochastic_algorithm_draws_anew_for_every_copy():
    """Without noise the copies differ by the inner draws alone."""
    model, (x, x0) = Quadratic(D), samples()
    tunnel = a.NoiseTunnel(a.GradientShap(1), "vargrad", 4, 0.0)
    assert attribute(model, x, tunnel, baselines=x0).min() > 0
    fixed = a.NoiseTunnel(a.IntegratedGradients(3), "vargrad", 4, 0.0)
    assert attribute(model, x, fixed, baselines=x0).max() < 1e-20


def test_tunnels_may_be_nested():
    model, (x, _) = Power(3), samples()
    inner = a.NoiseTunnel(a.Saliency(abs=False), "smoothgrad", 2, 0.1)
    explainer = Explainer(Request(model, x))
    maps = explainer.attribute(a.NoiseTunnel(inner, "smoothgrad", 3, 0.2))
    assert explainer.engine.counters.forward_rows == N * 6
    ids = tuple(map(str, range(N)))
    copies = [
        3 * (x + 0.2 * noise("tunnel", k, x) + 0.1 * Draws(0, ids, f"/copy{k}").normal("tunnel", j, x)).square()
        for k in range(3)
        for j in range(2)
    ]
    exactly(maps, torch.stack(copies).mean(0))


@pytest.mark.parametrize("rows", [None, 1])
def test_random_baselines_of_a_tunnel_depend_on_the_sample_alone(rows):
    model, (x, _), baselines = Quadratic(D), samples(), numbers(3, D, seed=8)
    tunnel = a.NoiseTunnel(a.GradientShap(2), "smoothgrad", 3, 0.1, draw_baseline_from_distrib=True)
    together = attribute(model, x, tunnel, baselines=baselines, rows=rows)
    alone = attribute(model, x[:1], tunnel, baselines=baselines)
    exactly(alone, together[:1])
    assert not torch.allclose(together, attribute(model, x, tunnel, baselines=baselines[:1]), rtol=1e-2)


@pytest.mark.parametrize("inner", [a.GradientShap(2), a.IntegratedGradients(2)], ids=str)
def test_a_tunnel_refuses_to_draw_from_baselines_that_are_the_samples_own(inner):
    """In a run every sample has one baseline: there is no distribution to draw from, least of all the batch."""
    model, (x, x0) = Quadratic(D), samples()
    tunnel = a.NoiseTunnel(inner, "smoothgrad", 3, 0.1, draw_baseline_from_distrib=True)
    with pytest.raises(ValueError, match="there is no distribution to draw"):
        Explainer(Request(model, x, baselines=x0, own_baselines=True)).attribute(tunnel)


@pytest.mark.parametrize("multiply", [True, False])
def test_gradient_shap_against_a_loop_over_draws(multiply):
    model, (x, _), baselines, count = Power(3), samples(), numbers(3, D, seed=8), 5
    maps = attribute(model, x, a.GradientShap(count, 0.2, multiply), baselines=baselines, seed=4)
    draws = Draws(4, tuple(map(str, range(N))))
    one, total = torch.empty(N, 1, dtype=torch.float64), torch.zeros_like(x)
    for k in range(count):
        noisy = x + 0.2 * draws.normal("noise", k, x)
        b = baselines[[int(u * 3) for u in draws.uniform("baseline", k, one)]]
        gradient = 3 * (b + draws.uniform("path", k, one) * (noisy - b)).square()
        total += gradient * (noisy - b) if multiply else gradient
    exactly(maps, total / count)


def test_gradient_shap_converges_to_integrated_gradients():
    model, n = Power(3), 400
    x, x0 = numbers(1, D).expand(n, D), numbers(1, D, seed=2)
    maps = attribute(model, x, a.GradientShap(20), baselines=x0)
    error = maps.std(0) / n**0.5
    assert ((maps.mean(0) - (x[0] ** 3 - x0[0] ** 3)).abs() / error).max() < 4.5


# Controls, densities, parameters


def test_controls():
    x, features = numbers(N, D), torch.tensor([[0, 1, -1, 2, -1]])
    model = Quadratic(D)
    inside = (features >= 0).double()
    assert torch.equal(attribute(model, x, a.Constant(2.5), features=features), 2.5 * inside.expand(N, D))
    random = attribute(model, x, a.Random(), features=features, seed=9)
    assert torch.equal(random, noise("random map", 0, x, seed=9) * inside)


@pytest.mark.parametrize("method", [a.FeatureAblation(), a.KernelShap(16)], ids=str)
def test_the_density_of_a_map_adds_up_to_its_features(method):
    model, x = Game(7), numbers(N, 7)
    groups = torch.tensor([[3, 0, 0, -1, 1, 2, 3]])
    explainer = Explainer(Request(model, x, features=groups))
    maps = explainer.attribute(method)
    density = method.density(explainer.case(distribution=False), maps)
    exactly(density[:, 1] + density[:, 2], maps[:, 1])
    exactly(density[:, 0] + density[:, 6], maps[:, 0])
    exactly(density[:, 4:6], maps[:, 4:6])
    if isinstance(method, a.KernelShap):
        outside = torch.where(groups < 0, x, 0.0)
        exactly(density.sum(1), model(x) - model(outside), 1e-10)


def test_the_density_of_an_occlusion_is_per_element_of_the_window():
    model, x = Linear(D), numbers(N, D)
    method = a.Occlusion((D,))
    explainer = Explainer(Request(model, x))
    density = method.density(explainer.case(distribution=False), explainer.attribute(method))
    exactly(density.sum(1), model(x) - 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: a.GradientShap(0), "n_samples: expected at least 1, got 0"),
        (lambda: a.GradientShap(2, -0.1), "stdevs: expected at least 0.0, got -0.1"),
        (lambda: a.GradientShap(2, (0.1, float("nan"))), "stdevs: expected at least 0.0, got nan"),
        (lambda: a.KernelShap(2), "n_samples: expected at least 3, got 2"),
        (lambda: a.NoiseTunnel(a.Saliency(), "mean"), "nt_type: expected one of smoothgrad, .* got 'mean'"),
        (lambda: a.NoiseTunnel(a.Saliency(), nt_samples=0), "nt_samples: expected at least 1, got 0"),
        (lambda: a.NoiseTunnel(a.Saliency(), stdevs=-1.0), "stdevs: expected at least 0.0, got -1.0"),
        (lambda: a.DeepLift(eps=-1.0), "eps must be >= 0, got -1.0"),
        (lambda: a.DeepLift(unknown="ignore"), "unknown must be 'raise' or 'warn', got 'ignore'"),
    ],
)
def test_impossible_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_tunnel_needs_an_algorithm():
    with pytest.raises(TypeError, match="algorithm: expected an algorithm to smooth, got str"):
        a.NoiseTunnel("saliency")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [a.GradientShap(2, (0.1, 0.2)), a.NoiseTunnel(a.Saliency(), stdevs=(0.1, 0.2))])
def test_one_stdev_per_input(method):
    with pytest.raises(ValueError, match=r"expected one value per input tensor \(1\), got 2"):
        attribute(Quadratic(D), numbers(N, D), method)
