"""Sites by name, module, `:input` and `@2`; what is put on a model comes off again."""

import contextlib
from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.models_for_tests import ConvNet, mlp, numbers, weights
from xbench import attribute
from xbench.algorithms import FeatureAblation, InputXGradient, IntegratedGradients, Saliency
from xbench.core.sites import Site, device_of, frozen, layer_name, visit


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("", Site("")),  # the model itself
        ("conv1", Site("conv1")),
        ("conv1:output", Site("conv1")),
        ("block.0.relu:input", Site("block.0.relu", "input")),
        ("relu@2", Site("relu", "output", 2)),
        ("relu@12:input", Site("relu", "input", 12)),
    ],
)
def test_sites_are_parsed_and_written(text, site):
    assert Site.parse(text) == site
    assert Site.parse(str(site)) == site


@pytest.mark.parametrize("text", ["conv1:middle", "conv1@0", "conv1@x", "conv1@-1"])
def test_a_text_that_is_no_site_is_refused(text):
    with pytest.raises(ValueError, match="expected LAYER, LAYER:input"):
        Site.parse(text)


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="no layer 'cnov1'; did you mean conv1"):
        attribute(weights(ConvNet()), numbers(1, 1, 6, 6), Saliency(), target=0, layer="cnov1")
    with pytest.raises(ValueError, match="no layer 'conv1'; it has none, as a plain function has"):
        attribute(lambda x: x.flatten(1), numbers(1, 1, 6, 6), Saliency(), target=0, layer="conv1")
    with pytest.raises(ValueError, match="no layer 'zzzz'; it has conv1, norm, "):
        Site("zzzz").module(ConvNet())


def test_a_module_is_as_good_as_its_name():
    model, x = weights(ConvNet()), numbers(2, 1, 6, 6)
    by_name = attribute(model, x, Saliency(), target=0, layer="conv2")
    assert torch.equal(by_name, attribute(model, x, Saliency(), target=0, layer=model.conv2))
    assert layer_name(model, model.hidden) == "hidden"
    with pytest.raises(ValueError, match="layer Linear is not part of the model"):
        layer_name(model, nn.Linear(1, 1))


class Chain(nn.Module):
    """out(relu(b(relu(a(x))))), with one relu module for both."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 3)
        self.relu = nn.ReLU(inplace)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.relu(self.b(self.relu(self.a(x)))))


def steps(model: Chain, x: Tensor) -> dict[str, Tensor]:
    """The values in between, by hand, as a chain of gradients can follow them."""
    a = model.a(x)
    h = F.relu(a)
    b = model.b(h)
    g = F.relu(b)
    return {"a": a, "relu@1": h, "b": b, "relu@2": g, "b:input": h, "relu@2:input": b, "out:input": g}


def by_hand(model: Chain, x: Tensor, site: str, column: int) -> tuple[Tensor, Tensor]:
    """Value at the site and the gradient of one logit there."""
    values = steps(model, x.clone().requires_grad_())
    logit = model.out(values["relu@2"])[:, column]
    (gradient,) = torch.autograd.grad(logit.sum(), values[site])
    return values[site].detach(), gradient


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("how", ["layer", "read"])
@pytest.mark.parametrize("site", ["a", "relu@1", "b", "relu@2", "b:input", "relu@2:input", "out:input"])
def test_values_and_gradients_at_a_site(site, how, inplace):
    model, x = weights(Chain(inplace=inplace), scale=2), numbers(5, 4)
    value, gradient = by_hand(model, x, site, 1)
    assert (value < 0).any() or site not in ("a", "b")  # where an in-place relu would show
    slope = attribute(model, x, Saliency(abs=False), target=1, **{how: site})
    torch.testing.assert_close(slope, gradient)
    torch.testing.assert_close(attribute(model, x, InputXGradient(), target=1, **{how: site}), value * gradient)


def test_a_module_called_twice_needs_the_call():
    model, x = weights(Chain()), numbers(2, 4)
    with pytest.raises(ValueError, match="'relu' is called more than once in a forward pass; name the call, .* relu@1"):
        attribute(model, x, Saliency(), target=0, layer="relu")
    with pytest.raises(ValueError, match="relu@3 was not reached by the forward pass .reached 2 times"):
        attribute(model, x, Saliency(), target=0, layer="relu@3")


def test_a_module_of_two_names_has_both():
    model = nn.Module()
    model.first = model.second = nn.Linear(3, 2)
    assert Site.parse("second").module(model) is model.first


def test_the_input_of_a_layer_that_is_called_by_keyword():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.tanh(x)
            return self.attention(query=x, key=x, value=x)[0].sum((1, 2))

    class Positional(Net):
        def forward(self, x: Tensor) -> Tensor:
            x = torch.tanh(x)
            return self.attention(x, x, x)[0].sum((1, 2))

    x = numbers(5, 3, 4)
    maps = [
        attribute(weights(kind()), x, IntegratedGradients(3), layer="attention:input") for kind in (Net, Positional)
    ]
    torch.testing.assert_close(maps[0], maps[1])


def test_a_layer_that_the_forward_pass_skips_is_named():
    model = weights(Chain())
    model.spare = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="spare was not reached"):
        attribute(model, numbers(2, 4), Saliency(), target=0, layer="spare")


def test_a_neuron_of_a_module_called_twice():
    model, x = weights(Chain()), numbers(3, 4)
    leaf = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(steps(model, leaf)["relu@1"][:, 2].sum(), leaf)
    torch.testing.assert_close(attribute(model, x, Saliency(abs=False), neuron=("relu@1", 2)), wanted)


class Writes(nn.Module):
    """Writes into its own input, as a normalisation step may."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp(4, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.mul_(2).add_(1))


