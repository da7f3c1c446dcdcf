"""LRP at single operations, by hand or against slow references; attention and normalisation by the papers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fusion
from torch.nn.utils.rnn import pack_padded_sequence

from tests.models_for_tests import ConvNet, numbers, weights
from tests.rules.models import RECURRENT, recurrent, uniform, vision_model
from xbench import attribute
from xbench.algorithms import LRP
from xbench.config.compose import component
from xbench.rules import lrp
from xbench.rules.errors import UnknownOperation, UnknownOperationWarning

TINY = 1e-13
EXACT = lrp.epsilon_only(TINY, TINY)


class Function(nn.Module):
    """(n, ...) -> (n,), written as a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def relevance(model: Any, x: Tensor, composite: lrp.Composite = EXACT, **options: Any) -> Tensor:
    if not isinstance(model, nn.Module):
        model, options = Function(model), {"target": None, **options}
    maps = attribute(model, x, LRP(composite), **{"target": 1, **options})
    assert isinstance(maps, Tensor)
    return maps


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-9) -> None:
    assert theirs.abs().max() > 1e-6
    torch.testing.assert_close(ours, theirs.detach(), rtol=tolerance, atol=tolerance)


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: (x[:, :2] + x[:, 2:]).sum(1), (1.0, 2.0, 3.0, -1.0)),  # in proportion to the summands
        (lambda x: (x[:, :2] - x[:, 2:]).sum(1), (1.0, 2.0, -3.0, 1.0)),
        (lambda x: x[:, 0] * x[:, 2], (1.5, 0.0, 1.5, 0.0)),  # 3, in halves
        (lambda x: x[:, 1] ** 2 * 5 + 0 * x[:, 0], (0.0, 20.0, 0.0, 0.0)),  # functions of one variable
        (lambda x: x[:, 1].exp() / x[:, 2], (0.0, torch.e**2 / 3, 0.0, 0.0)),  # the numerator takes all
        (lambda x: x[:, 1] * (x[:, 2] + 1).rsqrt(), (0.0, 1.0, 0.0, 0.0)),  # the same, written as a product
        (lambda x: x.max(1).values * 2, (0.0, 0.0, 6.0, 0.0)),
        (lambda x: F.max_pool1d(x, 2).sum(1), (0.0, 2.0, 3.0, 0.0)),
        (lambda x: F.avg_pool1d(x, 2).sum(1), (0.5, 1.0, 1.5, -0.5)),
        (lambda x: torch.cat([x, x], 1).mean(1), (0.25, 0.5, 0.75, -0.25)),
        (lambda x: torch.linalg.vector_norm(x, dim=1) ** 2, (1.0, 4.0, 9.0, 1.0)),
        (lambda x: (F.hardswish(x) + F.silu(x).detach()).sum(1), None),
    ],
)
def test_operations_by_hand(function: Callable[[Tensor], Tensor], expected: tuple[float, ...] | None) -> None:
    x = row(1.0, 2.0, 3.0, -1.0)
    if expected is None:  # a part without gradient is a constant, which keeps its share once a layer was passed
        expected = tuple((F.hardswish(x) + F.silu(x))[0].tolist())
    torch.testing.assert_close(relevance(function, x), row(*expected), rtol=1e-9, atol=1e-9)


def test_tensors_added_after_a_layer_are_biases_and_before_it_preparation() -> None:
    matrix, shift = numbers(3, 3, seed=5), numbers(3, seed=6)
    x = numbers(4, 3)
    after = relevance(lambda x: (x @ matrix + shift).sum(1), x)
    close(after, x * matrix.sum(1))
    before = relevance(lambda x: ((x - shift) @ matrix).sum(1), x)
    close(before, (x - shift) * matrix.sum(1))


def test_what_is_multiplied_by_zero_has_no_relevance() -> None:
    mask, matrix = row(1.0, 0.0, 1.0), torch.ones(3, 1, dtype=torch.float64)
    flat = lrp.Composite(dense=lrp.Flat())  # gives the same to each of the three
    maps = relevance(lambda x: ((x * mask) @ matrix)[:, 0], row(2.0, 5.0, 4.0), flat)
    torch.testing.assert_close(maps, row(2.0, 0.0, 2.0), rtol=1e-5, atol=0)


