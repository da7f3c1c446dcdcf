"""LRP on convolutional networks: the same relevance as zennit and Captum where they are right, and its sums."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import zennit.composites as zc
import zennit.rules as zr
from captum.attr import LRP as CaptumLRP
from captum.attr._utils import lrp_rules
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.models.vgg import cfgs, make_layers
from zennit.attribution import Gradient
from zennit.layer import Sum
from zennit.torchvision import ResNetCanonizer, VGGCanonizer
from zennit.types import Activation, AvgPool, BatchNorm, Linear

from tests.models_for_tests import ReluNet, numbers, weights
from tests.rules.models import vision_model
from xbench import attribute
from xbench.algorithms import LRP, InputXGradient
from xbench.rules import lrp

LOW, HIGH = (-3.0, -4.0, -5.0), (3.0, 4.5, 5.0)


def relevance(model: nn.Module, x: Tensor, composite: lrp.Composite, **options: Any) -> Tensor:
    maps = attribute(model, x, LRP(composite), **{"target": 1, **options})
    assert isinstance(maps, Tensor)
    return maps


def of_zennit(model: nn.Module, x: Tensor, composite: Any) -> Tensor:
    with Gradient(model=model, composite=composite) as attributor:
        _, maps = attributor(x.clone(), lambda output: output * F.one_hot(torch.tensor([1]), output.shape[1]))
    return maps.detach()


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-9) -> None:
    assert theirs.abs().max() > 1e-6, "no relevance: nothing is compared"
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * float(theirs.abs().max()))


def exact_norms(model: nn.Module) -> nn.Module:
    """zennit leaves the merged batch norm behind with its eps, which divides by sqrt(1 + eps) once more."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.eps = 1e-14
    return model


def sequential() -> nn.Module:
    return exact_norms(
        weights(
            nn.Sequential(
                nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(3, 2),
                nn.Conv2d(5, 6, 3, stride=2, groups=1, bias=False), nn.ReLU(inplace=True), nn.AvgPool2d(2),
                nn.Flatten(), nn.Linear(6, 7), nn.BatchNorm1d(7), nn.ELU(), nn.Linear(7, 3),
            )
        )
    )  # fmt: skip


def mixed() -> nn.Module:
    """Forms of convolution, and activations of both signs."""
    return weights(
        nn.Sequential(
            nn.Conv1d(4, 6, 3, padding=2, dilation=2, groups=2), nn.Tanh(), nn.ConvTranspose1d(6, 4, 3, stride=2),
            nn.SiLU(), nn.AdaptiveAvgPool1d(5), nn.Flatten(), nn.Linear(20, 6), nn.GELU(), nn.Linear(6, 3),
        )
    )  # fmt: skip


BOX = (torch.tensor(-3.0, dtype=torch.float64), torch.tensor(4.0, dtype=torch.float64))
RULES = {
    "epsilon": (lrp.Epsilon(), zr.Epsilon()),
    "epsilon 0.25": (lrp.Epsilon(0.25), zr.Epsilon(0.25)),
    "gamma": (lrp.Gamma(), zr.Gamma()),
    "gamma 2": (lrp.Gamma(2.0, 1e-3), zr.Gamma(2.0, 1e-3)),
    "z-plus": (lrp.ZPlus(), zr.ZPlus()),
    "alpha 2, beta 1": (lrp.AlphaBeta(), zr.AlphaBeta()),
    "alpha 1, beta 0": (lrp.AlphaBeta(1.0, 0.0), zr.AlphaBeta(1.0, 0.0)),
    "alpha 3.5, beta 2.5": (lrp.AlphaBeta(3.5, 2.5, 1e-2), zr.AlphaBeta(3.5, 2.5, 1e-2)),
    "z-box": (lrp.ZBox(-3.0, 4.0), zr.ZBox(*BOX)),
    "w-square": (lrp.WSquare(), zr.WSquare()),
    "flat": (lrp.Flat(), zr.Flat()),
    "epsilon, no bias": (lrp.Epsilon(bias=False), zr.Epsilon(zero_params="bias")),
    "gamma, no bias": (lrp.Gamma(bias=False), zr.Gamma(zero_params="bias")),
    "z-plus, no bias": (lrp.ZPlus(bias=False), zr.ZPlus(zero_params="bias")),
    "alpha-beta, no bias": (lrp.AlphaBeta(bias=False), zr.AlphaBeta(zero_params="bias")),
    "w-square, no bias": (lrp.WSquare(bias=False), zr.WSquare(zero_params="bias")),
}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_agrees_with_zennit(name: str) -> None:
    ours, theirs = RULES[name]
    model, x = mixed(), numbers(3, 4, 9)
    kinds = [(Activation, zr.Pass()), (Sum, zr.Norm()), (AvgPool, zr.Norm()), (BatchNorm, zr.Pass()), (Linear, theirs)]
    expected = of_zennit(model, x, zc.LayerMapComposite(kinds))
    close(relevance(model, x, lrp.Composite(convolution=ours, dense=ours)), expected)


