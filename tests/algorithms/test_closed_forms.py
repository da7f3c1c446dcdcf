"""Every algorithm on models where its map can be written down, or against a slow loop straight from its definition."""

import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.formulas import RULES, D, Game, Linear, N, Power, exactly, noise, samples
from tests.models_for_tests import Quadratic, numbers
from xbench import algorithms as a
from xbench import attribute
from xbench.core.draws import Draws
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request


@pytest.mark.parametrize("n_steps", [1, 2, 5])
@pytest.mark.parametrize("multiply", [True, False])
def test_integrated_gradients_of_a_quadratic_take_the_gradient_in_the_middle(n_steps, multiply):
    model, (x, x0) = Quadratic(D), samples()
    maps = attribute(model, x, a.IntegratedGradients(n_steps, multiply_by_inputs=multiply), baselines=x0)
    middle = model.gradient((x + x0) / 2)
    exactly(maps, middle * (x - x0) if multiply else middle)


@pytest.mark.parametrize("method", RULES)
def test_every_rule_on_a_quadratic_takes_the_gradient_at_its_mean_node(method):
    """The gradient is linear on the path: left and right are off by half a step, the others exact."""
    model, (x, x0), n = Quadratic(D), samples(), 8
    mean = {"riemann_left": 0.5 - 0.5 / n, "riemann_right": 0.5 + 0.5 / n}.get(method, 0.5)
    maps = attribute(model, x, a.IntegratedGradients(n, method), baselines=x0)
    exactly(maps, model.gradient(x0 + mean * (x - x0)) * (x - x0))


def test_gauss_legendre_is_exact_up_to_its_degree():
    """n nodes integrate a gradient of degree 2n - 1, and no more."""
    (x, x0), three = samples(), a.IntegratedGradients(3)
    exactly(attribute(Power(6), x, three, baselines=x0), x**6 - x0**6)
    maps = attribute(Power(8), x, three, baselines=x0)
    assert not torch.allclose(maps, x**8 - x0**8, rtol=1e-3)
    exactly(attribute(Power(8), x, a.IntegratedGradients(4), baselines=x0), x**8 - x0**8)


# Linear models: all agree

METHODS = [
    a.IntegratedGradients(3),
    a.IntegratedGradients(3, "riemann_trapezoid"),
    a.DeepLift(),
    a.FeatureAblation(),
    a.KernelShap(2**D),
    a.Occlusion((1,)),
    a.GradientShap(3),
    a.NoiseTunnel(a.IntegratedGradients(2), "smoothgrad", 3, 0.0),
]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_linear_model_is_shared_by_its_weights(method):
    model, (x, _), x0 = Linear(D), samples(), numbers(1, D, seed=7)
    exactly(attribute(model, x, method, baselines=x0), model.w * (x - x0), 1e-9)


@pytest.mark.parametrize("absolute", [True, False])
def test_saliency_and_input_x_gradient_of_a_quadratic(absolute):
    model, (x, _) = Quadratic(D), samples()
    gradient = model.gradient(x)
    exactly(attribute(model, x, a.Saliency(absolute)), gradient.abs() if absolute else gradient)
    exactly(attribute(model, x, a.InputXGradient()), gradient * x)


def test_deeplift_of_one_activation_is_the_difference_quotient():
    class Bump(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x).sum(1) + torch.tanh(x).sum(1)

    x, x0 = samples()
    x[0, 0] = x0[0, 0] = 0.5  # no difference: nothing to share, the multiplier is the gradient
    difference = (torch.relu(x) - torch.relu(x0)) + (torch.tanh(x) - torch.tanh(x0))
    exactly(attribute(Bump(), x, a.DeepLift(), baselines=x0), difference)
    multipliers = attribute(Bump(), x, a.DeepLift(multiply_by_inputs=False), baselines=x0)
    exactly(multipliers[:, 1:], (difference / (x - x0))[:, 1:])
    assert float(multipliers[0, 0]) == pytest.approx(2 - float(torch.tanh(x[0, 0])) ** 2)


# Perturbations


