"""Where values of Captum 0.9.0 and ours differ on purpose: each test shows both against a third that is known.

The list, with the reasons, is docs/captum.md. What models and arguments may be: test_captum_divergences_models.py.
"""

import re
from pathlib import Path

import captum.attr as c
import numpy as np
import pytest
import torch
from captum._utils.models.linear_model import SkLearnLasso, SkLearnLinearRegression
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule
from torch import Tensor, nn

from tests.algorithms.captum_pairs import Queue, coalitions, grouped, maps_of, one_by_one
from tests.algorithms.endpoints import TARGET, N, difference
from tests.algorithms.test_captum_parity_layers import ROOT, written_tests
from tests.models_for_tests import ConvNet, Quadratic, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.algorithms.parts.noise import random_baselines
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request
from xbench.rules import lrp

pytestmark = [
    pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks and attributes:UserWarning"),
    pytest.mark.filterwarnings("ignore:(?s).*You are providing multiple inputs for Lime:UserWarning"),
]


def test_the_trapezoid_rule_is_exact_on_a_linear_model():
    model, x, x0 = mlp(6, 3), numbers(N, 6), numbers(1, 6, seed=2)
    exact = ((x - x0) * model[0].weight[TARGET]).detach()
    ours = attribute(model, x, a.IntegratedGradients(10, "riemann_trapezoid"), target=TARGET, baselines=x0)
    theirs = c.IntegratedGradients(model).attribute(x, x0, TARGET, n_steps=10, method="riemann_trapezoid")
    torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(theirs, exact * 9 / 10, rtol=1e-6, atol=1e-6)  # a tenth is missing


@pytest.mark.parametrize("method", ["riemann_trapezoid", "riemann_left", "riemann_right"])
def test_the_conductance_of_a_layer_covers_the_whole_path(method):
    """A linear layer's units get their weight times their change; Captum's nodes leave out a piece of the path."""
    model, x, x0 = weights(nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))), numbers(N, 6), numbers(1, 6, seed=2)
    exact = ((model[0](x) - model[0](x0)) * model[1].weight[TARGET]).detach()
    ours = attribute(model, x, a.Conductance(9, method), target=TARGET, baselines=x0, read="0")
    torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12)
    theirs = c.LayerConductance(model, model[0])
    for name, covered in {"gausslegendre": 0.9739, "riemann_left": 0.9, "riemann_middle": 0.9}.items():
        maps = theirs.attribute(x, x0, torch.tensor(TARGET), n_steps=9, method=name)
        torch.testing.assert_close(maps, exact * covered, rtol=1e-4, atol=1e-4)


def test_the_trapezoid_rule_is_exact_inside_a_linear_model():
    model, x, x0 = weights(nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))), numbers(N, 6), numbers(1, 6, seed=2)
    out = model[1].weight[TARGET].detach()
    flow = (x - x0) * model[0].weight[2].detach() * out[:, 2:3]  # through unit 2
    ours = attribute(model, x, a.Conductance(9), target=TARGET, baselines=x0, neuron=("0", 2))
    torch.testing.assert_close(ours, flow, rtol=1e-12, atol=1e-12)
    theirs = c.NeuronConductance(model, model[0]).attribute(x, 2, x0, TARGET, n_steps=10)
    torch.testing.assert_close(theirs, flow * 9 / 10, rtol=1e-6, atol=1e-6)
    ours = attribute(model, x, a.InternalInfluence(10, "riemann_trapezoid"), target=TARGET, baselines=x0, read="0")
    torch.testing.assert_close(ours, out, rtol=1e-12, atol=1e-12)
    theirs = c.InternalInfluence(model, model[0])
    maps = theirs.attribute(x, x0, TARGET, n_steps=10, method="riemann_trapezoid")
    torch.testing.assert_close(maps, out * 9 / 10, rtol=1e-6, atol=1e-6)