def _bounds() -> dict[str, Tensor]:
    return {n: torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for n, v in (("low", LOW), ("high", HIGH))}


COMPOSITES = {
    "plus": (lrp.epsilon_plus(0.1), lambda c: zc.EpsilonPlus(0.1, canonizers=c)),
    "plus-flat": (lrp.epsilon_plus_flat(), lambda c: zc.EpsilonPlusFlat(canonizers=c)),
    "alpha2-beta1": (lrp.epsilon_alpha2_beta1(), lambda c: zc.EpsilonAlpha2Beta1(canonizers=c)),
    "alpha2-beta1-flat": (lrp.epsilon_alpha2_beta1_flat(), lambda c: zc.EpsilonAlpha2Beta1Flat(canonizers=c)),
    "gamma-box": (lrp.epsilon_gamma_box(LOW, HIGH), lambda c: zc.EpsilonGammaBox(**_bounds(), canonizers=c)),
}


def _vgg(*, batch_norm: bool = True) -> nn.Module:
    """VGG-11 of torchvision with an eighth of the channels."""
    narrow = [size if isinstance(size, str) else size // 8 for size in cfgs["A"]]
    head = (nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 8), nn.ReLU(True), nn.Linear(8, 3))
    return exact_norms(weights(nn.Sequential(make_layers(narrow, batch_norm), *head), scale=1.4))


@cache
def _made(make: Callable[[], nn.Module]) -> nn.Module:
    return make()


def _resnet() -> nn.Module:
    return exact_norms(weights(resnet18(num_classes=3)))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize(
    ("make", "canonizer", "size"),
    [(sequential, VGGCanonizer, 14), (_vgg, VGGCanonizer, 32), (_resnet, ResNetCanonizer, 32)],
    ids=["sequential", "vgg11_bn", "resnet18"],
)
def test_every_composite_agrees_with_zennit(name: str, make: Any, canonizer: Any, size: int) -> None:
    ours, theirs = COMPOSITES[name]
    model, x = _made(make), numbers(2, 3, size, size)
    close(relevance(model, x, ours), of_zennit(model, x, theirs([canonizer()])), 1e-8)


def test_a_dense_network_has_no_box_as_in_zennit() -> None:
    model, x = weights(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))), numbers(3, 4)
    close(relevance(model, x, lrp.epsilon_gamma_box()), of_zennit(model, x, zc.EpsilonGammaBox(*BOX)))


