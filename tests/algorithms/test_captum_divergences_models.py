"""What models and arguments may be, and what stays on the model: where Captum 0.9.0 and ours differ on purpose.

Each test shows both against a third that is known; where Captum raises, that it does. The list is docs/captum.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

import captum.attr as c
import pytest
import torch
from captum.attr._utils.lrp_rules import EpsilonRule, GammaRule
from captum.metrics import sensitivity_max
from torch import Tensor, nn

from tests.models_for_tests import mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute, measure
from xbench.core.draws import Draws
from xbench.metrics import SensitivityMax
from xbench.rules import lrp

pytestmark = [
    pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks and attributes:UserWarning"),
]

N = 4
TARGET = [0, 2, 1, 2]
TARGETS = torch.tensor(TARGET)
EXACT_LRP = a.LRP(lrp.epsilon_only(1e-12, 1e-12))


def explained(model: nn.Module, x: Tensor) -> Tensor:
    """The target's output of every sample, (n,)."""
    return model(x)[torch.arange(N), TARGETS].detach()


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


# Token ids


class Bag(nn.Module):
    """The sum of the tokens' embeddings, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.hidden, self.out = nn.Embedding(20, 4), nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.hidden(self.embedding(ids).sum(1)))


def bag() -> tuple[nn.Module, Tensor, Tensor]:
    ids = torch.randint(1, 20, (N, 7), generator=torch.Generator().manual_seed(4))
    return weights(Bag()), ids, torch.zeros(1, 7, dtype=torch.int64)


def test_paths_of_tokens_start_at_their_embedding():
    """Captum's Gradient SHAP, conductance and influence at a layer interpolate the ids themselves."""
    model, ids, pads = bag()
    out = model.out.weight[TARGET].detach()
    change = (model.embedding(ids) - model.embedding(pads)).detach()
    given = {"target": TARGET, "baselines": pads, "layer": "embedding"}
    shap = attribute(model, ids, a.GradientShap(3), **given)
    torch.testing.assert_close(shap, change * (out @ model.hidden.weight.detach())[:, None])
    conductance = attribute(model, ids, a.Conductance(4), **given, read="hidden")
    torch.testing.assert_close(conductance, change.sum(1) @ model.hidden.weight.detach().T * out)
    influence = attribute(model, ids, a.InternalInfluence(4), **given, read="hidden")
    torch.testing.assert_close(influence, out)
    with pytest.raises(RuntimeError, match="'indices' to have one of the following scalar types"):
        c.LayerGradientShap(model, model.embedding).attribute(ids, pads.expand(2, -1), target=TARGETS)
    for theirs in (c.LayerConductance(model, model.hidden), c.InternalInfluence(model, model.hidden)):
        with pytest.raises(RuntimeError, match="'indices' to have one of the following scalar types"):
            theirs.attribute(ids, pads, TARGETS)


def test_noise_on_tokens_is_noise_on_their_embedding():
    """f = |e|^2 / 2 of the embedding e: the mean gradient over noisy copies is e and the mean of the noise."""

    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(20, 4)

        def forward(self, ids: Tensor) -> Tensor:
            return self.embedding(ids).square().sum((1, 2)) / 2

    model, ids = weights(Norm()), bag()[1]
    draws = Draws(0, tuple(map(str, range(N))))
    noise = torch.stack([draws.normal("tunnel", k, numbers(N, 28)) for k in range(3)]).mean(0).reshape(N, 7, 4)
    ours = attribute(model, ids, a.NoiseTunnel(a.Saliency(abs=False), nt_samples=3, stdevs=0.5), layer="embedding")
    torch.testing.assert_close(ours, model.embedding(ids).detach() + 0.5 * noise)
    theirs = c.NoiseTunnel(c.LayerGradientXActivation(model, model.embedding))
    with pytest.raises(RuntimeError, match="'indices' to have one of the following scalar types"):
        theirs.attribute(ids, nt_samples=3)


# Layers