class _Forms(nn.Module):
    """The same network in three ways of writing it."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.conv1, self.conv2 = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norm, self.relu, self.out = nn.BatchNorm2d(3), nn.ReLU(), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "modules":
            y = self.relu(self.norm(self.conv1(x)))
            y = self.relu(self.conv2(y) + y)
            return self.out(nn.AdaptiveAvgPool2d(1)(y).flatten(1))
        norm = self.norm
        y = torch.conv2d(x, self.conv1.weight, self.conv1.bias, padding=1)
        y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        if self.form == "functions":
            y = y.clamp_min(0)
            y = F.relu(torch.add(F.conv2d(y, self.conv2.weight, self.conv2.bias, padding=(1, 1)), y))
            return y.mean((2, 3)) @ self.out.weight.T + self.out.bias
        torch.relu_(y)
        z = self.conv2(y)
        z += y
        z.relu_()
        return torch.addmm(self.out.bias, z.flatten(2).mean(2), self.out.weight.T)


@pytest.mark.parametrize("form", ["functions", "in place"])
def test_functions_and_in_place_operations_are_seen(form: str) -> None:
    x, composite = numbers(3, 2, 6, 6), lrp.epsilon_alpha2_beta1(TINY, TINY)
    expected = relevance(weights(_Forms("modules")), x, composite)
    close(relevance(weights(_Forms(form)), x, composite), expected)


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Conv2d(2, 4, 3, groups=2), nn.BatchNorm2d(4), (3, 2, 5, 5)),
        (nn.ConvTranspose2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), (3, 2, 5, 5)),
        (nn.Linear(5, 4), nn.BatchNorm1d(4), (3, 5)),
    ],
    ids=["convolution", "transposed", "dense"],
)
def test_a_batch_norm_after_a_layer_belongs_to_it(layer: nn.Module, norm: nn.Module, shape: tuple[int, ...]) -> None:
    composite = lrp.Composite(convolution=lrp.Gamma(), dense=lrp.ZPlus())
    model, x = weights(nn.Sequential(layer, norm, nn.Flatten())), numbers(*shape)
    fuse = fusion.fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fusion.fuse_conv_bn_eval
    transposed = (True,) if isinstance(layer, nn.ConvTranspose2d) else ()
    fused = nn.Sequential(fuse(model[0], model[1], *transposed), nn.Flatten())  # type: ignore[operator]
    close(relevance(model, x, composite), relevance(fused, x, composite))


def test_a_batch_norm_elsewhere_is_linear() -> None:
    model, x = weights(nn.Sequential(nn.Tanh(), nn.BatchNorm1d(4), nn.Linear(4, 2))), numbers(3, 4)
    norm, out = model[1], model[2]
    slope = norm.weight / (norm.running_var + norm.eps).sqrt()  # type: ignore[operator,union-attr]
    close(relevance(model, x), x.tanh() * slope * out.weight[1])  # type: ignore[index,operator]


def test_gates_share_in_halves_or_not_at_all() -> None:
    model = vision_model("mobilenet_v3_small").features[1].block[1]  # squeeze and excitation
    x = uniform(2, 16, 4, 4)
    pooled = model.activation(model.fc1(x.mean((2, 3), keepdim=True)))
    gate = model.scale_activation(model.fc2(pooled))
    signal = relevance(model, x, lrp.Composite(gates=("hardsigmoid",)), target=(1, 2, 2))
    expected = torch.zeros_like(x)
    expected[:, 1, 2, 2] = (x * gate)[:, 1, 2, 2]
    close(signal, expected)
    halves = relevance(model, x, EXACT, target=(1, 2, 2))
    outside = halves.clone()
    outside[:, 1] = 0
    assert outside.abs().max() > 1e-6, "nothing went through the gate"
    assert not torch.allclose(halves[:, 1, 2, 2], signal[:, 1, 2, 2])


SIGNAL = replace(EXACT, gates=("sigmoid",))


def test_an_lstm_whose_gates_take_nothing_is_that_of_arras() -> None:
    """Arras et al. 2017: gates are constants, tanh passes relevance on: x df/dx with both as constant factors."""
    model = weights(nn.LSTM(5, 4, batch_first=True), scale=2).requires_grad_(False)
    x = numbers(3, 4, 5).requires_grad_()
    h = c = torch.zeros(3, 4, dtype=torch.float64)
    for step in x.unbind(1):
        z = step @ model.weight_ih_l0.T + model.bias_ih_l0 + (h @ model.weight_hh_l0.T + model.bias_hh_l0)
        i, f, g, o = z.chunk(4, 1)
        c = f.sigmoid().detach() * c + i.sigmoid().detach() * g * (g.tanh() / g).detach()
        h = o.sigmoid().detach() * c * (c.tanh() / c).detach()
    (gradient,) = torch.autograd.grad(h[:, 1].sum(), x)
    close(relevance(lambda x: model(x)[0][:, -1, 1], x.detach(), SIGNAL), x * gradient)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("composite", [EXACT, SIGNAL], ids=["halves", "signal"])
def test_recurrent_layers_without_biases_conserve(name: str, composite: lrp.Composite) -> None:
    model, x = recurrent(name), numbers(2, 4, 5)
    for key, parameter in model.named_parameters():
        if "bias" in key:
            parameter.data.zero_()
    close(relevance(model, x, composite).flatten(1).sum(1), model(x)[:, 1], 1e-8)


def test_both_directions_of_a_recurrent_layer_are_first_layers() -> None:
    model, x = recurrent("GRU, 2 layers, both directions"), numbers(2, 4, 5)
    maps = relevance(model, x, lrp.epsilon_plus_flat())
    torch.testing.assert_close(maps, maps[..., :1].expand_as(maps))  # flat: the same for all elements of a step


def test_sites_and_neurons() -> None:
    """Relevance at a layer is what the layers above say, and its sum stays the output without biases."""
    model, x = weights(ConvNet()), numbers(3, 1, 6, 6)
    for name, parameter in model.named_parameters():
        if "bias" in name:
            parameter.data.zero_()
    model.norm.running_mean.zero_()
    flat_first = lrp.epsilon_plus_flat(TINY, TINY)
    above = lrp.epsilon_plus(TINY, TINY)
    # The rule of the first layer is that of the model's first layer, not of the first after the site.
    for site in ("smooth1", "conv2", "hidden", "fuse"):
        close(relevance(model, x, flat_first, layer=site), relevance(model, x, above, layer=site))
    close(relevance(model, x, flat_first).flatten(1).sum(1), model(x)[:, 1], 1e-6)
    assert not torch.allclose(relevance(model, x, flat_first), relevance(model, x, above))
    close(relevance(model, x, layer="hidden"), _hidden(model, x).tanh() * model.out.weight[1])
    neuron = relevance(model, x, flat_first, target=None, neuron=("hidden", 2))
    close(neuron.flatten(1).sum(1), _hidden(model, x)[:, 2], 1e-6)


def _hidden(model: nn.Module, x: Tensor) -> Tensor:
    seen: list[Tensor] = []
    handle = model.get_submodule("hidden").register_forward_hook(lambda _m, _a, out: seen.append(out))
    model(x)
    handle.remove()
    return seen[0].detach()


def test_the_box_is_each_samples_own_unless_given() -> None:
    model, x = weights(nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(8, 2))), numbers(2, 1, 3, 3)
    own = relevance(model, x, lrp.epsilon_gamma_box())
    for i, sample in enumerate(x):
        given = lrp.epsilon_gamma_box(float(sample.min()), float(sample.max()))
        close(own[i], relevance(model, x[i : i + 1], given)[0])


LSTM = weights(nn.LSTM(5, 2, batch_first=True))


@pytest.mark.filterwarnings("ignore:Default grid_sample")
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: x.cummax(1).values, "cummax"),
        (lambda x: LSTM(pack_padded_sequence(x[:, None], [1] * 3, batch_first=True))[0].data, "pack_padded_sequence"),
        (lambda x: torch.fft.rfft(x).abs(), "fft_rfft"),
        (lambda x: torch.hypot(x, x.flip(1)), "hypot"),
        (lambda x: F.grid_sample(x[:, None, None], x[:, None, :4].reshape(-1, 1, 2, 2)).flatten(1), "grid_sampler"),
        (lambda x: F.dropout(x, 0.5, training=True), "dropout"),
        (lambda x: F.batch_norm(x, None, None, training=True), "batch_norm"),
    ],
)
def test_unknown_operations_are_refused_by_name(function: Callable[[Tensor], Tensor], name: str) -> None:
    with pytest.raises(UnknownOperation, match=rf"^{name}: .*LRP.*unknown='warn'") as caught:
        relevance(lambda x: function(x).sum(1), numbers(3, 5))
    assert caught.value.operation == name


def test_unknown_operations_can_be_shared_in_proportion_with_a_warning() -> None:
    x = numbers(3, 5)
    with pytest.warns(UnknownOperationWarning, match="hypot"):
        maps = attribute(Function(lambda x: torch.hypot(x, x.flip(1)).sum(1)), x, LRP(EXACT, unknown="warn"))
    assert isinstance(maps, Tensor)
    y = torch.hypot(x, x.flip(1))
    close(maps, 2 * x**2 / y)


def test_labels_and_configs_name_their_rules() -> None:
    assert component("algorithm", "lrp") == LRP(lrp.epsilon_plus())
    assert component("algorithm", "lrp_gamma_box", ["composite.low=[0, 0, 0]"]).composite.first_convolution.low == (
        0,
        0,
        0,
    )
    assert LRP(lrp.attn_lrp()).facts.label == "AttnLRP"
    assert "Bach et al. 2015" in LRP(lrp.cp_lrp()).facts.citation
    assert "2202.07304" in LRP(lrp.cp_lrp()).facts.citation


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="alpha - beta must be 1 and beta >= 0, got alpha 2.0 and beta 0.5"):
        lrp.AlphaBeta(2.0, 0.5)
    with pytest.raises(ValueError, match="normalization must be 'detach' or 'identity', got 'none'"):
        lrp.Composite(normalization="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown must be 'raise' or 'warn', got 'ignore'"):
        LRP(unknown="ignore")  # type: ignore[arg-type]
    for wrong in ("epsilon_plus", lrp.epsilon_plus, lrp.Gamma()):
        with pytest.raises(TypeError, match=r"composite: expected a composite such as epsilon_plus\(\), .*, got "):
            LRP(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="identity rule needs a layer that keeps the shape"):
        relevance(weights(nn.Linear(4, 3)), numbers(2, 4), lrp.Composite(dense=lrp.Identity()))
