"""Class activation maps against loops straight from their papers, and where they are put."""

import captum.attr as c
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models import densenet121, googlenet, resnet18

from tests.models_for_tests import ConvNet, ReluNet, TextNet, TwoInputs, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.algorithms.parts.cam import ActivationMap
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

N, TARGET = 6, [0, 3, 1, 2, 0, 2]
pytestmark = pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU:UserWarning")


def net() -> nn.Module:
    return weights(ReluNet(), scale=2)


def images() -> Tensor:
    return numbers(N, 2, 6, 6)


def inside(model: nn.Module, x: Tensor, layer: str, target: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Output, activations and gradients at a layer, by hooks."""
    seen: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _a, out: seen.append(out))
    value = model(x.clone().requires_grad_())[torch.arange(len(x)), torch.tensor(target)]
    handle.remove()
    (slopes,) = torch.autograd.grad(value.sum(), seen[0])
    return value.detach(), seen[0].detach(), slopes


def grad_cam(_model, _x, levels, slopes, _layer, _target):
    return sum(slopes[:, k].mean((1, 2))[:, None, None] * levels[:, k] for k in range(levels.shape[1]))


def grad_cam_plusplus(_model, _x, levels, slopes, _layer, _target):
    """Equation 19, with sums over all positions (a, b), then equation 10."""
    total = torch.zeros_like(levels[:, 0])
    for n in range(levels.shape[0]):
        for k in range(levels.shape[1]):
            weight = 0.0
            for i in range(levels.shape[2]):
                for j in range(levels.shape[3]):
                    g = slopes[n, k, i, j].item()
                    if g != 0:
                        alpha = g**2 / (2 * g**2 + levels[n, k].sum().item() * g**3)
                        weight += alpha * max(g, 0.0)
            total[n] += weight * levels[n, k]
    return total


def hires_cam(_model, _x, levels, slopes, _layer, _target):
    return (levels * slopes).sum(1)


def layer_cam(_model, _x, levels, slopes, _layer, _target):
    return (levels * slopes.clamp(min=0)).sum(1)


def score_cam(model, x, levels, _slopes, _layer, target):
    """Algorithm 1 with a black baseline."""
    scores = []
    for k in range(levels.shape[1]):
        mask = interpolate(levels[:, k : k + 1], x.shape[2:], mode="bilinear", align_corners=False)
        low, high = mask.flatten(1).min(1).values, mask.flatten(1).max(1).values
        mask = (mask - low[:, None, None, None]) / (high - low)[:, None, None, None]
        with torch.no_grad():
            shown = model(x * mask) - model(torch.zeros_like(x))
        scores.append(shown[torch.arange(len(x)), torch.tensor(target)])
    share = torch.stack(scores, 1).softmax(1)
    return sum(share[:, k, None, None] * levels[:, k] for k in range(levels.shape[1]))


def ablation_cam(model, x, levels, _slopes, layer, target):
    rows = torch.arange(len(x)), torch.tensor(target)
    total = torch.zeros_like(levels[:, 0])
    with torch.no_grad():
        full = model(x)[rows]
        for k in range(levels.shape[1]):

            def without(_m, _a, out, k=k):
                out = out.clone()
                out[:, k] = 0
                return out

            handle = model.get_submodule(layer).register_forward_hook(without)
            loss = full - model(x)[rows]
            handle.remove()
            total += (loss / full.abs())[:, None, None] * levels[:, k]
    return total


BY_HAND = {
    a.GradCam: grad_cam,
    a.GradCamPlusPlus: grad_cam_plusplus,
    a.HiResCam: hires_cam,
    a.LayerCam: layer_cam,
    a.ScoreCam: score_cam,
    a.AblationCam: ablation_cam,
}


@pytest.mark.parametrize("layer", ["conv1", "conv2", None])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("method", BY_HAND)
def test_maps_are_the_papers_formulas(method, positive, layer):
    model, x = net(), images()
    _, levels, slopes = inside(model, x, layer or "relu2", TARGET)  # behind the last convolution unless named
    cam = BY_HAND[method](model, x, levels, slopes, layer or "relu2", TARGET)
    cam = cam.relu() if positive else cam
    assert cam.abs().amax() > 1e-3
    large = interpolate(cam[:, None], (6, 6), mode="bilinear", align_corners=False)
    maps = attribute(model, x, method(layer, relu_attributions=positive), target=TARGET)
    torch.testing.assert_close(maps, large.expand_as(x))


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_grad_cam_equals_captums(layer, positive):
    model, x = net(), images()
    theirs = c.LayerGradCam(model, model.get_submodule(layer)).attribute(x, TARGET, relu_attributions=positive)
    theirs = c.LayerAttribution.interpolate(theirs, (6, 6), interpolate_mode="nearest")
    maps = attribute(model, x, a.GradCam(layer, None, "nearest", positive), target=TARGET)
    torch.testing.assert_close(maps, theirs.expand_as(x).detach())
    assert maps.abs().max() > 1e-3


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_guided_grad_cam_equals_captums(layer):
    model, x = net(), images()
    theirs = c.GuidedGradCam(model, model.get_submodule(layer)).attribute(x.clone().requires_grad_(), TARGET)
    maps = attribute(model, x, a.GuidedGradCam(layer), target=TARGET)
    torch.testing.assert_close(maps, theirs.detach())
    assert maps.abs().max() > 1e-3


class Branches(nn.Module):
    """(n, 1, 6, 6) -> 3 classes: two branches side by side, a residual step behind them, a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3)
        self.left, self.right = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 3, padding=1)
        self.both = nn.Identity()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = self.both(torch.cat([x, x], 1) + torch.cat([self.left(x), self.right(x)], 1).relu())
        return self.out(self.pool(x).flatten(1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "x", "layer"),
    [
        (Branches(), numbers(2, 1, 6, 6), "both"),
        (ConvNet(), numbers(2, 1, 6, 6), "smooth2"),
        (nn.Sequential(nn.Conv1d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(9, 2)), numbers(2, 2, 4), "1"),
        (resnet18(num_classes=3), numbers(2, 3, 40, 40), "layer4"),
        (densenet121(num_classes=3), numbers(2, 3, 64, 64), "features"),
        (googlenet(num_classes=3, aux_logits=False, init_weights=False), numbers(2, 3, 64, 64), "inception5b"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_layer_unless_named_is_the_last_that_sees_all_channels(model, x, layer):
    explainer = Explainer(Request(weights(model), x, target=1))
    assert str(a.GradCam().site(explainer.case(distribution=False))) == layer
    assert explainer.missing(a.GradCam()) is None


def test_where_attention_mixes_the_positions_a_layer_is_to_be_named():
    class Vision(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cut, self.attention = nn.Conv2d(1, 4, 2, stride=2), nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            patches = self.cut(x).flatten(2).transpose(1, 2)
            return self.attention(patches, patches, patches)[0].mean(1)

    explainer = Explainer(Request(weights(Vision()), numbers(2, 1, 4, 4), target=1))
    assert "there is attention, so name a `layer`" in str(explainer.missing(a.GradCam()))
    assert explainer.missing(a.GradCam("cut")) is None


def test_guided_grad_cam_where_captum_gives_nothing():
    """Where the layer's positions cannot be put onto an input, Captum gives an empty tensor; ours says why."""
    model, x = mlp(4, 6, 3), numbers(N, 4)
    unhooked = nn.Sequential(nn.Unflatten(1, (4, 1)), nn.Linear(1, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    with pytest.warns(UserWarning, match="Couldn't appropriately interpolate|did not already require|ReLU"):
        theirs = c.GuidedGradCam(weights(unhooked), unhooked[1]).attribute(x, 1)
    assert theirs.numel() == 0
    with pytest.raises(a.NotApplicable, match=r"needs a layer with channels and positions: 0 gives \(6,\)"):
        attribute(model, x, a.GuidedGradCam("0"), target=1)


def test_hires_cam_sums_to_the_output_behind_a_linear_layer():
    """Draelos, Carin 2020: then it shows exactly the places that made the output."""

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 3)
            self.out = nn.Linear(48, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.conv(x).relu().flatten(1))

    model, x = weights(Last()), images()
    maps = attribute(model, x, a.HiResCam(interpolate_mode="nearest", layer="conv"), target=TARGET)
    value, levels, slopes = inside(model, x, "conv", TARGET)
    torch.testing.assert_close((levels * slopes).flatten(1).sum(1), value - model.out.bias[TARGET].detach())
    wanted = interpolate((levels * slopes).sum(1, keepdim=True), (6, 6), mode="nearest").expand_as(x)
    torch.testing.assert_close(maps, wanted)


def test_a_channel_that_is_the_same_everywhere_is_no_mask():
    """At a single position every channel is: all masks are the baseline, and rounding is no reason to show more."""
    model, x = weights(nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(3, 2))), numbers(N, 1, 3, 3) / 3
    levels = model[0](x).detach()
    maps = attribute(model, x, a.ScoreCam(relu_attributions=False), target=1)
    torch.testing.assert_close(maps, levels.mean(1, keepdim=True).expand_as(x))  # equal scores, equal weights


def test_each_position_s_share_is_divided_among_its_channels():
    explainer = Explainer(Request(net(), images(), target=TARGET))
    case, maps = explainer.case(distribution=False), explainer.attribute(a.GradCam())
    density = a.GradCam().density(case, maps)
    torch.testing.assert_close(density.reshape(N, 2, 6, 6).sum(1), maps.reshape(N, 2, 6, 6)[:, 0])


def test_tokens_and_embeddings_get_the_map_of_their_position():
    model = weights(TextNet(), scale=2)
    ids = torch.randint(1, 20, (N, 7), generator=torch.Generator().manual_seed(4))
    mask = torch.ones(N, 7, dtype=torch.float64)
    method = a.GradCam(relu_attributions=False)
    tokens = attribute(model, ids, method, target=1, extra=(mask,))
    embedded = attribute(model, ids, method, target=1, extra=(mask,), layer="embedding")
    assert tokens.shape == (N, 7)
    assert tokens.abs().min() > 1e-6
    torch.testing.assert_close(embedded, tokens[:, :, None].expand(-1, -1, 4))


class Patches(nn.Module):
    """A transformer-like image model: a class token and a grid of patches, (n, 1 + 6, 4), then (n, 2, 3, 4) as Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(1, 4, 2, stride=2)
        self.block = nn.Linear(4, 4)
        self.grid = nn.Identity()
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.cut(x).flatten(2).transpose(1, 2)
        hidden = self.block(torch.cat([patches.mean(1, keepdim=True), patches], 1)).tanh()
        grid = self.grid(hidden[:, 1:].unflatten(1, (2, 3)))
        return self.out(torch.cat([hidden[:, 0], (grid**2).mean((1, 2))], 1))


@pytest.mark.parametrize(("layer", "cut"), [("block", slice(1, 7)), ("grid", slice(0, 6))])
def test_patches_go_back_onto_their_image(layer, cut):
    model, x = weights(Patches()), numbers(N, 1, 4, 6)
    _, levels, slopes = inside(model, x, layer, [2] * N)
    levels, slopes = levels.reshape(N, -1, 4), slopes.reshape(N, -1, 4)
    cam = (levels * slopes.mean(1, keepdim=True)).sum(2)[:, cut].reshape(N, 1, 2, 3)
    maps = attribute(model, x, a.GradCam(layer, interpolate_mode="nearest", relu_attributions=False), target=2)
    torch.testing.assert_close(maps, interpolate(cam, (4, 6), mode="nearest"))


def test_a_video_and_a_wave_have_positions_too():
    model = weights(nn.Sequential(nn.Conv3d(1, 2, 2), nn.Flatten(), nn.Linear(16, 2)))
    assert attribute(model, numbers(N, 1, 3, 3, 3), a.GradCam(relu_attributions=False), target=0).std() > 0
    model = weights(nn.Sequential(nn.Conv1d(1, 2, 4, stride=2), nn.Flatten(), nn.Linear(8, 2)))
    wave = attribute(model, numbers(N, 1, 10), a.GradCam(relu_attributions=False), target=0)
    assert wave.shape == (N, 1, 10)
    assert all(len(row.unique()) > 3 for row in wave)


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (mlp(4, 6, 3), numbers(N, 4), "needs a convolutional layer: the model has none"),
        (weights(TwoInputs()), (numbers(N, 3), numbers(N, 2, 2)), "needs a convolutional layer: the model has none"),
        (lambda x: x.sum(1), numbers(N, 4), "needs a module whose operations can be seen: the model is a plain func"),
    ],
)
@pytest.mark.parametrize("method", [*BY_HAND, a.GuidedGradCam])
def test_what_they_need(method, model, x, message):
    with pytest.raises(a.NotApplicable, match=message):
        attribute(model, x, method(), target=1)


def test_a_neuron_before_the_layer_has_no_map():
    with pytest.raises(RuntimeError, match="no gradient"):
        attribute(weights(ConvNet()), numbers(N, 1, 6, 6), a.GradCam(), neuron=("conv1", (0, 0, 0)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"interpolate_mode": "cubic"}, "interpolate_mode: expected one of linear, nearest, got 'cubic'"),
        ({"channels": "middle"}, "channels: expected first, last or None, got 'middle'"),
        ({"layer": "conv2@0"}, "expected LAYER"),
    ],
)
def test_parameters_are_checked(given, message):
    with pytest.raises(ValueError, match=message):
        a.GradCam(**given)


def test_a_layer_that_is_not_there():
    with pytest.raises(ValueError, match="has no layer 'conv3'; did you mean conv2"):
        attribute(net(), images(), a.GradCam("conv3"), target=1)


def test_every_class_activation_map_has_a_reference_here():
    found = {cls for cls in vars(a).values() if isinstance(cls, type) and issubclass(cls, ActivationMap)}
    assert found == {*BY_HAND, a.GuidedGradCam}
