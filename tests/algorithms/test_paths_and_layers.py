"""Paths and layers: activations, conductance, internal influence, Guided IG, Blur IG, IDGI, a stopping tolerance.

Each against a slow loop straight from its paper's definition, or where the map can be written down.
"""

from collections.abc import Callable
from math import inf

import captum.attr as c
import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from tests.models_for_tests import ConvNet, Quadratic, TextNet, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.algorithms.parts.quadrature import quadrature
from xbench.engine import NoGradientError
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

pytestmark = pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning")

N, D = 4, 6
TARGET = [0, 2, 1, 2]
RULES = ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"]
Function = Callable[[Tensor], Tensor]


def exactly(one: Tensor, other: Tensor, tolerance: float = 1e-11) -> None:
    torch.testing.assert_close(one, other.detach(), rtol=tolerance, atol=tolerance)


def samples(d: int = D) -> tuple[Tensor, Tensor]:
    return numbers(N, d), numbers(N, d, seed=2)


def chosen(output: Tensor) -> Tensor:
    return output[torch.arange(len(output)), torch.tensor(TARGET)]


def gradient(f: Function, x: Tensor) -> Tensor:
    """df/dx of every row."""
    leaf = x.detach().clone().requires_grad_()
    return torch.autograd.grad(f(leaf).sum(), leaf)[0]


def halves(n: int = 5) -> tuple[nn.Sequential, Function, Function]:
    """A network on D numbers, its part up to the hidden layer "1" of n units, and the explained output behind it."""
    model = mlp(D, n, 4, 3)
    return model, model[:2], lambda y: chosen(model[2:](y))


