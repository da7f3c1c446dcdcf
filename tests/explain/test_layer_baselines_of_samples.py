"""A distribution of baselines reaches a layer with the further arguments of the sample that it stands for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xbench
from xbench.algorithms import Captum, DeepLift, DeepLiftShap, External, GradientShap, IntegratedGradients, NoiseTunnel
from xbench.metrics import SensitivityMax

X = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
E = torch.tensor([[0.0, 0.0], [10.0, 10.0]], dtype=torch.float64)
THREE = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], dtype=torch.float64)


class Shifted(nn.Module):
    """The sum of relu(x + e): a layer that sees an argument of its sample."""

    def __init__(self) -> None:
        super().__init__()
        self.shifted, self.relu = nn.Identity(), nn.ReLU()

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        return self.relu(self.shifted(x + e)).sum(1)


def average(model: nn.Module, inputs: Tensor, baselines: Tensor, extra: tuple[Tensor, ...]) -> Tensor:
    """Differences from the mean baseline, as a function of one's own."""
    assert model(inputs, *extra).shape == (1,)
    return inputs - baselines.mean(0)


@pytest.mark.parametrize("by_name", [False, True], ids=["extra", "kwargs"])
@pytest.mark.parametrize("baselines", [THREE, THREE[:2]], ids=["three", "as many as samples"])
@pytest.mark.parametrize("rows", [None, 1])
def test_deeplift_shap_has_its_closed_form(rows, baselines, by_name):
    given: dict[str, Any] = {"kwargs": {"e": E}} if by_name else {"extra": (E,)}
    found = xbench.attribute(Shifted(), X, DeepLiftShap(), baselines=baselines, layer="relu", rows=rows, **given)
    torch.testing.assert_close(found, X - baselines.mean(0))


@pytest.mark.parametrize(
    "method",
    [
        GradientShap(6),
        NoiseTunnel(IntegratedGradients(4), nt_samples=6, stdevs=0.0, draw_baseline_from_distrib=True),
        NoiseTunnel(DeepLiftShap(), nt_samples=2, stdevs=0.01),
        Captum("DeepLiftShap"),
        External(average, distribution=True),
    ],
    ids=lambda method: method.facts.label,
)
def test_an_argument_that_moves_sample_and_baselines_alike_changes_no_map(method):
    """Where all is positive the layer is x + e, for a sample and for its baselines."""
    found, without = (
        xbench.attribute(Shifted(), X + 1, method, baselines=THREE + 1, extra=(e,), layer="shifted")
        for e in (E, torch.zeros_like(E))
    )
    torch.testing.assert_close(found, without)


@pytest.mark.parametrize("method", [DeepLiftShap(), GradientShap(6)], ids=repr)
def test_a_map_does_not_depend_on_batch_mates(method):
    both = xbench.attribute(Shifted(), X, method, baselines=THREE, extra=(E,), layer="relu")
    alone = xbench.attribute(Shifted(), X[:1], method, baselines=THREE, extra=(E[:1],), layer="relu")
    torch.testing.assert_close(both[:1], alone)


class Cell(nn.Module):
    """One step of an LSTM from states of the sample's own; the layer gives two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(2, 3)
        self.out = nn.Linear(6, 1)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        return self.out(torch.tanh(torch.cat(self.cell(x, (h, c)), 1))).squeeze(1)


def test_states_of_a_recurrent_layer_are_the_samples_own():
    torch.manual_seed(0)
    model, x = Cell().double(), torch.randn(4, 2, dtype=torch.float64)
    states = tuple(torch.randn(4, 3, dtype=torch.float64) for _ in range(2))
    maps = xbench.attribute(model, x, DeepLiftShap(), baselines=THREE, extra=states, layer="cell")
    assert isinstance(maps, tuple)
    with torch.no_grad():
        mean = torch.stack([model(b.expand(4, 2), *states) for b in THREE]).mean(0)
        torch.testing.assert_close(sum(m.sum(1) for m in maps), model(x, *states) - mean)
    single = [xbench.attribute(model, x, DeepLift(), baselines=b[None], extra=states, layer="cell") for b in THREE]
    for found, wanted in zip(maps, zip(*single, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(wanted).mean(0))


def test_a_metric_measures_with_the_samples_own_baselines():
    found, without = (
        xbench.measure(
            Shifted(), X, DeepLiftShap(), SensitivityMax(n_perturb_samples=3), baselines=THREE, extra=(e,), layer="relu"
        )
        for e in (E, torch.zeros_like(E))
    )
    torch.testing.assert_close(found, without)
