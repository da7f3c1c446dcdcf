"""Layers that the forward pass reaches and the output does not use: an error, or zeros where that is asked for."""

from __future__ import annotations

import captum.attr as c
import pytest
import torch
from torch import Tensor, nn

from tests.models_for_tests import numbers, weights
from xbench import algorithms as a
from xbench import attribute, measure
from xbench.engine import NoGradientError
from xbench.metrics import Infidelity

N = 3


class Aside(nn.Module):
    """Computes a layer for nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.aside, self.out = nn.Linear(4, 5), nn.Linear(4, 6), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.aside(x)
        return self.out(self.used(x).relu())


MODEL, X = weights(Aside()), numbers(N, 4)


@pytest.mark.parametrize(
    ("method", "place"),
    [
        *[(m, {"read": "aside"}) for m in (a.Saliency(), a.GradientXActivation(), a.Conductance(4))],
        *[(m, {"layer": "aside"}) for m in (a.Saliency(), a.IntegratedGradients(4), a.Conductance(4), a.DeepLift())],
    ],
)
def test_an_unused_layer_has_zeros_where_allowed(method: a.Algorithm, place: dict[str, str]) -> None:
    with pytest.raises(NoGradientError, match="`allow_unused=True` of xbench.attribute makes it zero"):
        attribute(MODEL, X, method, target=1, **place)
    assert torch.equal(attribute(MODEL, X, method, target=1, allow_unused=True, **place), torch.zeros(N, 6).double())


def test_the_zeros_are_captums() -> None:
    options = {"materialize_grads": True}
    theirs = c.LayerGradientXActivation(MODEL, MODEL.aside).attribute(X, 1, grad_kwargs=options)
    assert torch.equal(attribute(MODEL, X, a.GradientXActivation(), target=1, read="aside", allow_unused=True), theirs)
    theirs = c.LayerGradCam(MODEL, MODEL.aside).attribute(X, 1, grad_kwargs=options)
    method = a.GradCam("aside")
    ours = attribute(MODEL, X, method, target=1, layer="aside", allow_unused=True)
    assert torch.equal(ours, theirs.expand_as(ours))


def test_a_neuron_past_which_the_output_goes_has_no_conductance() -> None:
    ours = attribute(MODEL, X, a.Conductance(4), target=1, neuron=("aside", 2), allow_unused=True)
    assert torch.equal(ours, torch.zeros_like(X))


@pytest.mark.parametrize("place", [{"layer": "used"}, {"read": "used"}, {}])
def test_what_is_used_is_as_before(place: dict[str, str]) -> None:
    plain = attribute(MODEL, X, a.GradientXActivation(), target=1, **place)
    torch.testing.assert_close(
        attribute(MODEL, X, a.GradientXActivation(), target=1, allow_unused=True, **place), plain, rtol=1e-12, atol=0
    )
    assert float(plain.abs().max()) > 1e-3


def test_the_zeros_of_an_unused_layer_are_faithful() -> None:
    score = measure(MODEL, X, a.Saliency(), Infidelity(10), target=1, layer="aside", allow_unused=True)
    assert torch.equal(score, torch.zeros(N).double())


def test_a_layer_that_is_never_reached_has_no_shape() -> None:
    net = Aside()
    net.never = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="site never was not reached"):
        attribute(weights(net), X, a.Saliency(), target=1, read="never", allow_unused=True)