class Single(nn.Module):
    """A network with one output, (n,)."""

    def __init__(self, activation: type[nn.Module] = nn.Tanh, d: int = D) -> None:
        super().__init__()
        self.inner = mlp(d, 7, 1, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        return 3 * self.inner(x).squeeze(1)


# Activations


def by_hook(model: nn.Module, layer: str, target: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The values at the layer and the gradient there; a copy goes on, as an in-place function may follow."""
    seen: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        seen.append(output)
        return output.clone()

    handle = model.get_submodule(layer).register_forward_hook(hook)
    output = model(*inputs)
    handle.remove()
    return seen[0].detach(), torch.autograd.grad(output[torch.arange(len(target)), target].sum(), seen[0])[0]


@pytest.mark.parametrize("how", ["layer", "read"])
@pytest.mark.parametrize("layer", ["conv1", "norm", "conv2", "hidden", "embedding"])
def test_activations_are_what_a_hook_sees(layer, how):
    text = layer == "embedding"
    model = weights(TextNet() if text else ConvNet())
    inputs = torch.arange(N * 7).reshape(N, 7) % 20 if text else numbers(N, 1, 6, 6)
    extra = (torch.ones(N, 7, dtype=torch.float64),) if text else ()
    level, slope = by_hook(model, layer, torch.tensor(TARGET), inputs, *extra)
    asked = {"target": TARGET, "extra": extra, how: layer}
    exactly(attribute(model, inputs, a.Activation(), **asked), level)
    exactly(attribute(model, inputs, a.GradientXActivation(), **asked), level * slope)
    exactly(attribute(model, inputs, a.GradientXActivation(multiply_by_inputs=False), **asked), slope)


def test_activations_at_the_input_are_the_sample():
    model, (x, _) = Quadratic(D), samples()
    assert torch.equal(attribute(model, x, a.Activation()), x)
    exactly(attribute(model, x, a.GradientXActivation()), x * model.gradient(x))
    assert not a.GradientXActivation().facts.local
    assert a.GradientXActivation(multiply_by_inputs=False).facts.local


def test_an_activation_depends_on_neither_target_nor_neuron():
    model, (x, _) = mlp(D, 5, 3), samples()
    places = [{}, {"target": 0}, {"target": 2}, {"neuron": ("0", 1)}, {"target": 1, "output": "probability"}]
    maps = [attribute(model, x, a.Activation(), read="1", **asked) for asked in places]
    assert all(torch.equal(each, model[:2](x).detach()) for each in maps)


# Conductance


def flows(part: Function, rest: Function, x: Tensor, x0: Tensor, method: str, n: int) -> Tensor:
    """df/dy_k dy_k/dx_i (x_i - x0_i) integrated over the path for each unit k and input i, (N, units, D)."""
    total = torch.zeros(())
    for node, weight in zip(*quadrature(method, n), strict=True):
        point = (x0 + node * (x - x0)).requires_grad_()
        y = part(point)
        slope = gradient(rest, y)
        shares = [
            slope[:, k, None] * torch.autograd.grad(y[:, k].sum(), point, retain_graph=True)[0] * (x - x0)
            for k in range(y.shape[1])
        ]
        total = total + weight * torch.stack(shares, 1)
    return total


@pytest.mark.parametrize(("method", "order"), [("riemann_trapezoid", 4), ("riemann_left", 2), ("riemann_right", 2)])
def test_layer_conductance_converges_to_its_integral_and_to_its_sum(method, order):
    """The error falls to a quarter (a half) when the steps are halved."""
    (model, part, rest), (x, x0) = halves(), samples()
    integral = flows(part, rest, x, x0, "gausslegendre", 60).sum(2)
    difference = (rest(part(x)) - rest(part(x0))).detach()
    exactly(integral.sum(1), difference, 1e-9)
    maps = [
        attribute(model, x, a.Conductance(n, method), target=TARGET, baselines=x0, read="1") for n in (100, 200, 400)
    ]
    errors = [torch.linalg.vector_norm(m - integral, dim=1) for m in maps]
    sums = [torch.linalg.vector_norm(m.sum(1) - difference) for m in maps]
    for found in (errors, sums):
        torch.testing.assert_close(found[0] / found[1], torch.full_like(found[0], order), rtol=0.1, atol=0)
        torch.testing.assert_close(found[1] / found[2], torch.full_like(found[0], order), rtol=0.05, atol=0)


@pytest.mark.parametrize(
    ("method", "at"), [("riemann_trapezoid", (0.5, 0.5)), ("riemann_left", (1, 0)), ("riemann_right", (0, 1))]
)
@pytest.mark.parametrize("n", [1, 2, 7])
def test_layer_conductance_against_a_loop_over_the_pieces(method, at, n):
    (model, part, rest), (x, x0) = halves(), samples()
    total = torch.zeros(N, 5, dtype=torch.float64)
    for i in range(n):
        ends = [part(x0 + j / n * (x - x0)).detach() for j in (i, i + 1)]
        total += (at[0] * gradient(rest, ends[0]) + at[1] * gradient(rest, ends[1])) * (ends[1] - ends[0])
    exactly(attribute(model, x, a.Conductance(n, method), target=TARGET, baselines=x0, read="1"), total)


def test_conductance_counts_what_passes_the_layer_alone():
    """A shortcut around the layer belongs to nobody there."""

    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Linear(D, 5)
            self.around = nn.Linear(D, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.part(x).square().sum(1) + self.around(x).squeeze(1).exp()

    model, (x, x0) = weights(Shortcut()), samples()
    maps = attribute(model, x, a.Conductance(9), baselines=x0, read="part")
    exactly(maps, model.part(x).square() - model.part(x0).square())


@pytest.mark.parametrize(
    ("method", "rule"),
    [
        ("riemann_trapezoid", lambda n: ("riemann_trapezoid", n + 1)),
        ("riemann_left", lambda n: ("riemann_left", n)),
        ("riemann_right", lambda n: ("riemann_right", n)),
    ],
)
def test_neuron_conductance_against_a_loop_over_the_path(method, rule):
    (model, part, rest), (x, x0), n = halves(), samples(), 6
    wanted = flows(part, rest, x, x0, *rule(n))
    asked = {"target": TARGET, "baselines": x0}
    maps = [attribute(model, x, a.Conductance(n, method), neuron=("1", k), **asked) for k in range(5)]
    exactly(torch.stack(maps, 1), wanted)
    # All units together let all of it through.
    kind, nodes = rule(n)
    exactly(sum(maps), attribute(model, x, a.IntegratedGradients(nodes, kind), **asked))
    several = attribute(model, x, a.Conductance(n, method), neuron=("1", slice(1, 4)), **asked)
    exactly(several, wanted[:, 1:4].sum(1))


def test_neuron_and_layer_conductance_are_the_same_flow():
    """Summed over the inputs, what passes a unit is the unit's share."""
    (model, part, rest), (x, x0) = halves(), samples()
    asked = {"target": TARGET, "baselines": x0}
    layer = attribute(model, x, a.Conductance(2000), read="1", **asked)
    neurons = [attribute(model, x, a.Conductance(2000), neuron=("1", k), **asked).sum(1) for k in range(5)]
    exactly(torch.stack(neurons, 1), layer, 1e-5)
    exactly(layer, flows(part, rest, x, x0, "gausslegendre", 60).sum(2), 1e-5)


def test_conductance_of_a_neuron_before_the_place_where_points_enter_is_refused():
    model, _, _ = halves()
    with pytest.raises(NoGradientError, match="it comes earlier in the model"):
        attribute(model, numbers(N, D), a.Conductance(2), neuron=("0", 1), layer="2", target=1)


def test_conductance_of_a_neuron_that_the_output_does_not_use_is_zero():
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(D, 2), nn.Linear(D, 2)

        def forward(self, x: Tensor) -> Tensor:
            self.unused(x)
            return self.used(x)

    maps = attribute(weights(Unused()), numbers(N, D), a.Conductance(3), target=1, neuron=("unused", 0))
    assert torch.equal(maps, torch.zeros_like(maps))


@pytest.mark.parametrize("width", [5, D])  # D: the layer looks like the input
def test_conductance_explains_a_neuron_by_a_layer_before_it(width):
    (model, part, _), (x, x0) = halves(width), samples()
    maps = attribute(model, x, a.Conductance(7), target=TARGET, baselines=x0, read="1", neuron=("2", 3))
    weight = model[2].weight[3]  # the unit is linear in the layer
    exactly(maps, weight * (part(x) - part(x0)))


def test_conductance_where_points_enter_is_integrated_gradients():
    (model, _, _), (x, x0) = halves(), samples()
    for layer in (None, "1"):
        asked = {"target": TARGET, "baselines": x0, "layer": layer}
        wanted = attribute(model, x, a.IntegratedGradients(8, "riemann_trapezoid"), **asked)
        exactly(attribute(model, x, a.Conductance(7), **asked), wanted)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "hidden"])
