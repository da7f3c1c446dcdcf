"""A model, or a function that explains, may write into what it is given: the samples stay, the numbers are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xbench
from tests.jobs import Run, blobs, numbers, same
from xbench.algorithms import (
    Captum,
    DeepLift,
    External,
    FeatureAblation,
    GradientShap,
    IntegratedGradients,
    KernelShap,
    Lime,
    NoiseTunnel,
    Saliency,
)
from xbench.algorithms.base import Algorithm, Facts
from xbench.core.case import Case
from xbench.core.plan import Plan, Want
from xbench.metrics import Column, Completeness, Infidelity, Metric, MetricFacts, SensitivityMax
from xbench.metrics.maps import Maps
from xbench.models.black_box import Asked

METHODS = [
    IntegratedGradients(8),
    DeepLift(),
    GradientShap(),
    NoiseTunnel(Saliency(), nt_samples=3),
    FeatureAblation(),
    KernelShap(),
    Captum("IntegratedGradients"),
    Captum("DeepLift"),
    Captum("FeatureAblation"),
]
X = torch.rand(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
SHIFT = torch.rand(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
WEIGHTS = torch.tensor([1.0, -2.0, 3.0, 0.5, -1.0, 2.0], dtype=torch.float64)


class Net(nn.Module):
    """Normalises its input, with a shift per sample and a scale for all, in place or not."""

    def __init__(self, writes: bool) -> None:
        super().__init__()
        self.writes = writes
        self.inner = nn.ReLU()
        self.register_buffer("weights", WEIGHTS)

    def forward(self, x: Tensor, shift: Tensor, scale: dict[str, Tensor], *, mask: Tensor) -> Tensor:
        if self.writes:
            shift *= 0.5
            scale["all"] += 1
            mask *= 2
            x -= shift
            x /= scale["all"]
        else:
            shift, mask = shift * 0.5, mask * 2
            x = (x - shift) / (scale["all"] + 1)
        return self.inner(x).square() @ self.weights * mask


def ask(writes: bool, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """The call's answer about a model that writes into all it is given, or not; what was given must be unchanged."""
    x, shift, scale, mask = X.clone(), SHIFT.clone(), torch.tensor(0.5, dtype=torch.float64), torch.ones(5).double()
    found = call(Net(writes), x, *args, extra=(shift, {"all": scale}), kwargs={"mask": mask}, **named)
    assert torch.equal(x, X)
    assert torch.equal(shift, SHIFT)
    assert float(scale) == 0.5
    assert bool((mask == 1).all())
    return found


@pytest.mark.parametrize("rows", [None, 1])
@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_a_model_that_writes_into_what_it_is_given_has_the_maps_of_one_that_does_not(method, rows):
    found, wanted = (ask(writes, xbench.attribute, method, rows=rows) for writes in (True, False))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("method", [IntegratedGradients(8), FeatureAblation(), Captum("IntegratedGradients")], ids=repr)
def test_such_a_model_has_the_same_maps_at_a_layer(method):
    found, wanted = (ask(writes, xbench.attribute, method, layer="inner") for writes in (True, False))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("metric", [Infidelity(8), SensitivityMax(n_perturb_samples=2), Completeness()], ids=repr)
def test_such_a_model_has_the_same_scores(metric):
    found, wanted = (ask(writes, xbench.measure, IntegratedGradients(8), metric) for writes in (True, False))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_a_function_of_arrays_that_writes_into_them():
    def score(x: np.ndarray) -> np.ndarray:
        x -= 0.5
        return np.square(x).sum(1)

    x = X.float()
    found = xbench.attribute(Asked(score), x, FeatureAblation(), baselines=0.5)
    assert torch.equal(x, X.float())
    torch.testing.assert_close(found, (x - 0.5).square())


@pytest.mark.parametrize("output", ["logit", "probability"])
def test_a_function_that_explains_may_write_into_all_it_is_given(output):
    def explain(model: nn.Module, inputs: Tensor, target: object, baselines: Tensor, extra: tuple[Tensor, ...]):
        made = inputs.clone()
        for given in (inputs, target, baselines, *extra):
            if isinstance(given, Tensor):
                given.zero_()
        return made

    x, e, target = X.clone(), SHIFT.clone(), torch.arange(5)
    found = xbench.attribute(torch.mul, x, External(explain), target=target, extra=(e,), output=output)
    assert torch.equal(found, X)
    assert torch.equal(x, X)
    assert torch.equal(e, SHIFT)
    assert torch.equal(target, torch.arange(5))


class Writes(Algorithm):
    """Gradient times sample, with the sample overwritten while the plan is made."""

    @property
    def facts(self) -> Facts:
        return Facts("Writes", "a test", local=True)

    def plan(self, case: Case, x: Tensor) -> Plan:
        x -= 1
        return Plan([x, x], 2, Want.GRADIENT, lambda answers: next(answers).slope)


class Overwrites(Metric):
    """The sum of a map, with all that it is given overwritten."""

    @property
    def facts(self) -> MetricFacts:
        return MetricFacts("Overwrites", "a test", {"overwrites": Column("none")})

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        total = maps.values.sum(1)
        for given in (x, maps.values, maps.density):
            given.zero_()
        return {"overwrites": total}


def test_an_algorithm_and_a_metric_may_write_into_the_samples():
    x, maps = X.clone(), SHIFT.clone()
    torch.testing.assert_close(xbench.attribute(lambda x: x.square().sum(1), x, Writes()), 2 * (X - 1))
    torch.testing.assert_close(xbench.measure(lambda x: x.sum(1), x, maps, Overwrites()), SHIFT.sum(1))
    assert torch.equal(x, X)
    assert torch.equal(maps, SHIFT)


def test_functions_among_an_algorithms_parameters_may_write_into_the_samples():
    def multiplied(
        multipliers: tuple[Tensor, ...], inputs: tuple[Tensor, ...], baselines: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        return tuple(m.mul_(x.sub_(b)) for m, x, b in zip(multipliers, inputs, baselines, strict=True))

    def alike(x: Tensor, point: Tensor, present: Tensor) -> Tensor:
        weights = torch.exp(-(x - point).square().sum(1))
        for given in (x, point, present):
            given.zero_()
        return weights

    x, model = X.clone(), nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    found = xbench.attribute(model, x, DeepLift(custom_attribution_func=multiplied), baselines=0.3)
    torch.testing.assert_close(found, xbench.attribute(model, x, DeepLift(), baselines=0.3))
    found = xbench.attribute(lambda x: x @ WEIGHTS, x, Lime(40, alpha=0.0, similarity=alike))
    torch.testing.assert_close(found, X * WEIGHTS)
    assert torch.equal(x, X)


@pytest.mark.slow
def test_the_command_gives_the_same_table_for_a_model_that_writes_into_its_input(run: Run):
    grid = ("algorithm=[ig,deeplift,kernel_shap]", "metric=[infidelity,completeness]", "n=6")
    for name in ("normalises", "writes"):
        fault = "'writes into its input'" if name == "writes" else name
        assert blobs(run, *grid, f"model.module.fault={fault}", f"name={name}", f"store={name}") == 0
    same(numbers("writes"), numbers("normalises"))