CAPTUM = {
    "epsilon": (lrp.Epsilon(1e-9), lambda: lrp_rules.EpsilonRule(1e-9)),
    "gamma": (lrp.Gamma(0.25, 1e-9), lambda: lrp_rules.GammaRule(0.25)),
    "alpha1-beta0": (lrp.AlphaBeta(1.0, 0.0, 1e-9), lambda: lrp_rules.Alpha1_Beta0_Rule()),
}


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
@pytest.mark.parametrize("name", CAPTUM)
def test_agrees_with_captum_where_inputs_are_positive(name: str) -> None:
    """Captum's gamma and alpha-beta change the weights only, whatever the sign of inputs and outputs, and keep the
    bias: they are right after a ReLU and without bias. Its last layer takes epsilon here."""
    ours, theirs = CAPTUM[name]
    model, x = weights(_ForCaptum(), scale=2), numbers(4, 2, 8, 8).abs()
    for layer in (model.conv1, model.conv2):
        layer.rule = theirs()
    composite = lrp.Composite(convolution=ours, dense=lrp.Epsilon(1e-9), stabilizer=1e-9)
    expected = CaptumLRP(model).attribute(x.clone().requires_grad_(), target=1).detach()
    close(relevance(model, x, composite), expected, 1e-6)  # each stabilises in other places


class _ForCaptum(nn.Module):
    """Captum takes no Flatten module and no module twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1, self.pool1 = nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2)
        self.conv2, self.relu2, self.pool2 = nn.Conv2d(4, 5, 2, bias=False), nn.ReLU(), nn.AvgPool2d(2)
        self.out = nn.Linear(5, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.relu1(self.conv1(x)))
        return self.out(self.pool2(self.relu2(self.conv2(x))).flatten(1))


def unbiased(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if name.endswith(("bias", "running_mean")):
                tensor.zero_()
    return model


TINY = 1e-13
CONSERVING = {
    "epsilon": lrp.epsilon_only(TINY, TINY),
    "plus": lrp.epsilon_plus(TINY, TINY),
    "plus-flat": lrp.epsilon_plus_flat(TINY, TINY),
    "alpha2-beta1-flat": lrp.epsilon_alpha2_beta1_flat(TINY, TINY),
    "gamma-box": lrp.epsilon_gamma_box(None, None, TINY, 0.25, TINY),
    "w-square": lrp.Composite(
        convolution=lrp.ZPlus(TINY), dense=lrp.Epsilon(TINY), first_convolution=lrp.WSquare(TINY), stabilizer=TINY
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONSERVING)
@pytest.mark.parametrize("network", ["resnet18", "densenet121", "vgg11"])
def test_without_biases_relevance_is_conserved(network: str, name: str) -> None:
    conserved(network, CONSERVING[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("mobilenet_v2", "epsilon"), ("mobilenet_v2", "gamma-box"), ("mobilenet_v3_small", "gamma-box"),
        ("efficientnet_b0", "gamma-box"),
    ],
)  # fmt: skip
def test_gates_and_linear_bottlenecks_conserve(network: str, name: str) -> None:
    """z-plus and alpha-beta lose what outputs without positive contributions have, as those of a bottleneck do."""
    conserved(network, CONSERVING[name])


@cache
def _unbiased(network: str) -> nn.Module:
    return unbiased(_vgg(batch_norm=False) if network == "vgg11" else vision_model(network))


def conserved(network: str, composite: lrp.Composite) -> None:
    model, x = _unbiased(network), numbers(1, 3, 40, 40)
    assert abs(model(x)[0, 1]) > 1e-3
    torch.testing.assert_close(relevance(model, x, composite).sum(), model(x)[0, 1], rtol=1e-8, atol=0)


def test_lrp_0_is_input_times_gradient_on_a_relu_network_without_biases() -> None:
    model, x = unbiased(weights(ReluNet())), numbers(4, 2, 6, 6)
    expected = attribute(model, x, InputXGradient(), target=1)
    assert isinstance(expected, Tensor)
    close(relevance(model, x, lrp.epsilon_only(0.0, 0.0)), expected)
    close(relevance(model, x, lrp.epsilon_only(1e-12, 1e-12)), expected)
