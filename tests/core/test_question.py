"""What can be asked beyond one target of a module called with positions: several targets at once, keywords, plain
functions, maps that can be differentiated further."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models_for_tests import ConvNet, numbers, weights
from xbench import algorithms as a
from xbench import attribute, attribute_with_notes, measure
from xbench.core.readouts import TargetError
from xbench.metrics import Completeness

N = 4
TARGET = [0, 2, 1, 1]
SOME = [a.Saliency(), a.IntegratedGradients(8), a.FeatureAblation(), a.GradientShap(3), a.DeepLift()]


def name(method: a.Algorithm) -> str:
    return type(method).__name__


@pytest.mark.slow
@pytest.mark.parametrize("method", SOME, ids=name)
@pytest.mark.parametrize("layer", [None, "conv2"])
def test_several_targets_at_once(method, layer):
    model, x = weights(ConvNet()), numbers(N, 1, 6, 6)
    maps = attribute(model, x, method, targets=[0, TARGET, 2], layer=layer)
    each = [attribute(model, x, method, target=target, layer=layer) for target in (0, TARGET, 2)]
    torch.testing.assert_close(maps, torch.stack(each, dim=1))  # each call finds its own rows, so up to rounding


def test_what_is_reported_of_several_targets():
    model, x = weights(ConvNet()), numbers(N, 1, 6, 6)
    method = a.IntegratedGradients(2, tol=1e-4)
    _, notes = attribute_with_notes(model, x, method, targets=[0, TARGET])
    for place, target in enumerate((0, TARGET)):
        _, alone = attribute_with_notes(model, x, method, target=target)
        assert alone.keys() == notes.keys() == {"n_steps", "completeness_error"}
        assert all(torch.equal(notes[name][:, place], alone[name]) for name in notes)
    assert len(notes["n_steps"].unique()) > 1


def test_several_targets_of_several_inputs_and_of_features():
    class Sum(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return torch.stack([x.sum(1) * k + y.sum((1, 2)) for k in range(3)], 1)

    x, y = numbers(N, 3), numbers(N, 2, 2, seed=2)
    maps = attribute(Sum(), (x, y), a.InputXGradient(), targets=[2, 0])
    torch.testing.assert_close(maps[0], torch.stack([2 * x, 0 * x], 1))
    torch.testing.assert_close(maps[1], torch.stack([y, y], 1))
    values = attribute(Sum(), (x, y), a.KernelShap(200, return_input_shape=False), targets=[2, 0])
    assert values.shape == (N, 2, 7)


@pytest.mark.parametrize("wrong", [{"targets": []}, {"targets": [1], "target": 0}])
def test_targets_stand_alone(wrong):
    with pytest.raises(ValueError, match="targets: give at least one, and no `target` beside them"):
        attribute(weights(ConvNet()), numbers(N, 1, 6, 6), a.Saliency(), **wrong)


class Keywords(nn.Module):
    """sum(scale * x * mask) + offset; `x` and what follows only by keyword."""

    def forward(self, *, x: Tensor, mask: Tensor, scale: float = 1.0) -> Tensor:
        return (scale * x * mask).sum(1, keepdim=True)


@pytest.mark.parametrize("rows", [1, 3, None])
@pytest.mark.parametrize("method", [a.InputXGradient(), a.FeatureAblation(), a.IntegratedGradients(5)], ids=name)
def test_inputs_by_keyword(method, rows):
    x, mask = numbers(N, 3), torch.rand(N, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    maps = attribute(Keywords(), {"x": x}, method, kwargs={"mask": mask, "scale": 2.0}, target=0, rows=rows)
    assert isinstance(maps, Mapping)
    torch.testing.assert_close(maps, {"x": 2 * x * mask})


def test_scores_with_keywords():
    x, mask = numbers(N, 3), torch.ones(N, 3, dtype=torch.float64)
    scores = measure(Keywords(), {"x": x}, a.IntegratedGradients(5), Completeness(), target=0, kwargs={"mask": mask})
    assert scores.max() < 1e-12


def test_what_belongs_to_inputs_by_keyword_may_be_named_too():
    """In any order: baselines, groups of features, maps."""
    x, mask = numbers(N, 3), numbers(N, 3, seed=2)
    groups = {"mask": torch.tensor([[3, 4, 5]]), "x": torch.tensor([[0, 0, 1]])}
    maps = attribute(
        Keywords(), {"x": x, "mask": mask}, a.FeatureAblation(), baselines={"mask": 0.0, "x": 1.0}, features=groups
    )
    lost = (x - 1) * mask
    both = lost[:, :2].sum(1, keepdim=True).expand(-1, 2)
    torch.testing.assert_close(maps, {"x": torch.cat([both, lost[:, 2:]], 1), "mask": x * mask})
    scores = [
        measure(Keywords(), {"x": x, "mask": mask}, given, Completeness())
        for given in (maps, {"mask": maps["mask"], "x": maps["x"]}, (maps["x"], maps["mask"]))
    ]
    assert torch.equal(scores[0], scores[2])
    assert torch.equal(scores[1], scores[2])
    with pytest.raises(ValueError, match="baselines: expected the names of the inputs, .'x', 'mask'.*got .'x'"):
        attribute(Keywords(), {"x": x, "mask": mask}, a.FeatureAblation(), baselines={"x": 0.0})


def test_keywords_reach_a_layer():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 2)

        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return (self.first(x) * scale[:, None]).sum(1, keepdim=True)

    model, x, scale = weights(Net()), numbers(N, 3), numbers(N, seed=3)
    maps = attribute(model, x, a.InputXGradient(), target=0, layer="first", kwargs={"scale": scale})
    torch.testing.assert_close(maps, model.first(x).detach() * scale[:, None])


def test_a_function_is_a_model_too():
    x = numbers(N, 3)
    maps = attribute(lambda t: (t**2).sum(1), x, a.IntegratedGradients(5))
    torch.testing.assert_close(maps, x**2)


def test_a_function_cannot_be_looked_into():
    with pytest.raises(ValueError, match=r"DeepLIFT needs a module .*: the model is a plain function"):
        attribute(lambda t: (t**2).sum(1), numbers(N, 3), a.DeepLift())
    with pytest.raises(TypeError, match="model: expected a module or a function of tensors, got int"):
        attribute(3, numbers(N, 3), a.Saliency())


# Differentiable maps


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [a.Saliency(abs=False), a.InputXGradient(), a.IntegratedGradients(6), a.GradientShap(3), a.FeatureAblation(),
     a.NoiseTunnel(a.InputXGradient(), nt_samples=2), a.GradCam("conv2", None, "linear", False),
     a.AblationCam("conv2", None, "linear", False), a.BlurIG(4), a.IDGI(4), a.Conductance(4)],
    ids=name,
)  # fmt: skip
@pytest.mark.parametrize("layer", [None, "conv1"])
def test_maps_can_be_differentiated_by_the_parameters_and_the_inputs(method, layer):
    """Against central differences of the maps themselves."""
    model, x = weights(ConvNet()), numbers(2, 1, 6, 6).requires_grad_()
    ahead = numbers(*(2, 1, 6, 6) if layer is None else (2, 3, 6, 6), seed=5)

    def loss(create_graph: bool) -> Tensor:
        maps = attribute(model, x, method, target=[0, 2], layer=layer, create_graph=create_graph)
        assert isinstance(maps, Tensor)
        return (maps * ahead).sum()

    weight = model.conv2.weight
    by_x, by_weight = torch.autograd.grad(loss(True), [x, weight])
    assert not loss(False).requires_grad
    for tensor, gradient in ((x, by_x), (weight, by_weight)):
        direction, step = numbers(*tensor.shape, seed=6), 1e-5
        with torch.no_grad():
            tensor += step * direction
            up = loss(False)
            tensor -= 2 * step * direction
            down = loss(False)
            tensor += step * direction
        torch.testing.assert_close((gradient * direction).sum(), (up - down) / (2 * step), rtol=1e-6, atol=1e-9)


def test_a_model_can_be_trained_on_its_maps():
    """An attribution prior: the maps of one feature are driven to nothing."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    x = numbers(16, 3)
    for _ in range(60):
        maps = attribute(model, x, a.IntegratedGradients(8), target=0, create_graph=True)
        optimiser.zero_grad()
        loss = (model(x)[:, 0] - x[:, 0] - x[:, 2]).square().mean() + 10 * maps[:, 2].abs().mean()
        loss.backward()
        optimiser.step()
    shares = attribute(model, x, a.IntegratedGradients(8), target=0).abs().mean(0)
    assert shares[2] < 0.05 * shares[0]


