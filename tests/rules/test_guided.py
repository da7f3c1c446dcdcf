"""Guided backpropagation and deconvolution: by hand, in every spelling of ReLU, and beside Captum 0.9.0."""

from collections.abc import Callable

import captum.attr as c
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

from tests.models_for_tests import ConvNet, ReluNet, TwoInputs, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.rules.errors import UnknownOperation, UnknownOperationWarning
from xbench.rules.guided import PositiveGradients

N = 4
TARGET = [0, 2, 1, 2]
METHODS = [a.GuidedBackprop(), a.Deconvolution()]

both = pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
captum_warns = pytest.mark.filterwarnings(
    "ignore:Input Tensor . did not already require gradients:UserWarning",
    "ignore:Setting backward hooks on ReLU activations:UserWarning",
    "ignore:Setting forward, backward hooks:UserWarning",
)


def by_hand(model: nn.Sequential, x: Tensor, method: a.Algorithm) -> Tensor:
    """The papers' formulas from layer to layer, for Linear and ReLU, one sample at a time."""
    rows = []
    for row, target in zip(x, TARGET, strict=True):
        values = [row]
        for layer in model:
            values.append(layer(values[-1]).detach())
        gradient = F.one_hot(torch.tensor(target), len(values[-1])).double()
        for layer, before in zip(reversed(model), reversed(values[:-1]), strict=True):
            if isinstance(layer, nn.Linear):
                gradient = gradient @ layer.weight.detach()
            else:
                gradient = torch.where(gradient > 0, gradient, 0.0)
                if isinstance(method, a.GuidedBackprop):
                    gradient = torch.where(before > 0, gradient, 0.0)
        rows.append(gradient)
    return torch.stack(rows)


@both
def test_maps_are_the_papers_formulas(method):
    model, x = mlp(6, 9, 8, 3, activation=nn.ReLU), numbers(N, 6)
    maps = attribute(model, x, method, target=TARGET)
    torch.testing.assert_close(maps, by_hand(model, x, method), rtol=1e-12, atol=1e-12)
    plain = attribute(model, x, a.Saliency(abs=False), target=TARGET)
    assert not torch.allclose(maps, plain, rtol=1e-2)


@both
def test_from_two_numbers(method):
    """f = 2 relu(x0) - 3 relu(x1) + relu(-x0): gradients 2, -3 and 1 reach the three ReLUs."""

    def forward(x: Tensor) -> Tensor:
        return 2 * F.relu(x[:, 0]) - 3 * F.relu(x[:, 1]) + F.relu(-x[:, 0])

    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return forward(x)

    maps = attribute(Sum(), torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64), method)
    expected = [[2.0, 0.0], [-1.0, 0.0]] if isinstance(method, a.GuidedBackprop) else [[1.0, 0.0], [1.0, 0.0]]
    torch.testing.assert_close(maps, torch.tensor(expected, dtype=torch.float64))


class Spelled(nn.Module):
    """Linear, rectifier, linear, rectifier, linear."""

    def __init__(self, rectifier: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(6, 9), nn.Linear(9, 8), nn.Linear(8, 3)
        self.rectifier = rectifier

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rectifier(self.second(self.rectifier(self.first(x)))))


def _written(x: Tensor) -> Tensor:
    torch.relu_(x)
    return x


def _written_through_views(x: Tensor) -> Tensor:
    y = x * 1
    F.relu(y[:, :3], inplace=True)
    y[:, 3:].relu_()
    return y


SPELLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "one module, twice": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "keyword": lambda x: torch.relu(input=x),
    "method": lambda x: x.relu(),
    "result not used": _written,
    "through views": _written_through_views,
    "aten": torch.ops.aten.relu,
}


@both
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_relu_counts(method, spelling):
    x = numbers(N, 6)
    model = weights(Spelled(SPELLINGS[spelling]))
    plain = nn.Sequential(model.first, nn.ReLU(), model.second, nn.ReLU(), model.out)
    maps = attribute(model, x, method, target=TARGET)
    torch.testing.assert_close(maps, by_hand(plain, x, method), rtol=1e-12, atol=1e-12)


@both
@pytest.mark.parametrize(
    "activation", [nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.ELU, nn.Hardtanh], ids=lambda activation: activation.__name__
)
def test_other_activations_keep_their_gradients(method, activation):
    model, x = mlp(6, 9, 3, activation=activation), numbers(N, 6)
    maps = attribute(model, x, method, target=TARGET)
    torch.testing.assert_close(maps, attribute(model, x, a.Saliency(abs=False), target=TARGET))