def test_layer_conductance_is_captums(layer):
    """Captum takes neighbouring nodes of the rule, and the gradient at the first of the two."""
    model, x, x0 = weights(ConvNet()), numbers(N, 1, 6, 6), numbers(N, 1, 6, 6, seed=2)
    theirs = c.LayerConductance(model, model.get_submodule(layer)).attribute(
        x, x0, torch.tensor(TARGET), n_steps=7, method="riemann_trapezoid"
    )
    maps = attribute(model, x, a.Conductance(7, "riemann_left"), target=TARGET, baselines=x0, read=layer)
    exactly(maps, theirs, 1e-6)


@pytest.mark.parametrize("method", ["riemann_left", "riemann_right"])
@pytest.mark.parametrize(("layer", "index"), [("hidden", 2), ("conv2", (1, 2, 0))])
def test_neuron_conductance_is_captums(layer, index, method):
    model, x, x0 = weights(ConvNet()), numbers(N, 1, 6, 6), numbers(N, 1, 6, 6, seed=2)
    theirs = c.NeuronConductance(model, model.get_submodule(layer)).attribute(
        x, index, x0, torch.tensor(TARGET), n_steps=8, method=method
    )
    maps = attribute(model, x, a.Conductance(8, method), target=TARGET, baselines=x0, neuron=(layer, index))
    exactly(maps, theirs, 1e-6)


# Internal influence


