"""Conductance of layers and neurons and internal influence, against loops over their integrals and Captum."""

import captum.attr as c
import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.paths import RULES, TARGET, D, Function, N, exactly, gradient, halves, samples
from tests.models_for_tests import ConvNet, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.algorithms.parts.quadrature import quadrature
from xbench.engine import NoGradientError

pytestmark = pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning")


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