@both
def test_a_model_without_relu_gets_its_plain_gradient(method):
    model, x = weights(ConvNet()), numbers(N, 1, 6, 6)
    maps = attribute(model, x, method, target=TARGET)
    torch.testing.assert_close(maps, attribute(model, x, a.Saliency(abs=False), target=TARGET))


@both
def test_several_inputs_and_a_layer_between(method):
    class Rectified(TwoInputs):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.out(F.relu(self.left(a)) * torch.sigmoid(self.right(b.flatten(1))))

    model, inputs = weights(Rectified(), scale=2), (numbers(N, 3), numbers(N, 2, 2, seed=2))
    one, other = attribute(model, inputs, method, target=TARGET)
    gate = torch.sigmoid(model.right(inputs[1].flatten(1)))
    gradient = (model.out.weight[TARGET] * gate).clamp(min=0)
    if isinstance(method, a.GuidedBackprop):
        gradient = gradient * (model.left(inputs[0]) > 0)
    torch.testing.assert_close(one, (gradient @ model.left.weight).detach())
    _, plain = attribute(model, inputs, a.Saliency(abs=False), target=TARGET)
    torch.testing.assert_close(other, plain)


# Captum 0.9.0

THEIRS = {a.GuidedBackprop: (c.GuidedBackprop, c.NeuronGuidedBackprop)}
THEIRS |= {a.Deconvolution: (c.Deconvolution, c.NeuronDeconvolution)}


@captum_warns
@both
def test_equals_captums_where_every_relu_is_a_module(method):
    model, x = weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6)
    theirs, neuron = THEIRS[type(method)]
    ours = attribute(model, x, method, target=TARGET)
    torch.testing.assert_close(ours, theirs(model).attribute(x, TARGET), rtol=1e-12, atol=1e-12)
    for layer, index in (("hidden", 2), ("relu2", (1, 1, 0)), ("conv2", (3, 0, 1)), ("relu3", 5)):
        ours = attribute(model, x, method, neuron=(layer, index))
        wanted = neuron(model, model.get_submodule(layer)).attribute(x, index)
        torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=1e-12)
        assert ours.abs().max() > 1e-3


@captum_warns
@both
def test_at_a_layer_equals_captums_of_the_part_behind(method):
    model, x = weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6)
    behind = nn.Sequential(model.conv2, model.relu2, nn.Flatten(), model.hidden, model.relu3, model.out)
    ours = attribute(model, x, method, target=TARGET, layer="pool")
    theirs = THEIRS[type(method)][0](behind).attribute(model.pool(model.relu1(model.conv1(x))).detach(), TARGET)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@captum_warns
@both
@pytest.mark.parametrize("spelling", ["F.relu", "method"])
def test_captum_gives_the_plain_gradient_where_a_relu_is_no_module(method, spelling):
    model, x = weights(Spelled(SPELLINGS[spelling])), numbers(N, 6)
    theirs = THEIRS[type(method)][0](model).attribute(x, TARGET)
    torch.testing.assert_close(theirs, attribute(model, x, a.Saliency(abs=False), target=TARGET))
    assert not torch.allclose(attribute(model, x, method, target=TARGET), theirs, rtol=1e-2)


# What cannot be seen


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


class Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(_Doubled.apply(x))


@pytest.mark.parametrize("kind", [a.GuidedBackprop, a.Deconvolution])
def test_steps_that_cannot_be_seen_are_refused_or_plain(kind):
    model, x = weights(Hidden()), numbers(N, 6)
    with pytest.raises(UnknownOperation, match="^_Doubled: .* cannot pass through it"):
        attribute(model, x, kind(), target=TARGET)
    assert _get_current_function_mode_stack() == []
    with pytest.warns(UnknownOperationWarning, match="^_Doubled: .* uses its plain gradient"):
        maps = attribute(model, x, kind(unknown="warn"), target=TARGET)
    torch.testing.assert_close(maps, attribute(model, x, a.Saliency(abs=False), target=TARGET))


@both
def test_modules_may_have_backward_hooks_of_their_own(method):
    model, x = weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6)
    wanted = attribute(model, x, method, target=TARGET)
    for module in model.modules():
        module.register_full_backward_hook(lambda *_: None)
    torch.testing.assert_close(attribute(model, x, method, target=TARGET), wanted)


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="unknown must be 'raise' or 'warn', got 'ignore'"):
        a.GuidedBackprop(unknown="ignore")
    with pytest.raises(ValueError, match="kind must be 'guided' or 'deconvolution', got 'guide'"):
        PositiveGradients("guide")
