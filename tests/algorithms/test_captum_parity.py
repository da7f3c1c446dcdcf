"""Values against Captum 0.9.0, in float64, on models whose classes have different weights: its primary classes.

Layers and neurons are in test_captum_parity_layers.py. Where the two differ on purpose, docs/captum.md says why and
names the test that shows who is right. A table there names the test of every attribution class of Captum.
"""

import captum.attr as c
import pytest
import torch
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import Tensor, nn

from tests.algorithms import captum_pairs
from tests.algorithms.captum_pairs import SEED, TARGET, N, draws, gradient_shap_draws, images, ours_drawn, pairs, same
from tests.models_for_tests import ReluNet, TwoInputs, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.rules.lrp import Composite, Epsilon

pytestmark = [
    pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks and attributes:UserWarning"),
    pytest.mark.filterwarnings("ignore:(?s).*You are providing multiple inputs for Lime:UserWarning"),
]
noise = captum_pairs.noise  # the fixture


# Gradients


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("target", [1, TARGET, torch.tensor(TARGET), (2,), [(i,) for i in TARGET]])
def test_saliency(absolute, target):
    model, x, _ = images()
    theirs = c.Saliency(model).attribute(x.clone(), target=target, abs=absolute)
    same(attribute(model, x, a.Saliency(abs=absolute), target=target), theirs, 1e-12)


def test_saliency_of_several_inputs_and_target_dimensions():
    class Grid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = weights(TwoInputs(), scale=2)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            out = self.inner(left, right)
            return out.unsqueeze(2) * out.unsqueeze(1)

    _, inputs, _ = pairs()
    model = Grid()
    for target in ((0, 2), [(0, 2), (1, 1), (2, 0), (2, 1)]):
        theirs = c.Saliency(model).attribute(tuple(t.clone() for t in inputs), target=target)
        same(attribute(model, inputs, a.Saliency(), target=target), theirs, 1e-12)


def test_saliency_without_target():
    model, x = mlp(5, 6, 1), numbers(N, 5)
    same(attribute(model, x, a.Saliency()), c.Saliency(model).attribute(x.clone()), 1e-12)


@pytest.mark.parametrize("make", [images, pairs])
def test_input_x_gradient(make):
    model, x, _ = make()
    theirs = c.InputXGradient(model).attribute(x, target=TARGET)
    same(attribute(model, x, a.InputXGradient(), target=TARGET), theirs, 1e-12)


@pytest.mark.parametrize("method", ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle"])
@pytest.mark.parametrize("n_steps", [2, 7])
def test_integrated_gradients(method, n_steps):
    model, x, x0 = images()
    ours = attribute(model, x, a.IntegratedGradients(n_steps, method), target=TARGET, baselines=x0)
    theirs = c.IntegratedGradients(model).attribute(x, x0, TARGET, n_steps=n_steps, method=method)
    same(ours, theirs)


def test_integrated_gradients_by_trapezoid_is_captums_with_weights_that_sum_to_one():
    model, x, x0 = images()
    ours = attribute(model, x, a.IntegratedGradients(9, "riemann_trapezoid"), target=TARGET, baselines=x0)
    theirs = c.IntegratedGradients(model).attribute(x, x0, TARGET, n_steps=9, method="riemann_trapezoid")
    same(ours, theirs * 9 / 8)


@pytest.mark.parametrize("baselines", [None, 0.5, numbers(1, 1, 6, 6, seed=9)])
@pytest.mark.parametrize("multiply", [True, False])
def test_integrated_gradients_options(baselines, multiply):
    model, x, _ = images()
    method = a.IntegratedGradients(5, multiply_by_inputs=multiply)
    theirs = c.IntegratedGradients(model, multiply_by_inputs=multiply)
    same(
        attribute(model, x, method, target=TARGET, baselines=baselines),
        theirs.attribute(x, baselines, TARGET, n_steps=5),
    )


def test_integrated_gradients_of_several_inputs():
    model, x, x0 = pairs()
    theirs = c.IntegratedGradients(model).attribute(x, x0, TARGET, n_steps=6)
    same(attribute(model, x, a.IntegratedGradients(6), target=TARGET, baselines=x0), theirs)
    theirs = c.IntegratedGradients(model).attribute(x, (0.25, x0[1]), TARGET, n_steps=6)
    same(attribute(model, x, a.IntegratedGradients(6), target=TARGET, baselines=(0.25, x0[1])), theirs)


@pytest.mark.parametrize("multiply", [True, False])
def test_deeplift_on_relu_convolutions(multiply):
    model, x, x0 = weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6), numbers(N, 2, 6, 6, seed=2) / 2
    ours = attribute(model, x, a.DeepLift(multiply), target=TARGET, baselines=x0)
    same(ours, c.DeepLift(model, multiply).attribute(x, x0, TARGET), 1e-10)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus])
def test_deeplift_on_every_activation_that_captum_has(activation):
    model, x, x0 = mlp(6, 8, 7, 3, activation=activation), numbers(N, 6), numbers(1, 6, seed=2) / 2
    ours = attribute(model, x, a.DeepLift(), target=TARGET, baselines=x0)
    same(ours, c.DeepLift(model).attribute(x, x0, TARGET), 1e-10)