@pytest.mark.parametrize("method", RULES)
def test_internal_influence_against_a_loop_over_the_path(method):
    (model, part, rest), (x, x0) = halves(), samples()
    nodes = zip(*quadrature(method, 6), strict=True)
    wanted = sum(weight * gradient(rest, part(x0 + node * (x - x0))) for node, weight in nodes)
    asked = {"target": TARGET, "baselines": x0}
    exactly(attribute(model, x, a.InternalInfluence(6, method), read="1", **asked), wanted)
    slopes = a.IntegratedGradients(6, method, multiply_by_inputs=False)
    exactly(attribute(model, x, a.InternalInfluence(6, method), **asked), attribute(model, x, slopes, **asked))


def test_internal_influence_is_captums():
    model, x, x0 = weights(ConvNet()), numbers(N, 1, 6, 6), numbers(N, 1, 6, 6, seed=2)
    theirs = c.InternalInfluence(model, model.conv2).attribute(x, x0, torch.tensor(TARGET), n_steps=6)
    exactly(attribute(model, x, a.InternalInfluence(6), target=TARGET, baselines=x0, read="conv2"), theirs, 1e-6)


# Guided IG


def slow_guided(f: Function, x: Tensor, x0: Tensor, n: int, fraction: float, max_dist: float) -> Tensor:
    """The authors' code (PAIR's saliency), for one sample (d,), feature by feature."""
    d, way = len(x), (x - x0).abs().tolist()
    moving = sum(w > 0 for w in way)
    gone, phi = [0.0] * d, torch.zeros_like(x)
    for step in range(1, n + 1):
        slope = gradient(f, (x0 + x.new_tensor(gone) * (x - x0))[None])[0]
        least, most = max(step / n - max_dist, 0.0), min(step / n + max_dist, 1.0)
        to_leave, before = sum(way) * (1 - step / n), list(gone)
        gone = [max(g, least) for g in gone]
        gamma = inf
        while gamma > 1:
            left = sum(w * (1 - g) for w, g in zip(way, gone, strict=True))
            if left - to_leave <= 1e-12 * sum(way):
                break
            ranks = [abs(float(s)) if w > 0 and g < most else inf for s, w, g in zip(slope, way, gone, strict=True)]
            limit = sorted(ranks)[int((moving - 1) * fraction)]
            subset = [i for i in range(d) if ranks[i] <= limit and ranks[i] < inf]
            gamma = (left - to_leave) / sum(way[i] * (most - gone[i]) for i in subset)
            for i in subset:
                gone[i] = most if gamma > 1 else gone[i] + gamma * (most - gone[i])
        phi += slope * (x - x0) * (x.new_tensor(gone) - x.new_tensor(before))
    return phi


@pytest.mark.slow
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])  # ReLU: slopes that are equal, many of them 0
@pytest.mark.parametrize("max_dist", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize(("n", "fraction"), [(1, 0.1), (4, 0.25), (11, 0.1), (11, 0.6), (5, 1.0)])
def test_guided_ig_against_a_loop_over_samples_and_features(activation, max_dist, n, fraction):
    model, (x, x0) = Single(activation, 11), samples(11)
    x[1, 2:5] = x0[1, 2:5]  # features without a way to go
    x[3] = x0[3]  # a sample without
    wanted = torch.stack([slow_guided(model, *row, n, fraction, max_dist) for row in zip(x, x0, strict=True)])
    exactly(attribute(model, x, a.GuidedIG(n, fraction, max_dist), baselines=x0), wanted, 1e-10)


@pytest.mark.parametrize("fraction", [0.1, 1.0])
def test_guided_ig_without_a_distance_is_integrated_gradients(fraction):
    model, (x, x0) = Single(), samples()
    wanted = attribute(model, x, a.IntegratedGradients(9, "riemann_left"), baselines=x0)
    exactly(attribute(model, x, a.GuidedIG(9, fraction, 0.0), baselines=x0), wanted)


def test_guided_ig_moves_the_flat_feature_first():
    """f = 2a + b + ab from (0, 0) to (1, 1) in two steps: b at slope 1, then a at slope 2 + 1."""
    maps = attribute(lambda x: 2 * x[:, 0] + x[:, 1] + x.prod(1), torch.ones(1, 2).double(), a.GuidedIG(2, 0.1, 1.0))
    exactly(maps, torch.tensor([[3.0, 1.0]]).double())


@pytest.mark.slow
@pytest.mark.parametrize("max_dist", [0.02, 1.0])
def test_guided_ig_sums_to_the_difference_up_to_an_error_of_the_order_of_a_step(max_dist):
    model, (x, x0) = Single(), samples()
    difference = (model(x) - model(x0)).detach()
    errors = [
        (attribute(model, x, a.GuidedIG(n, 0.1, max_dist), baselines=x0).sum(1) - difference).abs().max() * n
        for n in (20, 80, 320)
    ]
    assert 0.5 < errors[1] / errors[0] < 2
    assert 0.5 < errors[2] / errors[1] < 2
    assert errors[2] / 320 < 0.05 * difference.abs().min()


# Blur IG


def cosines(images: Tensor, sigma: float) -> Tensor:
    """Heat that has spread by `sigma` in the last two dimensions: waves fade by exp(-(sigma w)^2 / 2)."""
    frequencies = np.meshgrid(*(np.pi * np.arange(side) / side for side in images.shape[-2:]), indexing="ij")
    fading = np.exp(-0.5 * sigma**2 * (frequencies[0] ** 2 + frequencies[1] ** 2))
    waves = dctn(images.numpy(), type=2, norm="ortho", axes=(-2, -1))
    return torch.from_numpy(idctn(waves * fading, type=2, norm="ortho", axes=(-2, -1)))


class Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).sum(1)


