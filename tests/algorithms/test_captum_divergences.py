"""Where Captum 0.9.0 and ours differ on purpose: each test shows both answers against a third that is known.

The list is in test_captum_parity.py.
"""

import captum.attr as c
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models_for_tests import Quadratic, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.explain import Explainer
from xbench.setting import Setting

pytestmark = [
    pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks and attributes:UserWarning"),
]

N = 4
TARGET = [0, 2, 1, 2]


def difference(model: nn.Module, x: Tensor, x0: Tensor) -> Tensor:
    with torch.no_grad():
        return (model(x) - model(x0))[torch.arange(N), torch.tensor(TARGET)]


def error(maps: Tensor, wanted: Tensor) -> float:
    """Relative completeness error of the worst sample."""
    return float(((maps.detach().flatten(1).sum(1) - wanted) / wanted).abs().max())


def test_the_trapezoid_rule_is_exact_on_a_linear_model():
    model, x, x0 = mlp(6, 3), numbers(N, 6), numbers(1, 6, seed=2)
    exact = ((x - x0) * model[0].weight[TARGET]).detach()
    ours = attribute(model, x, a.IntegratedGradients(10, "riemann_trapezoid"), target=TARGET, baselines=x0)
    theirs = c.IntegratedGradients(model).attribute(x, x0, TARGET, n_steps=10, method="riemann_trapezoid")
    torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(theirs, exact * 9 / 10, rtol=1e-6, atol=1e-6)  # a tenth is missing


class Softmax(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(6, 8, 3)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.softmax(self.body(x))


class ReluThenPool(nn.Module):
    """As in VGG: both hooks of Captum sit on the same tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 3)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool1d(2)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.pool(self.relu(self.conv(x.unsqueeze(1)))).flatten(1))


class Overlapping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 2)
        self.pool = nn.MaxPool1d(3, stride=1)
        self.out = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.pool(self.conv(x.unsqueeze(1))).flatten(1))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(6, 8)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.hidden(x)))


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.left(x) * self.right(x))


class Gelu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(6, 8, 3, activation=nn.GELU)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@pytest.mark.parametrize("kind", [Softmax, ReluThenPool, Overlapping, Functional, Product, Gelu])
def test_deeplift_is_complete_where_captums_is_not(kind):
    model = weights(kind(), seed=1, scale=2)
    x, x0 = numbers(N, 6), numbers(N, 6, seed=2)
    wanted = difference(model, x, x0)
    assert wanted.abs().min() > 1e-3
    assert error(attribute(model, x, a.DeepLift(), target=TARGET, baselines=x0), wanted) < 1e-10
    assert error(c.DeepLift(model).attribute(x, x0, TARGET), wanted) > 1e-2


def test_deeplift_of_a_sample_does_not_depend_on_the_batch_under_a_softmax():
    model, x, x0 = weights(Softmax(), seed=1, scale=2), numbers(N, 6), numbers(1, 6, seed=2)
    ours = attribute(model, x, a.DeepLift(), target=TARGET, baselines=x0)
    alone = attribute(model, x[:1], a.DeepLift(), target=TARGET[:1], baselines=x0)
    torch.testing.assert_close(alone, ours[:1], rtol=1e-12, atol=1e-12)
    theirs = c.DeepLift(model)
    batch, single = theirs.attribute(x, x0, TARGET)[:1], theirs.attribute(x[:1], x0, TARGET[:1])
    assert not torch.allclose(batch, single, rtol=1e-2)


def test_deeplift_accepts_a_module_used_twice():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.relu(self.second(self.relu(self.first(x)))))

    model, x, x0 = weights(Twice(), scale=2), numbers(N, 6), numbers(1, 6, seed=2)
    ours = attribute(model, x, a.DeepLift(), target=TARGET, baselines=x0)
    assert error(ours, difference(model, x, x0.expand_as(x))) < 1e-10
    with pytest.raises(RuntimeError, match="used more than once"):
        c.DeepLift(model).attribute(x, x0, TARGET)


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
    monkeypatch.setattr("xbench.draws.Draws.normal", lambda *_: next(draws))
    ours = attribute(Steep(), x, a.NoiseTunnel(a.Saliency(), "vargrad", 8, 0.5))
    exact = (noise / 2).var(1, unbiased=False)
    torch.testing.assert_close(ours, exact, rtol=1e-6, atol=0)
    assert not torch.allclose(theirs, exact, rtol=0.5)


def test_an_infinite_baseline_of_one_feature_leaves_the_others_alone():
    class Squashed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(x) @ torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)

    model, x = Squashed(), numbers(2, 3)
    x0 = torch.tensor([[0.0, torch.inf, 0.0]], dtype=torch.float64)
    exact = (torch.tanh(x) - torch.tanh(x0)) * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    for method in (a.FeatureAblation(), a.Occlusion((1,)), a.KernelShap(8)):
        ours = attribute(model, x, method, target=0, baselines=x0)
        torch.testing.assert_close(ours, exact, rtol=1e-9, atol=1e-9)
    assert c.FeatureAblation(model).attribute(x, x0, 0).isnan().all()


def test_an_unused_input_has_no_influence():
    class First(nn.Module):
        def forward(self, used: Tensor, unused: Tensor) -> Tensor:
            return used.square().sum(1)

    inputs = numbers(N, 3), numbers(N, 2)
    used, unused = attribute(First(), inputs, a.Saliency())
    torch.testing.assert_close(used, 2 * inputs[0].abs())
    assert torch.equal(unused, torch.zeros(N, 2, dtype=torch.float64))
    with pytest.raises(RuntimeError, match="not have been used in the graph"):
        c.Saliency(First()).attribute(inputs)


def test_an_argument_that_is_no_batch_is_passed_as_it_is():
    """Message passing over a list of edges: Captum repeats the list along its first dimension."""

    class Graph(nn.Module):
        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            source, sink = edges
            return (x[:, source] * x[:, sink]).sum(1)

    x, edges = numbers(N, 3), torch.tensor([[0, 1], [1, 2]])
    ours = attribute(Graph(), x, a.IntegratedGradients(3, "gausslegendre"), extra=(edges,))
    half = (x[:, :2] * x[:, 1:]) / 2  # a product is shared equally between its factors
    exact = torch.stack([half[:, 0], half[:, 0] + half[:, 1], half[:, 1]], 1)
    torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="too many values to unpack"):
        c.IntegratedGradients(Graph()).attribute(x, additional_forward_args=(edges,), n_steps=3)


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
    monkeypatch.setattr("xbench.draws.Draws.uniform", lambda _s, _p, _i, like: torch.full_like(like, 0.5))
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
    explainer = Explainer(Setting(model, x, TARGET, x0))
    maps = explainer.attribute(a.KernelShap(8))  # 6 coalitions for 12 features
    wanted = difference(model, x, x0.expand_as(x))
    torch.testing.assert_close(maps.sum(1), wanted, rtol=1e-12, atol=1e-12)
