"""Neurons chosen by a function of the layer: Captum's `neuron_selector`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import captum.attr as c
import pytest
import torch
from torch import Tensor, nn

from tests.algorithms import test_captum_parity as parity
from tests.models_for_tests import ConvNet, ReluNet, numbers, weights
from xbench import algorithms as a
from xbench import attribute, measure
from xbench.core.readouts import TargetError
from xbench.metrics import ConvergenceDelta

N, TARGET = 3, [0, 2, 1]
SMOOTH, X = weights(ConvNet(), scale=1.5), numbers(N, 1, 6, 6)
X0 = numbers(N, 1, 6, 6, seed=2) / 2
pytestmark = parity.pytestmark


def same(ours: object, wanted: object) -> None:
    torch.testing.assert_close(ours, wanted, rtol=1e-6, atol=1e-7)  # Captum's weights are float32


def largest(y: Tensor) -> Tensor:
    return y.flatten(1).square().sum(1)


def second(y: Tensor) -> Tensor:
    return y[:, 1:2].flatten(1).sum(1)


@pytest.mark.parametrize("layer", ["conv2", "hidden"])
@pytest.mark.parametrize("unit", [largest, second])
@pytest.mark.parametrize(
    ("method", "theirs", "options"),
    [
        (a.Saliency(abs=False), c.NeuronGradient, {}),
        (a.IntegratedGradients(6), c.NeuronIntegratedGradients, {"baselines": X0, "n_steps": 6}),
        (a.FeatureAblation(), c.NeuronFeatureAblation, {"baselines": X0}),
    ],
)
def test_a_function_chooses_as_in_captum(
    method: a.Algorithm, theirs: type, options: dict[str, Any], unit: Callable[[Tensor], Tensor], layer: str
) -> None:
    wanted = theirs(SMOOTH, SMOOTH.get_submodule(layer)).attribute(X, unit, **options)
    same(attribute(SMOOTH, X, method, baselines=options.get("baselines"), neuron=(layer, unit)), wanted)


@pytest.mark.filterwarnings("ignore:The neuron_selector provided is a callable:UserWarning")
@pytest.mark.parametrize("method", ["riemann_left", "riemann_right"])
def test_the_conductance_of_a_function_that_picks_a_unit(method: Any) -> None:
    def pick(y: Tensor) -> Tensor:
        return y[:, 2]

    theirs = c.NeuronConductance(SMOOTH, SMOOTH.hidden)
    wanted = theirs.attribute(X, pick, X0, torch.tensor(TARGET), n_steps=7, method=method)
    ours = attribute(SMOOTH, X, a.Conductance(7, method), target=TARGET, baselines=X0, neuron=("hidden", pick))
    same(ours, wanted)


def test_a_weight_of_a_unit_counts_in_its_conductance() -> None:
    """Twice one unit and half of another: twice and half of theirs."""
    each = [attribute(SMOOTH, X, a.Conductance(5), target=TARGET, baselines=X0, neuron=("hidden", k)) for k in range(2)]
    both = attribute(
        SMOOTH, X, a.Conductance(5), target=TARGET, baselines=X0, neuron=("hidden", lambda y: 2 * y[:, 0] + y[:, 1] / 2)
    )
    same(both, 2 * each[0] + each[1] / 2)


def test_a_function_is_the_output_of_a_model_that_ends_there() -> None:
    """Whatever the algorithm: a part of the model and the function behind it."""
    net, x = weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6)

    class Ends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, inputs: Tensor) -> Tensor:
            net = self.net
            return largest(net.hidden(net.relu2(net.conv2(net.pool(net.relu1(net.conv1(inputs))))).flatten(1)))

    groups = torch.arange(36).reshape(1, 1, 6, 6) // 6
    for method in (a.DeepLift(), a.LRP(), a.KernelShap(16), a.GuidedBackprop()):
        ours = attribute(net, x, method, features=groups, neuron=("hidden", largest))
        same(ours, attribute(Ends(), x, method, features=groups))


def test_deeplift_of_a_function_is_complete() -> None:
    """Its operations are part of what is explained: a product there has the rule of products."""
    net, x = weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6)
    neuron = ("relu3", lambda y: y[:, 0] * y[:, 1] + y.max(1).values)
    delta = measure(net, x, a.DeepLift(), ConvergenceDelta(), baselines=numbers(N, 2, 6, 6, seed=2), neuron=neuron)
    same(delta, torch.zeros_like(delta))


class Pair(nn.Module):
    """A layer of two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.two = Split()

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.two(x)
        return (left * right).sum(1)


class Split(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :2].tanh(), x[:, 2:].exp()


def test_a_function_gets_all_tensors_of_a_layer() -> None:
    net, x = Pair(), numbers(N, 4)

    def product(tensors: tuple[Tensor, Tensor]) -> Tensor:
        return (tensors[0] * tensors[1]).sum(1)

    wanted = c.NeuronGradient(net, net.two).attribute(x, product)
    same(attribute(net, x, a.Saliency(abs=False), neuron=("two", product)), wanted)
    # Both tensors are all there is of the model: a sum over the halves is the conductance of everything.
    whole = attribute(net, x, a.IntegratedGradients(40), baselines=0.1)
    through = attribute(net, x, a.Conductance(400), baselines=0.1, neuron=("two", lambda t: t[0].sum(1) + t[1].sum(1)))
    torch.testing.assert_close(through, whole, rtol=1e-4, atol=1e-5)
    with pytest.raises(TypeError, match="gives 2 tensors, an index is for one; a function of them can choose"):
        attribute(net, x, a.Saliency(), neuron=("two", 0))


@pytest.mark.parametrize(
    ("function", "got"),
    [(lambda y: y, r"shape \(3, 5\)"), (lambda y: y.sum(), r"shape \(\)"), (lambda y: 1.0, "float")],
)
def test_a_function_gives_one_number_per_row(function: Callable[[Tensor], Any], got: str) -> None:
    with pytest.raises(TargetError, match=f"neuron: the function of layer hidden gave {got} for 3 rows"):
        attribute(SMOOTH, X, a.Saliency(), neuron=("hidden", function), rows=3)