@pytest.mark.parametrize("sigma", [2.0, 3.5, 8.0])
def test_the_blur_is_a_gaussian_reflected_at_the_borders(sigma):
    """A linear model's map is w (x - blurred x), whatever the steps. Of the blur only what the pixels cut is lost."""
    x = numbers(2, 3, 7, 12)
    maps = attribute(Sum(), x, a.BlurIG(3, sigma))
    blurred = [[gaussian_filter(channel, sigma, mode="reflect", truncate=12) for channel in image] for image in x]
    exactly(x - maps, torch.tensor(np.array(blurred)), 1e-8)
    exactly(maps.sum((2, 3)), torch.zeros(2, 3).double())  # no heat leaves the image


@pytest.mark.parametrize("sigma", [None, 0.3, 5.0])
@pytest.mark.parametrize("n", [1, 4])
def test_blur_ig_against_a_loop_over_the_path(sigma, n):
    model, x = weights(ConvNet()), numbers(N, 1, 6, 6)
    f = lambda image: chosen(model(image))  # noqa: E731
    path = [cosines(x, (sigma or 6.0) * (1 - j / n) ** 2) for j in range(n)] + [x]
    slopes = [gradient(f, point) for point in path]
    wanted = sum((slopes[j] + slopes[j + 1]) / 2 * (path[j + 1] - path[j]) for j in range(n))
    exactly(attribute(model, x, a.BlurIG(n, sigma), target=TARGET, baselines=numbers(N, 1, 6, 6, seed=9)), wanted)


def test_blur_ig_of_two_images_blurs_each_by_its_longer_side():
    class Product(nn.Module):
        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return one.flatten(1).square().sum(1) * 2 + other.flatten(1).sum(1)

    one, other = numbers(N, 2, 3, 5), numbers(N, 1, 4, 2, seed=2)
    maps = attribute(Product(), (one, other), a.BlurIG(6))
    exactly(maps[0], 2 * (one.square() - cosines(one, 5.0).square()))  # the mean of both ends is exact on squares
    exactly(maps[1], other - cosines(other, 4.0))


def test_blur_ig_sums_to_the_difference_from_the_blurred_image():
    model, x = weights(ConvNet()), numbers(N, 1, 6, 6)
    difference = (chosen(model(x)) - chosen(model(cosines(x, 4.0)))).detach()
    errors = [
        torch.linalg.vector_norm(
            attribute(model, x, a.BlurIG(n, 4.0), target=TARGET).flatten(1).sum(1) - difference
        )
        for n in (200, 400)
    ]  # fmt: skip
    assert float(errors[0] / errors[1]) == pytest.approx(4, rel=0.1)
    assert errors[1] < 1e-3 * difference.abs().min()


def test_blur_ig_needs_images():
    with pytest.raises(ValueError, match=r"Blur IG needs images: the samples are not \(channels, ..., height, width\)"):
        attribute(Single(), numbers(N, D), a.BlurIG())


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


