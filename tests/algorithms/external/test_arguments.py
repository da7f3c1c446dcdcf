"""What a function is given: arguments by name, targets in the form given, copies of the tensors."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.external.cases import (
    TARGET,
    WARNINGS,
    N,
    exactly,
    images,
    ixg,
)
from tests.models_for_tests import mlp, numbers
from xbench import algorithms as a
from xbench import attribute

pytestmark = WARNINGS


class Explaining:
    """Ways in which a function may be written."""

    def __call__(self, model, inputs, label):
        return ixg(model, inputs, label)

    def method(self, model, inputs, target):
        return ixg(model, inputs, target)


def _decorated(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)

    return inner


WRITTEN = {
    "target": lambda model, inputs, target: ixg(model, inputs, target),
    "another name": lambda net, x, y: ixg(net, x, y),
    "by keyword": lambda model, inputs, *, target: ixg(model, inputs, target),
    "with a default": lambda model, inputs, target=None: ixg(model, inputs, target),
    "behind another": lambda model, inputs, scale=1.0, target=None: ixg(model, inputs, target) * scale,
    "any": lambda *arguments: ixg(*arguments),
    "by position only": lambda model, inputs, target, /: ixg(model, inputs, target),
    "an object": Explaining(),
    "a method": Explaining().method,
    "decorated": _decorated(lambda model, inputs, target: ixg(model, inputs, target)),
    "partial": functools.partial(lambda model, inputs, target, *, scale: ixg(model, inputs, target) * scale, scale=1),
}


@pytest.mark.parametrize("function", WRITTEN.values(), ids=WRITTEN)
def test_a_function_may_be_written_in_many_ways(function):
    model, x = images()
    exactly(
        attribute(model, x, a.External(function), target=TARGET), attribute(model, x, a.InputXGradient(), target=TARGET)
    )


def test_a_function_without_a_target_is_not_given_one():
    model, x = mlp(5, 4, 1), numbers(N, 5)
    exactly(attribute(model, x, a.External(lambda model, inputs: ixg(model, inputs, None))),
            attribute(model, x, a.InputXGradient()))  # fmt: skip


def test_what_a_function_names_is_passed():
    model, x = images()
    seen: dict[str, Any] = {}

    def explain(model, inputs, target, *, seed, features, baselines, extra):
        seen.update(baselines=baselines, extra=extra, features=features, seed=seed)
        return inputs

    features = torch.tensor([5, 5, 2, -1, 9, 9])[:, None]
    maps = attribute(model, x, a.External(explain), target=0, baselines=numbers(N, 1, 6, 6, seed=2), seed=3,
                     features=features[None, None].expand(1, 1, 6, 6))  # fmt: skip
    assert torch.equal(maps, x)
    assert torch.equal(seen["baselines"], numbers(N, 1, 6, 6, seed=2))
    assert torch.equal(seen["features"][0, 0, :, 0], torch.tensor([1, 1, 0, -1, 2, 2]))
    assert seen["extra"] == ()
    assert isinstance(seen["seed"], int)
    attribute(model, x, a.External(explain), target=0)
    assert torch.equal(seen["baselines"], torch.zeros(1, 1, 6, 6).double())
    assert torch.equal(seen["features"], torch.arange(36).reshape(1, 1, 6, 6))


@pytest.mark.parametrize("way", ["kwargs", "partial"])
def test_arguments_of_its_own_win_over_those_of_the_run(way):
    def explain(model, inputs, target, baselines, steps=0, sizes=()):
        assert sizes in ((), (1, (2, 3)))
        return torch.full_like(inputs, 100 * target + 10 * baselines + steps)

    own: dict[str, Any] = {"baselines": 3, "target": 2, "steps": 4}
    if way == "kwargs":  # lists, as YAML has them, arrive as tuples
        method = a.External(explain, kwargs=own | {"sizes": [1, [2, 3]]})
    else:
        method = a.External(functools.partial(explain, **own))
    assert attribute(*images(), method, target=1).unique().tolist() == [234]


@pytest.mark.parametrize("target", [1, TARGET, torch.tensor(TARGET), torch.tensor([2]), (1,)])
def test_targets_arrive_in_the_form_given(target):
    model, x = images()
    seen: list[Any] = []

    def explain(model, inputs, target):
        seen.append(target)
        return ixg(model, inputs, target)

    maps = attribute(model, x, a.External(explain), target=target)
    exactly(maps, attribute(model, x, a.InputXGradient(), target=target))
    assert torch.equal(seen[0], target) if isinstance(target, Tensor) else seen[0] == target


class Grid(nn.Module):
    """Outputs (n, 2, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp(5, 4, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).unflatten(1, (2, 3))


@pytest.mark.parametrize("target", [(1, 2), [(0, 1), (1, 2), (1, 0), (0, 0)]])
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_targets_of_several_indices(target, output):
    model, x = Grid(), numbers(N, 5)
    wanted = attribute(model, x, a.InputXGradient(), target=target, output=output)
    exactly(attribute(model, x, a.External(ixg), target=target, output=output), wanted)
    captum = a.Captum("InputXGradient")
    for given in (target, torch.tensor(target)) if isinstance(target, list) else (target,):
        exactly(attribute(model, x, captum, target=given, output=output), wanted)


def test_the_tensors_are_copies():
    def explain(model, inputs, target, baselines, features):
        for tensor in (inputs, baselines, features):
            tensor.zero_()
        return inputs

    model, x = images()
    kept, features = x.clone(), torch.arange(36).reshape(1, 1, 6, 6)
    attribute(model, x, a.External(explain), target=0, baselines=x, features=features)
    assert torch.equal(x, kept)
    assert features[0, 0, 5, 5] == 35
