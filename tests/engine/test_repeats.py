"""Rows like the first of their plan are not evaluated again; the answers are those that they would have had."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.engine.test_engine import Bench, Watched
from tests.models_for_tests import numbers
from xbench.algorithms import FeatureAblation, NoiseTunnel
from xbench.core.plan import Plan, Want, sequence, values
from xbench.explain.explainer import Explainer
from xbench.explain.explanation import Explanation
from xbench.explain.request import Request
from xbench.explain.score import score_maps
from xbench.metrics import SensitivityMax

N, D = 3, 4
FEATURES = torch.tensor([[0, 1, 2, 3], [0, 1, -1, -1], [0, 0, 1, 1]])


def bench(rows: int | None) -> Bench:
    model = Watched()
    return Bench(model, Explainer(Request(model, numbers(N, D), baselines=0.0, features=FEATURES, rows=rows)))


@pytest.mark.parametrize("rows", [3, 5, None])
def test_a_feature_that_a_sample_lacks_costs_no_row(rows: int | None) -> None:
    b = bench(rows)
    maps = b.explainer.attribute(FeatureAblation())
    x = b.explainer.x
    per_feature = torch.zeros(N, D, dtype=x.dtype).scatter_add(1, FEATURES.clamp(min=0), x.square() * (FEATURES >= 0))
    expected = per_feature.gather(1, FEATURES.clamp(min=0)) * (FEATURES >= 0)
    torch.testing.assert_close(maps, expected, rtol=1e-12, atol=1e-14)
    assert sum(b.model.rows) == (1 + 4) + (1 + 2) + (1 + 2)
    assert b.counters.forward_rows == N * 5  # as the plan asks


@pytest.mark.parametrize("rows", [3, 4, 7, 100])
@pytest.mark.parametrize("rounds", [1, 3])
def test_every_round_has_a_first_point_of_its_own(rows: int, rounds: int) -> None:
    b = bench(rows)
    changes = [[0, 0, 0], [1, 0, 2], [0, 0, 0], [3, 4, 0]]  # of each sample, point by point

    def plan(x: Tensor) -> Plan:
        points = [x + torch.tensor(change)[:, None] for change in changes]
        return Plan(points, len(points), Want.VALUE, values)

    def several(_case: object, x: Tensor) -> Plan:
        return sequence((plan(x + 10 * j) for j in range(rounds)), rounds, lambda found: torch.cat(list(found), 1))

    x = b.explainer.x
    points = [x + 10 * j + torch.tensor(change)[:, None] for j in range(rounds) for change in changes]
    torch.testing.assert_close(b.run(several), torch.stack([p.square().sum(1) for p in points], 1), rtol=0, atol=0)
    assert sum(b.model.rows) == rounds * (N + 4)


def test_explaining_again_evaluates_no_row_like_its_first() -> None:
    b = bench(None)
    b.explainer.attribute(NoiseTunnel(FeatureAblation(), nt_samples=4))
    assert sum(b.model.rows) == 4 * 11
    method = FeatureAblation()
    explanation = Explanation.by(method, b.explainer.attribute(method), b.explainer)
    b.model.batches.clear()
    score_maps(b.explainer, SensitivityMax(n_perturb_samples=5, floor=False), explanation)
    assert sum(b.model.rows) == 5 * 11


def test_maps_that_are_differentiated_further_have_the_graph_of_every_point() -> None:
    x = torch.zeros(N, D, dtype=torch.float64, requires_grad=True)  # at its baseline: every point equals the first
    maps = Explainer(Request(Shifted(), x, baselines=0.0, features=FEATURES, create_graph=True)).attribute(
        FeatureAblation()
    )
    (slopes,) = torch.autograd.grad(maps.sum(), x)
    expected = torch.tensor([[2.0, 2, 2, 2], [2, 2, 0, 0], [4, 4, 4, 4]], dtype=torch.float64)
    torch.testing.assert_close(slopes, expected)


class Shifted(Watched):
    """f(x) = sum of (x + 1)^2."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 1)