# A stopping tolerance


def hard() -> tuple[nn.Module, Tensor, Tensor]:
    """Samples that need more and more nodes."""
    return Single(), numbers(N, D) * torch.tensor([0.1, 1.0, 4.0, 12.0])[:, None], numbers(1, D, seed=2) / 10


def doubled(model: nn.Module, x: Tensor, x0: Tensor, method: a.IntegratedGradients) -> tuple[Tensor, list[int], Tensor]:
    """One sample (1, d): its best map, the nodes tried, and the best map's nodes and error."""
    assert method.tol is not None
    tried: list[int] = []
    best, note = torch.zeros_like(x), torch.tensor([0.0, inf]).double()
    n = method.n_steps
    while n <= method.max_steps and note[1] > method.tol:
        made = attribute(model, x, a.IntegratedGradients(n, method.method, method.multiply_by_inputs), baselines=x0)
        shares = made if method.multiply_by_inputs else made * (x - x0)
        error = (shares.sum() - (model(x) - model(x0)).detach()).abs()
        if error < note[1]:
            best, note = made, torch.stack([torch.tensor(n).double(), error[0]])
        tried.append(n)
        n *= 2
    return best, tried, note


@pytest.mark.parametrize("changes", [{}, {"rows": 3}, {"memory": 3000}])
@pytest.mark.parametrize(
    "method",
    [
        a.IntegratedGradients(2, tol=1e-6, max_steps=1000),
        a.IntegratedGradients(4, "riemann_middle", tol=1e-3, max_steps=100),
        a.IntegratedGradients(4, "riemann_trapezoid", multiply_by_inputs=False, tol=1e-2, max_steps=16),
    ],
    ids=["met", "met or not", "slopes"],
)
def test_each_sample_gets_the_nodes_that_it_needs(method, changes):
    model, x, x0 = hard()
    explainer = Explainer(Request(model, x, baselines=x0, **changes))
    maps, counters = explainer.attribute(method), explainer.engine.counters
    rows = [doubled(model, x[[i]], x0, method) for i in range(N)]
    tried = [t for _, t, _ in rows]
    assert len({len(t) for t in tried}) > 2, "the samples are to differ"
    exactly(maps, torch.cat([made for made, _, _ in rows]))
    used, error = counters.notes["n_steps"], counters.notes["completeness_error"]
    assert used.tolist() == [float(note[0]) for _, _, note in rows]
    exactly(error, torch.stack([note[1] for _, _, note in rows]), 1e-10)
    for last, reached in zip((t[-1] for t in tried), error.tolist(), strict=True):
        assert reached <= method.tol or 2 * last > method.max_steps
    nodes = sum(map(sum, tried))
    assert (counters.forward_rows, counters.backward_rows) == (2 * N + nodes, nodes)


def test_the_best_map_is_kept_when_no_nodes_are_enough():
    """df/dx = 1 + (cos(32 pi x) - cos(8 pi x)) / 20 + x / 50: on the left, 8 and 16 nodes meet one wave only."""

    def waves(x: Tensor) -> Tensor:
        fast, slow = 32 * torch.pi, 8 * torch.pi
        return (x + ((fast * x).sin() / fast - (slow * x).sin() / slow) / 20 + x.square() / 100).sum(1)

    x, notes = torch.ones(2, 1).double(), {}
    method = a.IntegratedGradients(4, "riemann_left", tol=1e-6, max_steps=31)
    exactly(attribute(waves, x, method, notes=notes), torch.full_like(x, 1.0075))
    exactly(notes["n_steps"], torch.full_like(x[:, 0], 4))
    exactly(notes["completeness_error"], torch.full_like(x[:, 0], 0.0025))
    attribute(waves, x, a.IntegratedGradients(4, "riemann_left", tol=1e-3, max_steps=32), notes=notes)
    exactly(notes["completeness_error"], torch.full_like(x[:, 0], 0.01 / 32))  # 32 nodes meet neither


