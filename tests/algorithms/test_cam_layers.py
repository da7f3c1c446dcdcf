"""Class activation maps at the layer itself: without positions, of several tensors, channel by channel."""

from __future__ import annotations

import captum.attr as c
import pytest
import torch
from torch import Tensor, nn

from tests.models_for_tests import ReluNet, numbers, weights
from xbench import algorithms as a
from xbench import attribute, measure
from xbench.algorithms import NotApplicable
from xbench.metrics import Infidelity

N, TARGET = 4, [0, 3, 1, 2]
X, TARGETS = numbers(N, 2, 6, 6), torch.tensor(TARGET)
pytestmark = pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU:UserWarning")


class Streams(nn.Module):
    """(n, 2, 6, 6) -> 4 classes through a layer of two tensors, images and numbers, or two images."""

    def __init__(self, *, alike: bool) -> None:
        super().__init__()
        self.both = Both(alike)
        self.out = nn.Linear(3 * 16 + (2 * 36 if alike else 5), 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([t.flatten(1).tanh() for t in self.both(x)], 1))


class Both(nn.Module):
    def __init__(self, alike: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.other = nn.Conv2d(2, 2, 3, padding=1) if alike else nn.Sequential(nn.Flatten(), nn.Linear(72, 5))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x), self.other(x)


def same(ours: object, wanted: object) -> None:
    torch.testing.assert_close(ours, wanted, rtol=1e-10, atol=1e-12)


def inside(model: nn.Module, layer: str) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Activations and gradients at a layer, by hooks."""
    seen: list[Tensor | tuple[Tensor, ...]] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _a, out: seen.append(out))
    value = model(X)[torch.arange(N), TARGETS].sum()
    handle.remove()
    levels = seen[0] if isinstance(seen[0], tuple) else (seen[0],)
    return tuple(t.detach() for t in levels), torch.autograd.grad(value, levels)


@pytest.mark.parametrize("layer", ["conv1", "relu2", "hidden", "out"])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("summed", [True, False])
def test_grad_cam_at_its_own_layer_is_captums(layer: str, positive: bool, summed: bool) -> None:
    """Also on linear layers; one value for all channels where Captum gives it once."""
    model = weights(ReluNet(), scale=2)
    theirs = c.LayerGradCam(model, model.get_submodule(layer)).attribute(
        X, TARGETS, relu_attributions=positive, attr_dim_summation=summed
    )
    method = a.GradCam(layer, relu_attributions=positive, attr_dim_summation=summed)
    ours = attribute(model, X, method, target=TARGET, layer=layer)
    assert isinstance(ours, Tensor)
    assert float(ours.abs().max()) > 1e-3
    same(ours, theirs.expand_as(ours).detach())


@pytest.mark.parametrize("summed", [True, False])
def test_grad_cam_of_a_layer_with_several_tensors_is_captums(summed: bool) -> None:
    model = weights(Streams(alike=False))
    theirs = c.LayerGradCam(model, model.both).attribute(X, TARGETS, attr_dim_summation=summed)
    method = a.GradCam("both", relu_attributions=False, attr_dim_summation=summed, channels="first")
    ours = attribute(model, X, method, target=TARGET, layer="both")
    assert isinstance(ours, tuple)
    same(ours, tuple(t.expand_as(o).detach() for t, o in zip(theirs, ours, strict=True)))


def plus_plus(level: Tensor, slope: Tensor) -> Tensor:
    """Equation 19 and 10 at one place."""
    g = slope
    return (level * torch.where(g == 0, 0, g**2 / (2 * g**2 + level * g**3)) * g.relu()).sum(1)


@pytest.mark.parametrize(
    ("method", "formula"),
    [
        (a.HiResCam, lambda level, slope: (level * slope).sum(1)),
        (a.LayerCam, lambda level, slope: (level * slope.relu()).sum(1)),
        (a.GradCamPlusPlus, plus_plus),
    ],
)
def test_the_family_without_positions(method: type, formula) -> None:
    model = weights(ReluNet(), scale=2)
    (level,), (slope,) = inside(model, "hidden")
    ours = attribute(model, X, method("hidden", relu_attributions=False), target=TARGET, layer="hidden")
    same(ours, formula(level, slope)[:, None].expand_as(level))


def test_ablation_cam_of_several_tensors() -> None:
    model = weights(Streams(alike=False))
    levels, _ = inside(model, "both")
    full = model(X)[torch.arange(N), TARGETS]
    wanted = []
    for t, level in enumerate(levels):
        total = torch.zeros_like(level[:, 0])
        for k in range(level.shape[1]):
            changed = [v.clone() for v in levels]
            changed[t][:, k] = 0
            without = model.out(torch.cat([v.flatten(1).tanh() for v in changed], 1))[torch.arange(N), TARGETS]
            share = (full - without) / full.abs()
            total += share.reshape(N, *[1] * (total.dim() - 1)) * level[:, k]
        wanted.append(total[:, None].expand_as(level).detach())
    method = a.AblationCam("both", relu_attributions=False, channels="first")
    same(attribute(model, X, method, target=TARGET, layer="both"), tuple(wanted))


def test_on_the_samples_the_maps_of_several_tensors_are_added() -> None:
    model = weights(Streams(alike=True))
    levels, slopes = inside(model, "both")
    cams = [(g.mean((2, 3), keepdim=True) * v).sum(1, keepdim=True) for g, v in zip(slopes, levels, strict=True)]
    large = torch.nn.functional.interpolate(cams[0], (6, 6), mode="bilinear", align_corners=False)
    ours = attribute(model, X, a.GradCam("both", relu_attributions=False), target=TARGET)
    same(ours, (large + cams[1]).expand_as(X))


def test_what_cannot_be_put_onto_the_samples_is_said() -> None:
    model = weights(ReluNet())
    with pytest.raises(NotApplicable, match=r"needs a layer with channels and positions: hidden .*layer='hidden'"):
        attribute(model, X, a.GradCam("hidden"), target=TARGET)
    with pytest.raises(ValueError, match=r"attr_dim_summation=False .* conv1, .*layer='conv1'"):
        attribute(model, X, a.GradCam("conv1", attr_dim_summation=False), target=TARGET)
    with pytest.raises(NotApplicable, match="needs one tensor of channels with positions, as masks: hidden gives"):
        attribute(model, X, a.ScoreCam("hidden"), target=TARGET, layer="hidden")


@pytest.mark.parametrize("summed", [True, False])
def test_the_density_at_the_layer_adds_up_to_the_map(summed: bool) -> None:
    """Infidelity of a global map needs it: what a map gives to every channel counts once."""
    model = weights(ReluNet(), scale=2)
    method = a.GradCam("hidden", relu_attributions=False, attr_dim_summation=summed)
    maps = attribute(model, X, method, target=TARGET, layer="hidden")
    each = maps / 6 if summed else maps
    score, wanted = (
        measure(model, X, given, Infidelity(20), target=TARGET, layer="hidden") for given in ((maps, method), each)
    )
    same(score, wanted)
