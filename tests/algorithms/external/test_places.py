"""Every place, readout and mode looks like a plain model; samples that are explained together stay together."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.external.cases import TARGET, WARNINGS, N, exactly, images, ixg, on_images, on_text
from tests.models_for_tests import TwoInputs, numbers, weights
from xbench import algorithms as a
from xbench import attribute, measure
from xbench.metrics import SensitivityMax

pytestmark = WARNINGS


class Structured(nn.Module):
    """Keywords, a tensor that is no batch, and a dictionary as result."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor, table: Tensor, *, scale: Tensor, power: int) -> dict[str, Tensor]:
        return {"scores": self.out(torch.tanh(self.first(x)) * scale[:, None] + table.sum() ** power), "other": x}


def structured(**more: Any) -> dict[str, Any]:
    further = {"scale": numbers(N, seed=3), "power": 2}
    return {"model": weights(Structured()), "inputs": numbers(N, 5), "extra": (numbers(2, 3),), "kwargs": further,
            "select": "scores", **more}  # fmt: skip


PLACES: dict[str, dict[str, Any]] = {
    "a layer": on_images(layer="conv2"),
    "the input of a layer": on_images(layer="conv2:input"),
    "an embedding": on_text(),
    "a neuron": on_images(neuron=("hidden", 2)),
    "units of a layer, from a layer": on_images(neuron=("conv2", (0, slice(1, 3), 2)), layer="conv1"),
    "a probability": on_images(output="probability"),
    "a log-probability at a layer": on_images(output="log_probability", layer="conv2"),
    "keywords and a part of the output": structured(),
    "the probability of a part": structured(output="probability", layer="first"),
    "a dictionary": {
        "model": weights(TwoInputs()), "inputs": {"b": numbers(N, 2, 2), "a": numbers(N, 3, seed=2)},
    },
    "two inputs": {"model": weights(TwoInputs()), "inputs": (numbers(N, 3), numbers(N, 2, 2, seed=2))},
    "one input in a tuple": on_images() | {"inputs": (numbers(N, 1, 6, 6),)},
}  # fmt: skip


@pytest.mark.parametrize("asked", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("method", [a.External(ixg), a.Captum("InputXGradient")], ids=["function", "captum"])
def test_every_place_and_readout_looks_like_a_plain_model(method, asked):
    asked = asked | {"target": TARGET}
    model, inputs = asked.pop("model"), asked.pop("inputs")
    maps = attribute(model, inputs, method, **asked)
    wanted = attribute(model, inputs, a.InputXGradient(), **asked)
    assert type(maps) is type(wanted)
    exactly(maps, wanted)


def test_a_plain_model_is_handed_over_as_it_is():
    def explain(model, inputs, target):
        given.append(model)
        return inputs

    given: list[nn.Module] = []
    model, x = images()
    attribute(model, x, a.External(explain), target=0)
    attribute(model, x, a.External(explain), target=0, output="probability")
    assert [net is model for net in given] == [True, False]
    with torch.no_grad():
        exactly(given[1](x), torch.softmax(model(x), 1)[:, [0]])


def test_a_tunnel_may_smooth_a_function():
    model, x = images()
    maps = [attribute(model, x, a.NoiseTunnel(method, nt_samples=3, stdevs=0.2), target=TARGET)
            for method in (a.External(ixg), a.InputXGradient())]  # fmt: skip
    exactly(*maps)


def centred(model, inputs, target):
    """Each sample beside all others of the call."""
    return inputs - inputs.mean(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [a.External(centred), a.NoiseTunnel(a.External(centred)), a.Captum("FeaturePermutation"), a.Captum("Lime")],
    ids=["callable", "smoothed", "permutation", "lime"],
)
def test_a_small_memory_does_not_part_samples_that_are_explained_together(method):
    model, x = images()
    groups = (torch.arange(36) // 9).reshape(1, 1, 6, 6)
    maps = [attribute(model, x, method, target=TARGET, features=groups, memory=memory) for memory in (None, 1)]
    assert maps[0].abs().max() > 0
    exactly(*maps)
    scores = [measure(model, x, method, SensitivityMax(), target=TARGET, memory=memory) for memory in (None, 1)]
    exactly(*scores)


@pytest.mark.parametrize(
    ("method", "asked", "message"),
    [
        (a.Captum(), {"read": "conv2"}, r"Integrated Gradients \(Captum\) takes no `read`: it chooses where it reads"),
        (a.External(ixg), {"read": "conv2"}, "ixg takes no `read`: it reads outputs only"),
        (a.Captum("LRP"), {"model": lambda x: x.flatten(1)}, "needs a module whose operations can be seen"),
        (a.Captum("Saliency"), {"inputs": torch.ones(N, 1, 6, 6).long()}, "needs real-valued points"),
    ],
)
def test_what_does_not_suit_says_why(method, asked, message):
    asked = on_images(target=0) | asked
    with pytest.raises(a.NotApplicable, match=message):
        attribute(asked.pop("model"), asked.pop("inputs"), method, **asked)


@pytest.mark.parametrize("method", [a.External(ixg), a.Captum()], ids=["function", "captum"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inside_other_modes_the_maps_are_the_same(method, mode):
    model, x = images()
    wanted = attribute(model, x, method, target=TARGET)
    with mode():
        maps = attribute(model, x, method, target=TARGET)
    assert torch.equal(maps, wanted)
