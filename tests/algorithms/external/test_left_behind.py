"""Draws and rows of external code, and that nothing of it stays behind."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.external.cases import (
    TARGET,
    WARNINGS,
    N,
    held,
    images,
    noise,
    on_images,
)
from tests.models_for_tests import numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.algorithms.external.captum_methods import METHODS
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

pytestmark = WARNINGS


def states() -> list[Any]:
    return [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]  # noqa: NPY002


def test_draws_follow_the_seed_and_leave_the_global_generators_alone():
    model, x = images()
    before = states()
    maps = [attribute(model, x, a.External(noise), target=0, seed=seed) for seed in (0, 0, 1)]
    assert states() == before
    assert torch.equal(maps[0], maps[1])
    assert not torch.isclose(maps[0], maps[2]).any()

    def broken(model, inputs, target):
        noise(model, inputs, target)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        attribute(model, x, a.External(broken), target=0)
    assert states() == before


def test_the_seed_offered_is_that_of_the_global_generators():
    def explain(model, inputs, target, seed):
        own = torch.Generator().manual_seed(seed)
        assert torch.equal(torch.rand(5), torch.rand(5, generator=own))
        assert np.random.rand() == np.random.RandomState(seed).rand()  # noqa: NPY002
        assert random.random() == random.Random(seed).random()
        return inputs

    attribute(*images(), a.External(explain), target=0)


def counted(asked: dict[str, Any], method: a.Algorithm) -> tuple[int, int]:
    asked = asked | {"target": asked.get("target", TARGET)}
    explainer = Explainer(Request(asked.pop("model"), asked.pop("inputs"), **asked))
    explainer.restart()
    explainer.attribute(method)
    return explainer.engine.counters.forward_rows, explainer.engine.counters.backward_rows


@pytest.mark.parametrize("place", [{}, {"output": "probability"}, {"layer": "conv1"}])
def test_rows_are_those_that_pass_the_model(place):
    def explain(model, inputs, target, extra):
        double = (*(torch.cat([t, t]) for t in (inputs.requires_grad_(), *extra)),)
        output = model(*double)[:, 0]  # 2 N, twice backward
        torch.autograd.grad(output.sum(), inputs, retain_graph=True)
        torch.autograd.grad(output[0], inputs)
        model(inputs, *extra)  # N, never backward
        with torch.no_grad():
            model(inputs[:1], *(e[:1] for e in extra))  # 1
        return inputs

    assert counted(on_images(**place), a.External(explain)) == (3 * N + 1, 4 * N)


@pytest.mark.parametrize(
    ("method", "rows"),
    [
        (a.Captum("Saliency"), (N, N)),
        (a.Captum("IntegratedGradients", kwargs={"n_steps": 7}), (7 * N, 7 * N)),
        (a.Captum("FeatureAblation"), (37 * N, 0)),
        (a.Captum("FeatureAblation", kwargs={"perturbations_per_eval": 4}), (37 * N, 0)),
    ],
    ids=str,
)
def test_rows_of_captums_methods(method, rows):
    assert counted(on_images(), method) == rows


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_function_does_to_the_modules_is_undone(fails):
    def explain(model, inputs, target):
        model.train()
        model.conv1.input = inputs
        del model.conv2.mine
        model.hidden.register_forward_hook(lambda *_: None)
        model.hidden.register_forward_pre_hook(lambda *_: None)
        if fails:
            raise ZeroDivisionError
        return inputs

    model, x = images()
    model.conv2.mine = 3
    model.pool.train()
    before = held(model)
    if fails:
        with pytest.raises(ZeroDivisionError):
            attribute(model, x, a.External(explain), target=0)
    else:
        attribute(model, x, a.External(explain), target=0)
    assert held(model) == before
    assert model.conv2.mine == 3


class Aside(nn.Module):
    """A layer beside the explained path, where Captum's DeepLIFT leaves what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.relu, self.out = nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)
        self.aside = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.relu(self.part(x))
        self.aside(hidden)
        return self.out(hidden)


@pytest.mark.parametrize("name", METHODS)
def test_no_method_of_captum_leaves_anything_on_the_model(name):
    model = weights(Aside())
    before, values = held(model), [p.clone() for p in model.parameters()]
    kwargs = {"sliding_window_shapes": [2]} if name == "Occlusion" else {}
    attribute(model, numbers(N, 5), a.Captum(name, kwargs=kwargs), target=TARGET)
    assert held(model) == before
    assert all(torch.equal(p, v) for p, v in zip(model.parameters(), values, strict=True))
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
