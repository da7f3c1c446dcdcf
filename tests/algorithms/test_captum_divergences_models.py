"""What models and arguments may be, and what stays on the model: where Captum 0.9.0 and ours differ on purpose.

Each test shows both against a third that is known; where Captum raises, that it does. The list is docs/captum.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

import captum.attr as c
import pytest
import torch
from captum.metrics import sensitivity_max
from torch import Tensor, nn

from tests.algorithms.divergent import EXACT_LRP, TARGET, TARGETS, N
from tests.models_for_tests import mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute, measure
from xbench.core.draws import Draws
from xbench.metrics import SensitivityMax

pytestmark = [
    pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks and attributes:UserWarning"),
]


# What models return and take


@dataclass
class Output:
    scores: Tensor
    hidden: Tensor


STRUCTURES: dict[str, tuple[Callable[[Tensor, Tensor], object], str | int]] = {
    "tuple": (lambda scores, hidden: (hidden, scores), 1),
    "dict": (lambda scores, hidden: {"hidden": hidden, "scores": scores}, "scores"),
    "dataclass": (Output, "scores"),
}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_a_model_may_return_a_structure(kind):
    make, select = STRUCTURES[kind]

    class Structured(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> object:
            return make(self.linear(x), x)

    model, x = weights(Structured()), numbers(N, 6)
    exact = (model.linear.weight[TARGET] * x).detach()
    for method, theirs in ((a.InputXGradient(), c.InputXGradient), (a.FeatureAblation(), c.FeatureAblation)):
        ours = attribute(model, x, method, target=TARGET, select=select)
        torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12)
        with pytest.raises(AttributeError, match="has no attribute 'shape'"):
            theirs(model).attribute(x, target=TARGETS)


def test_inputs_and_further_arguments_may_be_keywords():
    class Keywords(nn.Module):
        def forward(self, *, x: Tensor, scale: Tensor) -> Tensor:
            return (x * scale[:, None]).sum(1)

    x, scale = numbers(N, 3), numbers(N, seed=2)
    maps = attribute(Keywords(), {"x": x}, a.IntegratedGradients(3), kwargs={"scale": scale})
    torch.testing.assert_close(maps, {"x": x * scale[:, None]})
    with pytest.raises(AssertionError, match="`inputs` must be a torch.Tensor or a tuple"):
        c.IntegratedGradients(Keywords()).attribute({"x": x})
    with pytest.raises(TypeError, match="unexpected keyword argument 'kwargs'"):
        c.IntegratedGradients(Keywords()).attribute(x, kwargs={"scale": scale})


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


def test_targets_may_be_a_matrix():
    """One row of indices per sample, behind the batch; Captum wants a list of tuples."""

    class Grid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x).unflatten(1, (2, 3))

    model, x, target = weights(Grid()), numbers(N, 6), torch.tensor([[0, 2], [1, 1], [0, 0], [1, 2]])
    exact = (model.linear.weight[target @ torch.tensor([3, 1])] * x).detach()
    torch.testing.assert_close(attribute(model, x, a.InputXGradient(), target=target), exact)
    theirs = c.InputXGradient(model)
    torch.testing.assert_close(theirs.attribute(x, [tuple(row) for row in target.tolist()]).detach(), exact)
    with pytest.raises(AssertionError, match="Tensor target dimension"):
        theirs.attribute(x, target)


def test_several_targets_are_explained_at_once():
    """The rows of a linear model's weights; a list of targets is one per sample in Captum."""
    model, x = mlp(6, 3), numbers(N, 6)
    exact = (model[0].weight[[2, 0]] * x[:, None]).detach()
    torch.testing.assert_close(attribute(model, x, a.InputXGradient(), targets=[2, 0]), exact)
    with pytest.raises(AssertionError, match="Target list length does not match output"):
        c.InputXGradient(model).attribute(x, [2, 0])