def test_a_layer_used_twice_must_be_named_by_its_call():
    """Captum gives the last call's values and says nothing."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.out = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.tanh(self.linear(torch.tanh(self.linear(x)))))

    model, x = weights(Twice()), numbers(N, 6)
    first = model.linear(x).detach()
    second = model.linear(torch.tanh(first)).detach()
    for call, exact in (("linear@1", first), ("linear@2", second)):
        torch.testing.assert_close(attribute(model, x, a.Activation(), target=0, read=call), exact)
    with pytest.raises(ValueError, match="layer 'linear' is called more than once"):
        attribute(model, x, a.Activation(), target=0, read="linear")
    torch.testing.assert_close(c.LayerActivation(model, model.linear).attribute(x).detach(), second)


def test_a_layer_may_return_a_structure():
    """f = (sum of one tensor) * (sum of the other), which come in a tuple and a dict inside it."""

    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            return x[:, :2], {"rest": x[:, 2:]}

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, x: Tensor) -> Tensor:
            one, other = self.pair(x)
            return one.sum(1) * other["rest"].sum(1)

    model, x = Product(), numbers(N, 5)
    one, other = attribute(model, x, a.GradientXActivation(), read="pair")
    torch.testing.assert_close(one, x[:, :2] * x[:, 2:].sum(1, keepdim=True))
    torch.testing.assert_close(other, x[:, 2:] * x[:, :2].sum(1, keepdim=True))
    with pytest.raises(AssertionError, match="Given input is not a torch.Tensor"):
        c.LayerGradientXActivation(model, model.pair).attribute(x)


def lost(model: nn.Sequential, x: Tensor, replacement: Tensor) -> Tensor:
    """What the target's output loses with each hidden unit replaced, by hand: (n, units)."""

    def output(hidden: Tensor) -> Tensor:
        return model[1:](hidden.clone())[torch.arange(len(x)), TARGETS[: len(x)]].detach()

    hidden = model[0](x).detach()
    columns = []
    for unit in range(hidden.shape[1]):
        without = hidden.clone()
        without[:, unit] = replacement[:, unit]
        columns.append(output(hidden) - output(without))
    return torch.stack(columns, 1)


def test_an_in_place_function_may_follow_a_layer():
    """With it, Captum's ablation writes over the layer's values, and its path through the layer raises."""
    model = weights(nn.Sequential(nn.Linear(6, 4), nn.SiLU(inplace=True), nn.Linear(4, 3)), scale=2)
    x, x0 = numbers(N, 6), numbers(1, 6, seed=2)
    at_layer = model[0](x0).detach()
    exact = lost(model, x, at_layer.expand(N, 4))
    given = {"target": TARGET, "baselines": x0, "layer": "0"}
    torch.testing.assert_close(attribute(model, x, a.FeatureAblation(), **given), exact)
    theirs = c.LayerFeatureAblation(model, model[0]).attribute(x, at_layer, TARGETS)
    assert not torch.allclose(theirs, exact, rtol=0.1, atol=0.1)
    path = attribute(model, x, a.IntegratedGradients(30), **given)
    torch.testing.assert_close(path.sum(1), explained(model, x) - explained(model, x0.expand(N, 6)))
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        c.LayerIntegratedGradients(model, model[0]).attribute(x, x0, TARGETS)


def test_permuted_layers_have_targets():
    """Captum selects the target twice. Of two samples each gets the other's unit."""
    model, x = mlp(5, 6, 3), numbers(2, 5)
    ours = attribute(model, x, a.FeaturePermutation(2), target=TARGET[:2], layer="0")
    torch.testing.assert_close(ours, lost(model, x, model[0](x.flip(0)).detach()))
    for target, message in ((1, "Cannot choose target column"), (TARGETS[:2], "Output must be 2D to select")):
        with pytest.raises(AssertionError, match=message):
            c.LayerFeaturePermutation(model, model[0]).attribute(x, target)


def test_every_row_of_an_ablated_layer_keeps_its_samples_target():
    """Captum does not repeat the targets with the rows that it packs into one evaluation."""
    model, x, x0 = mlp(5, 6, 3), numbers(N, 5), numbers(1, 5, seed=2)
    at_layer = model[0](x0).detach()
    exact = lost(model, x, at_layer.expand(N, 6))
    for rows in (1, 5, 12):
        ours = attribute(model, x, a.FeatureAblation(), target=TARGET, layer="0", baselines=x0, rows=rows)
        torch.testing.assert_close(ours, exact)
    theirs = c.LayerFeatureAblation(model, model[0])
    torch.testing.assert_close(theirs.attribute(x, at_layer, TARGETS), exact)
    with pytest.raises(AssertionError, match="Tensor target dimension"):
        theirs.attribute(x, at_layer, TARGETS, perturbations_per_eval=2)