def test_a_tolerance_at_a_layer_and_for_a_neuron():
    (model, part, rest), (x, x0), notes = halves(), samples(), {}
    method = a.IntegratedGradients(1, tol=1e-5, max_steps=64)
    maps = attribute(model, x, method, target=TARGET, baselines=x0, layer="1", notes=notes)
    exactly((maps.sum(1) - rest(part(x)) + rest(part(x0))).abs(), notes["completeness_error"], 1e-9)
    assert notes["completeness_error"].max() <= 1e-5
    maps = attribute(model, x, method, baselines=x0, neuron=("0", 1), notes=notes)  # a linear unit: one node
    assert notes["n_steps"].tolist() == [1] * N
    exactly(maps, model[0].weight[1] * (x - x0))


# All of them


@pytest.mark.parametrize(
    "method",
    [a.IntegratedGradients(3), a.IntegratedGradients(3, tol=1e-3), a.GuidedIG(3), a.IDGI(3), a.BlurIG(3)],
    ids=lambda method: f"{type(method).__name__}{'' if getattr(method, 'tol', None) is None else ' tol'}",
)
def test_a_layer_that_looks_like_the_input_is_still_elsewhere(method):
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.conv(x)).flatten(1).sum(1)

    with pytest.raises(a.NotApplicable, match="takes no `read`: .* multiplies gradients by differences at the same"):
        attribute(weights(Same()), numbers(N, 1, 6, 6), method, read="conv")


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        (a.GradientXActivation(), {"read": "conv2"}),
        (a.Conductance(4), {"read": "conv2"}),
        (a.Conductance(4), {"neuron": ("hidden", 2)}),
        (a.InternalInfluence(4), {"read": "conv2"}),
        (a.GuidedIG(4, max_dist=0.3), {}),
        (a.IDGI(4), {}),
        (a.BlurIG(4), {}),
        (a.IntegratedGradients(2, tol=1e-9, max_steps=8), {}),
    ],
    ids=str,
)
def test_maps_can_be_differentiated(method, asked):
    """Against central differences of the maps themselves."""
    model, x, step = weights(ConvNet()), numbers(N, 1, 6, 6), 1e-5
    along = numbers(N, 1, 6, 6, seed=6)

    def total(points: Tensor, create_graph: bool = False) -> Tensor:
        maps = attribute(model, points, method, target=TARGET, create_graph=create_graph, **asked)
        return (maps * numbers(*maps.shape, seed=5)).sum()

    found = (gradient(lambda points: total(points, True), x) * along).sum()
    wanted = (total(x + step * along) - total(x - step * along)) / (2 * step)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: a.Conductance(0), "n_steps: expected at least 1, got 0"),
        (
            lambda: a.Conductance(5, "gausslegendre"),
            "method: expected one of riemann_trapezoid, riemann_left, riemann_right",
        ),
        (lambda: a.InternalInfluence(0), "n_steps: expected at least 1 for gausslegendre, got 0"),
        (lambda: a.InternalInfluence(3, "simpson"), "method: expected one of gausslegendre, .* got 'simpson'"),
        (lambda: a.GuidedIG(0), "n_steps: expected at least 1, got 0"),
        (lambda: a.GuidedIG(fraction=0.0), "fraction: expected a share above 0 and up to 1, got 0.0"),
        (lambda: a.GuidedIG(fraction=1.1), "fraction: expected a share above 0 and up to 1, got 1.1"),
        (lambda: a.GuidedIG(max_dist=-0.1), "max_dist: expected a share between 0 and 1, got -0.1"),
        (lambda: a.BlurIG(0), "n_steps: expected at least 1, got 0"),
        (lambda: a.BlurIG(max_sigma=0.0), "max_sigma: expected a positive number of pixels, got 0.0"),
        (lambda: a.IDGI(0), "n_steps: expected at least 1, got 0"),
        (lambda: a.IntegratedGradients(tol=0.0), "tol: expected a positive error in units of the output, .* got 0.0"),
        (lambda: a.IntegratedGradients(tol=float("nan")), "tol: expected a positive error"),
        (lambda: a.IntegratedGradients(50, tol=0.1, max_steps=49), "max_steps: expected at least 50, got 49"),
    ],
)
def test_impossible_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