def test_the_conductance_of_several_units_is_the_sum_of_theirs():
    """Captum multiplies the sum of the units' gradients by the sum of their slopes."""
    model, x, x0 = weights(ConvNet(), scale=1.5), numbers(N, 1, 6, 6), numbers(1, 1, 6, 6, seed=2) / 2
    theirs = c.NeuronConductance(model, model.hidden)

    def captum(unit: int | tuple[slice]) -> Tensor:
        return theirs.attribute(x, unit, x0, torch.tensor(TARGET), n_steps=7, method="riemann_left").detach()

    exact = captum(1) + captum(2) + captum(3)
    method = a.Conductance(7, "riemann_left")
    ours = attribute(model, x, method, target=TARGET, baselines=x0, neuron=("hidden", slice(1, 4)))
    torch.testing.assert_close(ours, exact, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(captum((slice(1, 4),)), exact, rtol=0.1, atol=0.1)


def test_quadrature_is_as_precise_as_the_model():
    """Six nodes of Gauss and Legendre integrate the gradient of x^8 exactly; Captum's weights are float32."""

    class Power(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.pow(8).sum(1)

    x = numbers(N, 3)
    torch.testing.assert_close(attribute(Power(), x, a.IntegratedGradients(6)), x.pow(8), rtol=1e-13, atol=0)
    theirs = c.IntegratedGradients(Power()).attribute(x, n_steps=6)
    torch.testing.assert_close(theirs, x.pow(8), rtol=1e-6, atol=0)
    assert not torch.allclose(theirs, x.pow(8), rtol=1e-10, atol=0)


def test_vargrad_keeps_a_small_variance_beside_a_large_mean(monkeypatch):
    """f = 1e8 x + x^2 / 2: the gradient is 1e8 + x, its variance that of the noise."""

    class Steep(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (1e8 * x + x.square() / 2).sum(1)

    x, noise = numbers(2, 3), numbers(2, 8, 3, seed=3)
    monkeypatch.setattr(torch, "normal", lambda _mean, stdev: noise.reshape(stdev.shape) * stdev.double())
    theirs = c.NoiseTunnel(c.Saliency(Steep())).attribute(x, nt_type="vargrad", nt_samples=8, stdevs=0.5)
    monkeypatch.undo()
    draws = iter(noise.unbind(1))
    monkeypatch.setattr("xbench.core.draws.Draws.normal", lambda *_: next(draws))
    ours = attribute(Steep(), x, a.NoiseTunnel(a.Saliency(), "vargrad", 8, 0.5))
    exact = (noise / 2).var(1, unbiased=False)
    torch.testing.assert_close(ours, exact, rtol=1e-6, atol=0)
    assert not torch.allclose(theirs, exact, rtol=0.5)


def test_every_copy_of_a_noise_tunnel_draws_its_own_baseline(monkeypatch):
    """f = w.x: Integrated Gradients are w (x - b). Captum draws once and takes the same rows for every chunk."""
    model, x, rows = mlp(4, 1), numbers(2, 4), numbers(3, 4, seed=2)
    slope = model[0].weight.detach()
    tunnel = a.NoiseTunnel(a.IntegratedGradients(2), "vargrad", 6, 0.0, draw_baseline_from_distrib=True)
    case = Explainer(Request(model, x, baselines=rows)).case(distribution=True)
    drawn = torch.stack([random_baselines(case, draw, x) for draw in range(6)])
    exact = (slope * drawn).var(0, unbiased=False)
    assert exact.min() > 1e-3
    torch.testing.assert_close(attribute(model, x, tunnel, baselines=rows), exact, rtol=1e-10, atol=1e-12)
    monkeypatch.setattr(torch, "normal", lambda _mean, stdev: torch.zeros_like(stdev))
    theirs = c.NoiseTunnel(c.IntegratedGradients(model)).attribute(
        x, nt_type="vargrad", nt_samples=6, nt_samples_batch_size=1, draw_baseline_from_distrib=True, baselines=rows
    )
    assert theirs.max() < 1e-12


ON_FEATURES = [a.FeatureAblation(), a.Occlusion((1,)), a.ShapleyValues(), a.ShapleyValueSampling(3), a.KernelShap(8)]


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("method", ON_FEATURES, ids=lambda method: type(method).__name__)
def test_an_infinite_or_missing_baseline_of_one_feature_leaves_the_others_alone(method, value):
    """Infinity squashed to 1, a missing number taken for 0.3: f is a sum over the features."""

    class Squashed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x.isnan(), 0.3, torch.tanh(x)) @ torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)

    model, x = Squashed(), numbers(2, 3)
    x0 = torch.tensor([[0.0, value, 0.0]], dtype=torch.float64)
    absent = torch.where(x0.isnan(), 0.3, torch.tanh(x0))
    exact = (torch.tanh(x) - absent) * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    ours = attribute(model, x, method, target=0, baselines=x0)
    torch.testing.assert_close(ours, exact, rtol=1e-9, atol=1e-9)
    theirs = getattr(c, type(method).__name__)(model)
    window = {"sliding_window_shapes": (1,)} if isinstance(method, a.Occlusion) else {}
    maps = torch.cat([theirs.attribute(each, baselines=x0, target=0, **window) for each in x.split(1)])
    assert not torch.allclose(maps.double(), exact, rtol=1e-2)


@pytest.mark.parametrize("method", [*ON_FEATURES[1:], a.Lime(100, "linear")], ids=lambda method: type(method).__name__)
def test_maps_are_as_precise_as_the_model(method):
    """A linear model's features get w (x - x0) from all of them; Captum's maps are float32 whatever the model is."""
    model, x, x0 = mlp(3, 1), numbers(1, 3), numbers(1, 3, seed=2)
    exact = (model[0].weight * (x - x0)).detach()
    torch.testing.assert_close(attribute(model, x, method, target=0, baselines=x0), exact, rtol=1e-12, atol=1e-12)
    theirs = getattr(c, type(method).__name__)(model)
    options = {"sliding_window_shapes": (1,)} if isinstance(method, a.Occlusion) else {}
    if isinstance(method, a.Lime):
        theirs.interpretable_model, options = SkLearnLinearRegression(), {"n_samples": 100}
    torch.manual_seed(0)
    maps = theirs.attribute(x, baselines=x0, target=0, **options)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps.double(), exact, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(maps.double(), exact, rtol=1e-10, atol=1e-10)


def test_a_model_that_counts_has_maps_of_real_numbers():
    """Whatever is averaged later, a share of a whole number need not be one."""
    x = numbers(N, 3)

    def count(x: Tensor) -> Tensor:
        return (x > 0).sum(1)

    ours, theirs = attribute(count, x, a.FeatureAblation()), c.FeatureAblation(count).attribute(x)
    assert torch.equal(ours, (x > 0).double())
    assert torch.equal(ours, theirs.double())
    assert theirs.dtype == torch.int64


def test_a_sample_never_keeps_its_own_feature_in_place_of_anothers(monkeypatch):
    """Captum's permutation of the batch may leave a sample where it is: its features have no influence then."""
    model, x = mlp(6, 8, 3), numbers(N, 6)
    ours = attribute(model, x, a.FeaturePermutation(1), target=TARGET)
    assert ours.abs().min() > 1e-5
    monkeypatch.setattr(torch, "randperm", lambda _: torch.tensor([0, 2, 1, 3]))
    theirs = c.FeaturePermutation(model).attribute(x, torch.tensor(TARGET))
    assert torch.equal(theirs[[0, 3]], torch.zeros(2, 6, dtype=torch.float64))


def test_one_sample_has_no_feature_permutation():
    """Captum gives zeros, as if nothing mattered."""
    model, x = mlp(6, 8, 3), numbers(1, 6)
    with pytest.raises(ValueError, match="needs at least two samples"):
        attribute(model, x, a.FeaturePermutation(), target=1)
    assert torch.equal(c.FeaturePermutation(model).attribute(x, 1), torch.zeros(1, 6, dtype=torch.float64))


def test_the_baselines_of_several_inputs_stay_together(monkeypatch):
    """Rows of one distribution; Captum draws a row for every input by itself."""

    class Sum(nn.Module):
        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return one.sum(1) + other.sum(1)

    rows = torch.arange(8.0, dtype=torch.float64).unsqueeze(1)
    inputs = torch.zeros(50, 1, dtype=torch.float64), torch.zeros(50, 1, dtype=torch.float64)
    ours = attribute(Sum(), inputs, a.GradientShap(1), baselines=(rows, rows))
    assert torch.equal(ours[0], ours[1])
    assert len(ours[0].unique()) == 8
    fixed = np.random.RandomState(0)
    monkeypatch.setattr(np.random, "choice", fixed.choice)
    theirs = c.GradientShap(Sum()).attribute(inputs, (rows, rows), 1)
    assert not torch.equal(theirs[0], theirs[1])


def test_gradient_shap_at_a_layer_takes_a_straight_path_there(monkeypatch):
    """Behind h = x^2, f = h^2 / 2: between h0 and h the mean gradient is (h + h0) / 2 at the middle of the path."""

    class Squares(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Square()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x).square().sum(1) / 2

    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.square()

    model, x, x0 = Squares(), numbers(N, 3), numbers(1, 3, seed=2)
    h, h0 = x.square(), x0.square()
    monkeypatch.setattr("xbench.core.draws.Draws.uniform", lambda _s, _p, _i, like: torch.full_like(like, 0.5))
    ours = attribute(model, x, a.GradientShap(1), baselines=x0, layer="inner")
    torch.testing.assert_close(ours, (h - h0) * (h + h0) / 2)
    monkeypatch.setattr(np.random, "uniform", lambda _low, _high, count: np.full(count, 0.5))
    theirs = c.LayerGradientShap(model, model.inner).attribute(x, x0, 1)
    torch.testing.assert_close(theirs, (h - h0) * ((x + x0) / 2).square())


def test_kernel_shap_of_one_feature_is_the_whole_difference():
    model, x = Quadratic(3), numbers(2, 3)
    one = torch.zeros(1, 3, dtype=torch.int64)
    ours = attribute(model, x, a.KernelShap(10), features=one)
    whole = (model(x) - model(torch.zeros_like(x))).detach()
    torch.testing.assert_close(ours, whole.unsqueeze(1).expand(2, 3))
    with pytest.raises(ValueError, match="Expected parameter probs"):
        c.KernelShap(model).attribute(x[:1], feature_mask=one, n_samples=10)


def test_kernel_shap_meets_the_ends_exactly_also_with_few_coalitions():
    model, x, x0 = mlp(12, 8, 3), numbers(N, 12), numbers(1, 12, seed=2)
    explainer = Explainer(Request(model, x, target=TARGET, baselines=x0))
    with pytest.warns(UserWarning, match="values of 12 features open"):
        maps = explainer.attribute(a.KernelShap(8))  # 6 coalitions for 12 features
    wanted = difference(model, x, x0.expand_as(x))
    torch.testing.assert_close(maps.sum(1), wanted, rtol=1e-12, atol=1e-12)
    torch.manual_seed(0)
    theirs = c.KernelShap(model).attribute(x, x0, torch.tensor(TARGET), n_samples=8).sum(1).double()
    torch.testing.assert_close(theirs, wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(theirs, wanted, rtol=1e-8, atol=1e-8)


def test_lime_goes_on_to_the_minimum_of_its_lasso():
    """Captum's Lasso stops before it, and comes to ours where it is told to go on."""
    setting, method = grouped(), a.Lime(60, alpha=0.02)
    chosen = coalitions(setting, method)

    def error(lasso: SkLearnLasso) -> float:
        def explain(i: int, *args: object, **options: object) -> Tensor:
            lime = c.Lime(setting.model, lasso, perturb_func=Queue(*chosen[i].split(1)))
            return lime.attribute(*args, n_samples=60, **options)

        return float((one_by_one(setting, explain) - maps_of(setting, method)).abs().max())

    assert error(SkLearnLasso(alpha=0.02)) > 1e-5
    assert error(SkLearnLasso(alpha=0.02, tol=1e-6)) < 1e-6


def test_a_rule_of_lrp_follows_the_signs_of_its_contributions():
    """alpha 1, beta 0: (x_i w_i)+ / sum_k (x_k w_k)+ of the output; Captum drops negative weights, whatever x is."""
    model, x = nn.Sequential(nn.Linear(6, 3, bias=False)).double(), numbers(N, 6)
    weights(model, scale=2)
    positive = (x * model[0].weight[TARGET]).detach().clamp(min=0)
    exact = positive / positive.sum(1, keepdim=True) * model(x)[torch.arange(N), TARGET].detach().unsqueeze(1)
    composite = lrp.Composite(dense=lrp.AlphaBeta(1.0, 0.0, 1e-12))
    ours = attribute(model, x, a.LRP(composite), target=TARGET)
    torch.testing.assert_close(ours, exact, rtol=1e-9, atol=1e-9)
    model[0].rule = Alpha1_Beta0_Rule()
    assert not torch.allclose(c.LRP(model).attribute(x.clone(), torch.tensor(TARGET)), exact, rtol=0.1, atol=0.1)


# The page


def test_everything_that_the_page_names_is_there():
    page = (ROOT / "docs" / "captum.md").read_text()
    files = {name for name in re.findall(r"`([\w/]+\.\w+)`", page) if "/" in name}
    assert len(files) > 5
    assert {name for name in files if not (ROOT / name).exists()} == set()
    tests = set(re.findall(r"`(test_\w+)`", page))
    assert len(tests) > 40
    assert tests - set(written_tests()) == set()


def test_every_divergence_has_a_test_on_the_page():
    """Every row of the page's tables of divergences names one, and every test of these two files is named."""
    page = (ROOT / "docs" / "captum.md").read_text()
    rows = [
        row for row in page.split("## Captum's classes")[0].splitlines() if row.startswith("| ") and "---" not in row
    ]
    rows = [row for row in rows if not row.startswith("| where |")]
    assert len(rows) > 40
    assert [row for row in rows if not re.search(r"`(test_\w+|tests/[\w/]+\.py)` \|$", row)] == []
    here = Path(__file__).parent.glob("test_captum_divergences*.py")
    written = {name for path in here for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)}
    about_the_page = {"test_everything_that_the_page_names_is_there", "test_every_divergence_has_a_test_on_the_page"}
    assert {name for name in written - about_the_page if f"`{name}`" not in page} == set()