@pytest.mark.parametrize("layer", [None, "inner", "inner.0"])
@pytest.mark.parametrize("method", [Saliency(abs=False), FeatureAblation(), IntegratedGradients(5)])
def test_a_model_that_writes_into_its_input_harms_nobody(method, layer):
    model, x = Writes(), numbers(3, 4)
    before = x.clone()
    maps = attribute(model, x, method, target=1, layer=layer)
    assert torch.equal(x, before)
    alone = attribute(model, x[2:], method, target=1, layer=layer)
    torch.testing.assert_close(maps[2:], alone, rtol=1e-12, atol=1e-12)
    plain = nn.Sequential(OrderedDict(scale=Affine(), inner=model.inner))
    torch.testing.assert_close(maps, attribute(plain, x, method, target=1, layer=layer), rtol=1e-12, atol=1e-12)


class Affine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 + 1


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.one(x), {"state": self.other(x)}


class Branched(nn.Module):
    """A layer that gives two tensors in a structure: f = (sum of the first) * (sum of the second)."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()

    def forward(self, x: Tensor) -> Tensor:
        one, rest = self.pair(x)
        return one.sum(1) * rest["state"].sum(1)


@pytest.mark.parametrize("how", ["layer", "read"])
def test_a_layer_with_several_tensors_gives_several_maps(how):
    model, x = weights(Branched()), numbers(3, 4)
    with torch.no_grad():
        one, rest = model.pair(x)
    maps = attribute(model, x, Saliency(abs=False), **{how: "pair"})
    assert isinstance(maps, tuple)
    torch.testing.assert_close(maps[0], rest["state"].sum(1, keepdim=True).expand(3, 3))
    torch.testing.assert_close(maps[1], one.sum(1, keepdim=True).expand(3, 2))


def test_a_path_through_a_layer_with_several_tensors_is_complete():
    model, x = weights(Branched()), numbers(3, 4)
    maps = attribute(model, x, IntegratedGradients(3), layer="pair", baselines=0.3)
    with torch.no_grad():
        wanted = model(x) - model(torch.full_like(x, 0.3))
    torch.testing.assert_close(maps[0].sum(1) + maps[1].sum(1), wanted)


def test_a_neuron_of_a_layer_with_several_tensors_is_refused():
    with pytest.raises(TypeError, match="layer pair gives 2 tensors, an index is for one"):
        attribute(weights(Branched()), numbers(3, 4), Saliency(), neuron=("pair", 1))


def test_points_at_one_layer_read_at_a_later_one():
    model, x = weights(Chain(), scale=2), numbers(5, 4)
    value, gradient = by_hand(model, x, "b", 2)
    maps = attribute(model, x, InputXGradient(), target=2, layer="a", read="b")
    torch.testing.assert_close(maps, value * gradient)


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (FeatureAblation(), "reads outputs only"),
        (IntegratedGradients(3), "IntegratedGradients multiplies"),
    ],
)
def test_where_maps_are_read_is_for_gradients_at_one_point(method, reason):
    model = weights(nn.Sequential(nn.Conv2d(1, 4, 2, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(36, 2)))
    x = numbers(2, 1, 6, 6)
    with pytest.raises(ValueError, match=reason):
        attribute(model, x, method, target=0, read="0")


class TimeFirst(nn.Module):
    """A recurrent layer whose outputs have the samples in the second dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.RNN(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(x.transpose(0, 1))
        return self.out(states[-1])


@pytest.mark.parametrize("where", [{"layer": "rnn"}, {"read": "rnn"}, {"layer": "rnn:input"}])
def test_a_layer_without_the_samples_in_front_is_refused(where):
    with pytest.raises(ValueError, match="site rnn.*: expected the samples in the first dimension"):
        attribute(weights(TimeFirst()), numbers(5, 6, 3), Saliency(), target=0, **where)


def test_a_neuron_without_the_samples_in_front_is_refused():
    model = weights(TimeFirst())
    model.rnn = Transposed(3, 4)
    with pytest.raises(ValueError, match="site rnn.inner: expected the samples in the first dimension"):
        attribute(model, numbers(5, 6, 3), Saliency(), neuron=("rnn.inner", (0, 0)))


class Transposed(nn.Module):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, size).double()

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.inner(x), None


def test_a_site_without_a_tensor_is_refused():
    class Settings(nn.Module):
        def forward(self, scale: float) -> float:
            return scale * 2

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.settings = Settings()

        def forward(self, x: Tensor) -> Tensor:
            return x.sum(1) * self.settings(1.0)

    with pytest.raises(ValueError, match="site settings: no tensor there, got float"):
        attribute(Model(), numbers(2, 3), Saliency(), layer="settings")


@dataclass
class Flags:
    training: list[bool]
    learning: list[bool]


def flags(model: nn.Module) -> Flags:
    return Flags([m.training for m in model.modules()], [p.requires_grad for p in model.parameters()])


def test_frozen_restores_every_flag_also_after_an_error():
    model = ConvNet().train()
    model.norm.eval()
    model.conv1.weight.requires_grad_(False)
    before = flags(model)
    inside = None
    with contextlib.suppress(KeyError), frozen(model):
        inside = flags(model)
        raise KeyError
    assert inside is not None
    assert not any(inside.training)
    assert not any(inside.learning)
    assert flags(model) == before


def test_visit_takes_its_hook_off_after_an_error():
    model = weights(ConvNet())
    with pytest.raises(KeyError), visit(model, Site("conv1")):
        raise KeyError
    assert not model.conv1._forward_hooks
    assert not model.conv1._forward_pre_hooks


def test_device_of_a_model_without_parameters_is_the_default():
    assert device_of(nn.ReLU(), torch.device("meta")) == torch.device("meta")
    assert device_of(nn.BatchNorm1d(2, affine=False), torch.device("meta")) == torch.device("cpu")