# Relevance on models as they are


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(6, 6, bias=False), nn.Linear(6, 3, bias=False)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x + self.relu(self.first(x)))


class FunctionalTanh(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.first(x)))


class Reused(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.relu(self.first(self.relu(self.first(x)))))


@pytest.mark.parametrize("kind", [Residual, FunctionalTanh, Reused])
def test_relevance_is_conserved_where_captums_is_not(kind):
    """Without biases it sums to the output. Captum counts both sides of a sum in full; functions pass gradients."""
    model, x = weights(kind(), scale=2), numbers(N, 6)
    wanted = explained(model, x)
    ours = attribute(model, x, EXACT_LRP, target=TARGET)
    torch.testing.assert_close(ours.sum(1), wanted, rtol=1e-8, atol=1e-10)
    theirs = c.LRP(model)
    if kind is Reused:
        with pytest.raises(RuntimeError, match="being used more than once in the network"):
            theirs.attribute(x.clone(), TARGETS)
    else:
        assert not torch.allclose(theirs.attribute(x.clone(), TARGETS).sum(1).detach(), wanted, rtol=0.1)


@pytest.mark.parametrize(
    "layer",
    [nn.Identity(), nn.Flatten(), nn.GELU(), nn.SiLU(), nn.LeakyReLU(), nn.BatchNorm1d(6), nn.LayerNorm(6),
     nn.Unflatten(1, (6,)), nn.Conv1d(6, 6, 1)],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_relevance_passes_layers_that_captum_refuses(layer):
    """Each is the only step without a rule there. Without biases relevance is conserved."""
    steps = [nn.Unflatten(1, (6, 1)), layer, nn.Flatten()] if isinstance(layer, nn.Conv1d) else [layer]
    model = weights(nn.Sequential(nn.Linear(6, 6), *steps, nn.Linear(6, 3)), scale=2)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if name.endswith(("bias", "running_mean")):
                tensor.zero_()
    x = numbers(N, 6)
    ours = attribute(model, x, EXACT_LRP, target=TARGET)
    torch.testing.assert_close(ours.sum(1), explained(model, x), rtol=1e-6, atol=1e-8)
    with pytest.raises(TypeError, match="has no rule defined"):
        c.LRP(nn.Sequential(nn.Linear(6, 6), layer)).attribute(x.clone(), TARGETS)


def test_the_relevance_of_an_activation_can_be_read():
    """A ReLU passes on what it gets: on both sides it is what the last layer shares out, z_k = y_k w_k."""
    model, x = mlp(6, 8, 3, activation=nn.ReLU), numbers(N, 6)
    exact = (model[:2](x) * model[2].weight[TARGET]).detach()
    for place in ("1", "1:input"):
        ours = attribute(model, x, EXACT_LRP, target=TARGET, read=place)
        torch.testing.assert_close(ours, exact)
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'relevance_output'"):
        c.LayerLRP(model, model[1]).attribute(x.clone(), TARGETS)


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


def test_the_rules_of_lrp_are_the_same_at_the_second_call():
    """They belong to the algorithm; Captum takes them off the modules after the first call."""
    model, x = mlp(6, 8, 3, activation=nn.ReLU), numbers(N, 6).abs()
    method = a.LRP(lrp.Composite(dense=lrp.Gamma(1.0, 1e-9)))
    once, again = (attribute(model, x, method, target=TARGET) for _ in range(2))
    assert torch.equal(once, again)
    for layer in (model[0], model[2]):
        layer.rule = GammaRule(1.0)
    theirs = c.LRP(model)
    once, again = (theirs.attribute(x.clone(), TARGETS).detach() for _ in range(2))
    assert not torch.allclose(once, again, rtol=0.1)
    for layer in (model[0], model[2]):
        layer.rule = EpsilonRule()
    torch.testing.assert_close(theirs.attribute(x.clone(), TARGETS).detach(), again)  # the default, from then on


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