def test_feature_ablation_gives_each_element_its_features_loss():
    model, (x, x0) = Quadratic(6), (numbers(N, 6), numbers(N, 6, seed=2))
    groups = torch.tensor([[4, 4, 0, 7, -1, 4]])
    maps = attribute(model, x, a.FeatureAblation(), baselines=x0, features=groups)
    for group in (0, 4, 7):
        inside = groups[0] == group
        loss = model(x) - model(torch.where(inside, x0, x))
        exactly(maps[:, inside], loss[:, None].expand(-1, int(inside.sum())))
    assert torch.equal(maps[:, 4], torch.zeros(N, dtype=torch.float64))


@pytest.mark.parametrize("multiply", [True, False])
def test_gradient_shap_against_a_loop_over_draws(multiply):
    model, (x, _), baselines, count = Power(3), samples(), numbers(3, D, seed=8), 5
    maps = attribute(model, x, a.GradientShap(count, 0.2, multiply), baselines=baselines, seed=4)
    draws = Draws(4, tuple(map(str, range(N))))
    one, total = torch.empty(N, 1, dtype=torch.float64), torch.zeros_like(x)
    for k in range(count):
        noisy = x + 0.2 * draws.normal("noise", k, x)
        b = baselines[[int(u * 3) for u in draws.uniform("baseline", k, one)]]
        gradient = 3 * (b + draws.uniform("path", k, one) * (noisy - b)).square()
        total += gradient * (noisy - b) if multiply else gradient
    exactly(maps, total / count)


def test_gradient_shap_converges_to_integrated_gradients():
    model, n = Power(3), 400
    x, x0 = numbers(1, D).expand(n, D), numbers(1, D, seed=2)
    maps = attribute(model, x, a.GradientShap(20), baselines=x0)
    error = maps.std(0) / n**0.5
    assert ((maps.mean(0) - (x[0] ** 3 - x0[0] ** 3)).abs() / error).max() < 4.5


# Controls, densities, parameters


def test_controls():
    x, features = numbers(N, D), torch.tensor([[0, 1, -1, 2, -1]])
    model = Quadratic(D)
    inside = (features >= 0).double()
    assert torch.equal(attribute(model, x, a.Constant(2.5), features=features), 2.5 * inside.expand(N, D))
    random = attribute(model, x, a.Random(), features=features, seed=9)
    assert torch.equal(random, noise("random map", 0, x, seed=9) * inside)


@pytest.mark.parametrize("method", [a.FeatureAblation(), a.KernelShap(16)], ids=str)
def test_the_density_of_a_map_adds_up_to_its_features(method):
    model, x = Game(7), numbers(N, 7)
    groups = torch.tensor([[3, 0, 0, -1, 1, 2, 3]])
    explainer = Explainer(Request(model, x, features=groups))
    maps = explainer.attribute(method)
    density = method.density(explainer.case(distribution=False), maps)
    exactly(density[:, 1] + density[:, 2], maps[:, 1])
    exactly(density[:, 0] + density[:, 6], maps[:, 0])
    exactly(density[:, 4:6], maps[:, 4:6])
    if isinstance(method, a.KernelShap):
        outside = torch.where(groups < 0, x, 0.0)
        exactly(density.sum(1), model(x) - model(outside), 1e-10)


def test_the_density_of_an_occlusion_is_per_element_of_the_window():
    model, x = Linear(D), numbers(N, D)
    method = a.Occlusion((D,))
    explainer = Explainer(Request(model, x))
    density = method.density(explainer.case(distribution=False), explainer.attribute(method))
    exactly(density.sum(1), model(x) - 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: a.GradientShap(0), "n_samples: expected at least 1, got 0"),
        (lambda: a.GradientShap(2, -0.1), "stdevs: expected at least 0.0, got -0.1"),
        (lambda: a.GradientShap(2, (0.1, float("nan"))), "stdevs: expected at least 0.0, got nan"),
        (lambda: a.KernelShap(2), "n_samples: expected at least 3, got 2"),
        (lambda: a.NoiseTunnel(a.Saliency(), "mean"), "nt_type: expected one of smoothgrad, .* got 'mean'"),
        (lambda: a.NoiseTunnel(a.Saliency(), nt_samples=0), "nt_samples: expected at least 1, got 0"),
        (lambda: a.NoiseTunnel(a.Saliency(), stdevs=-1.0), "stdevs: expected at least 0.0, got -1.0"),
        (lambda: a.DeepLift(eps=-1.0), "eps must be >= 0, got -1.0"),
        (lambda: a.DeepLift(unknown="ignore"), "unknown must be 'raise' or 'warn', got 'ignore'"),
    ],
)
def test_impossible_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