def test_all_outputs_are_explained_where_they_are_asked_for():
    """Without a target, Captum's ablation puts the maps of all outputs of all samples into one long row of maps."""
    model, x = mlp(6, 3), numbers(N, 6)
    exact = (model[0].weight * x[:, None]).detach()
    for method in (a.FeatureAblation(), a.ShapleyValues()):
        torch.testing.assert_close(attribute(model, x, method, targets=[0, 1, 2]), exact)
        with pytest.raises(ValueError, match=r"the model has outputs of shape \(3,\): name a target"):
            attribute(model, x, method)
    shapley = c.ShapleyValues(model).attribute(x, feature_mask=torch.arange(6)[None] // 2)
    torch.testing.assert_close(shapley[..., ::2].double(), exact.unflatten(2, (3, 2)).sum(3), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(c.FeatureAblation(model).attribute(x), exact.flatten(0, 1))


def test_one_baseline_is_a_distribution_too():
    """A linear model's maps are w (x - b) from each of them."""
    model, x, x0 = mlp(6, 3), numbers(N, 6), numbers(1, 6, seed=2)
    exact = (model[0].weight[TARGET] * (x - x0)).detach()
    for method in (a.DeepLiftShap(), a.GradientShap(2)):
        torch.testing.assert_close(attribute(model, x, method, target=TARGET, baselines=x0), exact)
        number = attribute(model, x, method, target=TARGET, baselines=0.5)
        torch.testing.assert_close(number, (model[0].weight[TARGET] * (x - 0.5)).detach())
    with pytest.raises(AssertionError, match="with more than one example"):
        c.DeepLiftShap(model).attribute(x, x0, TARGETS)
    with pytest.raises(AssertionError, match="Baselines distribution has to be provided"):
        c.GradientShap(model).attribute(x, 0.5, target=TARGETS)


def test_maps_may_be_trained_on():
    """f = sum w x^2: Input x Gradient is 2 w x^2, which grows with w by 2 x^2. Captum's does not know w any more."""

    class Squares(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(numbers(3, seed=3))

        def forward(self, x: Tensor) -> Tensor:
            return x.square() @ self.weight

    model, x = Squares(), numbers(N, 3)
    for method in (a.InputXGradient(), a.IntegratedGradients(4, multiply_by_inputs=False)):
        maps = attribute(model, x, method, create_graph=True)
        (gradient,) = torch.autograd.grad(maps.sum(), model.weight)
        slope = 2 * x.square() if isinstance(method, a.InputXGradient) else x
        torch.testing.assert_close(gradient, slope.sum(0))
    for theirs in (c.InputXGradient(model), c.IntegratedGradients(model)):
        maps = theirs.attribute(x.clone().requires_grad_())
        assert torch.autograd.grad(maps.sum(), model.weight, allow_unused=True) == (None,)


def test_one_output_for_a_whole_batch_is_refused():
    """Rows would mix. Captum remembers on the object that an earlier answer had the right shape, and errs then."""
    x = numbers(N, 3)

    def energy(x: Tensor) -> Tensor:
        return x.square().sum().reshape(1)

    with pytest.raises(ValueError, match=r"the model returned shape \(1,\) for 4 rows"):
        attribute(energy, x, a.FeatureAblation())
    exact = x.square().sum(0, keepdim=True)  # what the batch loses with a column
    theirs = c.FeatureAblation(energy)
    with pytest.raises(AssertionError, match="output should be a tensor whose 1st dim grow with the input batch"):
        theirs.attribute(x, perturbations_per_eval=3)
    torch.testing.assert_close(theirs.attribute(x), exact)
    assert (theirs.attribute(x, perturbations_per_eval=3) - exact).abs().min() > 0.1


# What stays behind


def attributes(model: nn.Module) -> list[set[str]]:
    return [set(vars(module)) for module in model.modules()]


def test_no_activations_stay_on_the_model():
    model, x = mlp(6, 8, 3, activation=nn.ReLU), numbers(N, 6)
    before = attributes(model)
    attribute(model, x, EXACT_LRP, target=TARGET)
    assert attributes(model) == before
    c.LRP(model).attribute(x.clone(), TARGETS)
    assert [after - old for after, old in zip(attributes(model), before, strict=True)] == [
        set(), {"activations"}, set(), {"activations"}
    ]  # fmt: skip


def test_the_users_samples_require_no_gradient_after_an_error():
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("no")

    ours, theirs = numbers(N, 3), numbers(N, 3)
    with pytest.raises(KeyError):
        attribute(Broken(), ours, a.Saliency())
    assert not ours.requires_grad
    with pytest.raises(KeyError):
        c.Saliency(Broken()).attribute(theirs)
    assert theirs.requires_grad


# Explained again


def test_each_samples_features_follow_it_under_sensitivity_max():
    """A linear model's map is w x summed over each feature, so that a shift e changes it by that of e."""
    model, x = mlp(6, 3), numbers(N, 6)
    groups = torch.arange(6) // torch.arange(1, N + 1)[:, None]
    metric = SensitivityMax(0.1, 5, relative=False)
    ours = measure(model, x, a.FeatureAblation(), metric, target=TARGET, features=groups)
    member = (groups[:, :, None] == groups[:, None]).double()  # (n, d, d)

    def size(x: Tensor) -> Tensor:
        return torch.einsum("nij,nj->ni", member, x * model[0].weight[TARGET].detach()).norm(dim=1)

    draws = Draws(0, tuple(map(str, range(N))))
    shifts = [0.1 * (2 * draws.uniform("sensitivity", k, x) - 1) for k in range(5)]
    torch.testing.assert_close(ours, torch.stack([size(shift) for shift in shifts]).amax(0) / size(x))
    with pytest.raises(RuntimeError, match="must match the size of tensor"):
        sensitivity_max(c.FeatureAblation(model).attribute, x, target=TARGETS, feature_mask=groups)


def test_an_explanation_of_one_tensor_is_one_map_under_sensitivity_max():
    """Captum hands it a tuple, and takes a tensor that comes back for a tuple of its rows."""
    model, x = mlp(6, 8, 3), numbers(N, 6)

    def slopes(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = (x[0] if isinstance(x, tuple) else x).detach().requires_grad_()
            return torch.autograd.grad(model(leaf)[torch.arange(len(leaf)), target].sum(), leaf)[0]

    metric = SensitivityMax(0.1, 5, relative=False)
    ours = measure(model, x, slopes, metric, target=TARGETS)
    torch.testing.assert_close(ours, measure(model, x, a.Saliency(abs=False), metric, target=TARGET))
    with pytest.raises(RuntimeError, match="must match the size of tensor"):
        sensitivity_max(lambda x, target: slopes(model, x, target), x, lambda x: x + 0.1, target=TARGETS)
