"""Layers and embeddings where Captum 0.9.0 and ours differ on purpose; the list is docs/captum.md."""

import captum.attr as c
import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.divergent import TARGET, TARGETS, N, explained
from tests.models_for_tests import mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.core.draws import Draws

pytestmark = [
    pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks and attributes:UserWarning"),
]


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
