"""Relevance propagation where Captum 0.9.0 and ours differ on purpose; the list is docs/captum.md."""

import captum.attr as c
import pytest
import torch
from captum.attr._utils.lrp_rules import EpsilonRule, GammaRule
from torch import Tensor, nn

from tests.algorithms.divergent import EXACT_LRP, TARGET, TARGETS, N, explained
from tests.models_for_tests import mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.rules import lrp

pytestmark = [
    pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks and attributes:UserWarning"),
]


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