def test_deeplift_through_max_pooling_without_overlap():
    model = weights(
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3))
    )
    x, x0 = numbers(N, 1, 6, 6), numbers(N, 1, 6, 6, seed=2)
    ours = attribute(model, x, a.DeepLift(), target=TARGET, baselines=x0)
    same(ours, c.DeepLift(model).attribute(x, x0, TARGET), 1e-10)


# Noise


@pytest.mark.parametrize("stdevs", [0.0, 0.25])
@pytest.mark.parametrize("multiply", [True, False])
def test_gradient_shap(noise, stdevs, multiply):
    model, x, _ = images()
    baselines, count = numbers(3, 1, 6, 6, seed=8), 6
    noise(**gradient_shap_draws(count, 3, 36))
    theirs = c.GradientShap(model, multiply).attribute(x, baselines, count, stdevs, TARGET)
    method = a.GradientShap(count, stdevs, multiply)
    same(attribute(model, x, method, target=TARGET, baselines=baselines, seed=SEED), theirs)


def test_gradient_shap_of_several_inputs(noise):
    model, x, _ = pairs()
    baselines, count, stdevs = (numbers(5, 3, seed=8), numbers(5, 2, 2, seed=9)), 4, (0.25, 0.5)
    noise(**gradient_shap_draws(count, 5, 3, 4))
    theirs = c.GradientShap(model).attribute(x, baselines, count, stdevs, TARGET)
    ours = attribute(model, x, a.GradientShap(count, stdevs), target=TARGET, baselines=baselines, seed=SEED)
    same(ours, theirs)


@pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
@pytest.mark.parametrize("inner", ["saliency", "ig", "occlusion"])
def test_noise_tunnel(noise, nt_type, inner):
    model, x, x0 = images()
    count = 6
    noise(normal=[ours_drawn(lambda k: draws().normal("tunnel", k, x), count)])
    method, theirs, options = {
        "saliency": (a.Saliency(), c.Saliency(model), {}),
        "ig": (a.IntegratedGradients(5), c.IntegratedGradients(model), {"n_steps": 5, "baselines": x0}),
        "occlusion": (
            a.Occlusion((1, 3, 3), 3),
            c.Occlusion(model),
            {"sliding_window_shapes": (1, 3, 3), "strides": 3, "baselines": x0},
        ),
    }[inner]
    wanted = c.NoiseTunnel(theirs).attribute(
        x, nt_type=nt_type, nt_samples=count, stdevs=0.5, target=torch.tensor(TARGET), **options
    )
    tunnel = a.NoiseTunnel(method, nt_type, count, 0.5)
    same(attribute(model, x, tunnel, target=TARGET, baselines=x0, seed=SEED), wanted, 5e-6)


def test_noise_tunnel_of_several_inputs(noise):
    model, x, _ = pairs()
    flat = torch.empty(N, 7, dtype=torch.float64)
    normal = ours_drawn(lambda k: draws().normal("tunnel", k, flat), 4)
    noise(normal=[normal[:, :3], normal[:, 3:]])
    wanted = c.NoiseTunnel(c.InputXGradient(model)).attribute(
        x, nt_type="smoothgrad", nt_samples=4, stdevs=(0.25, 0.5), target=torch.tensor(TARGET)
    )
    tunnel = a.NoiseTunnel(a.InputXGradient(), "smoothgrad", 4, (0.25, 0.5))
    same(attribute(model, x, tunnel, target=TARGET, seed=SEED), wanted)


def test_noise_tunnel_with_random_baselines(noise):
    model, x, _ = images()
    baselines, count = numbers(3, 1, 6, 6, seed=8), 4
    one = torch.empty(N, 1, dtype=torch.float64)
    which = ours_drawn(lambda k: draws().uniform("baseline", k, one), count)
    noise(
        normal=[ours_drawn(lambda k: draws().normal("tunnel", k, x), count)],
        choice=[(which.squeeze(1) * 3).long().numpy()],
    )
    wanted = c.NoiseTunnel(c.IntegratedGradients(model)).attribute(
        x, nt_type="smoothgrad", nt_samples=count, stdevs=0.5, draw_baseline_from_distrib=True, baselines=baselines,
        target=torch.tensor(TARGET), n_steps=5,
    )  # fmt: skip
    tunnel = a.NoiseTunnel(a.IntegratedGradients(5), "smoothgrad", count, 0.5, draw_baseline_from_distrib=True)
    same(attribute(model, x, tunnel, target=TARGET, baselines=baselines, seed=SEED), wanted)


# Relevance


@pytest.mark.parametrize("epsilon", [1e-9, 0.25])
def test_lrp_by_the_epsilon_rule(epsilon):
    """On samples and weights of both signs, with biases. Other rules are in tests/rules/lrp/test_rule.py."""
    model, x = weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6)
    for layer in (model.conv1, model.conv2, model.hidden, model.out):
        layer.rule = EpsilonRule(epsilon)
    composite = Composite(convolution=Epsilon(epsilon), dense=Epsilon(epsilon), stabilizer=1e-9)
    theirs = c.LRP(model).attribute(x.clone(), torch.tensor(TARGET))
    same(attribute(model, x, a.LRP(composite), target=TARGET), theirs, 1e-10)