def test_a_backward_rule_has_no_gradient_itself():
    with pytest.raises(ValueError, match="create_graph: a backward rule has no gradient itself"):
        attribute(weights(ConvNet()), numbers(N, 1, 6, 6), a.DeepLift(), target=0, create_graph=True)


# Recurrent layers


class Recurrent(nn.Module):
    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.layer = kind(3, 4, batch_first=True)
        self.out = nn.Linear(4, 2)
        self.cudnn: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.cudnn.append(torch.backends.cudnn.enabled)
        return self.out(self.layer(x)[0][:, -1])


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_layers_run_without_cudnn_which_is_switched_on_again(kind):
    """cuDNN refuses to go backward in evaluation mode; on a CPU its switch means nothing but is turned too."""
    model, x = weights(Recurrent(kind)), numbers(N, 5, 3)
    before = torch.backends.cudnn.enabled
    maps = attribute(model, x, a.IntegratedGradients(50), target=0)
    assert torch.backends.cudnn.enabled == before
    assert model.cudnn == [False] * len(model.cudnn)
    with torch.no_grad():
        difference = (model(x) - model(torch.zeros_like(x)))[:, 0]
    np.testing.assert_allclose(maps.flatten(1).sum(1), difference, rtol=1e-9)
    model.cudnn.clear()
    with pytest.raises(ValueError, match="target"):
        attribute(model, x, a.IntegratedGradients(50), target=7)
    assert torch.backends.cudnn.enabled == before


@pytest.mark.parametrize("place", [{"read": "conv2"}, {"layer": "conv2"}])
def test_activations_need_no_target(place):
    """They depend on none, so a model with several outputs is no reason to name one."""
    model, x = weights(ConvNet()), numbers(3, 1, 6, 6)
    with torch.no_grad():
        wanted = model.conv2(model.smooth1(model.norm(model.conv1(x))))
    torch.testing.assert_close(attribute(model, x, a.Activation(), **place), wanted)
    with pytest.raises(TargetError, match="name a target"):
        attribute(model, x, a.Saliency(), **place)
