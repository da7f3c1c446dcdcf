"""The limits of normalised AOPC against all orders, and the metrics of one change of the sample."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.metrics.toys import case_of, linear, score
from tests.models_for_tests import ConvNet, numbers, weights
from xbench.algorithms import FeatureAblation, Random
from xbench.core.needs import NotApplicable
from xbench.metrics import (
    AverageDrop,
    FaithfulnessEstimate,
    Metric,
    MonotonicityCorrelation,
    NonSensitivity,
    NormalisedAOPC,
    PredictionGap,
)
from xbench.metrics.faithfulness.naopc import OrderLimits
from xbench.metrics.imputers.base import BASELINE


class Product(nn.Module):
    """Features that act together: no order is best feature by feature."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, :2].prod(1) + 2 * x[:, 1] * x[:, 2] - x[:, 2:].prod(1) + x.sin().sum(1)).unsqueeze(1)


@pytest.mark.parametrize("k", [1, 4, 5])
def test_the_limits_are_those_of_all_orders(k: int) -> None:
    model, x, phi = Product(), numbers(3, 5), numbers(3, 5, seed=2)
    features = torch.arange(5).clamp(max=k - 1).unsqueeze(0) if k < 5 else None
    found = score(model, x, NormalisedAOPC(), phi, target=0, features=features)
    ids = torch.arange(5).clamp(max=k - 1)
    for i in range(3):

        def of(order: tuple[int, ...], i: int = i) -> float:
            without, total = x[i].clone(), 0.0
            for feature in order:
                without[ids == feature] = 0
                total += model(without.unsqueeze(0))[0, 0].item()
            return total / k

        every = [of(order) for order in itertools.permutations(range(k))]
        relevance = [phi[i][ids == feature].sum().item() for feature in range(k)]
        most = tuple(sorted(range(k), key=lambda feature: -relevance[feature]))
        if k == 1:
            assert found["naopc"][i].isnan()  # there is one order
            continue
        span = max(every) - min(every)
        assert found["naopc"][i] == pytest.approx((max(every) - of(most)) / span)
        assert found["naopc_sufficiency"][i] == pytest.approx((of(most[::-1]) - min(every)) / span)


def test_a_wide_beam_finds_what_the_search_over_all_subsets_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = weights(nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 1))), numbers(4, 7)
    exact = score(model, x, NormalisedAOPC(), numbers(4, 7, seed=2), target=0)
    monkeypatch.setattr("xbench.metrics.faithfulness.naopc.EXACT", 0)
    wide = score(model, x, NormalisedAOPC(beam=35), numbers(4, 7, seed=2), target=0)
    torch.testing.assert_close(wide, exact)
    narrow = score(model, x, NormalisedAOPC(beam=2), numbers(4, 7, seed=2), target=0)
    assert narrow["naopc"].isfinite().all()


def test_a_sample_s_limits_do_not_depend_on_its_mates() -> None:
    """Of samples with 3 and 10 features one is searched through exactly, whatever stands beside it."""
    model = weights(nn.Sequential(nn.Linear(10, 4), nn.Tanh(), nn.Linear(4, 1)))
    x, phi = numbers(2, 10), numbers(2, 10, seed=2)
    features = torch.stack([torch.arange(10) // 4, torch.arange(10)])
    both = score(model, x, NormalisedAOPC(), phi, target=0, features=features)
    for i in range(2):
        alone = score(
            model, x[i : i + 1], NormalisedAOPC(), phi[i : i + 1], target=0, features=features[i : i + 1], ids=(str(i),)
        )
        for column, values in alone.items():
            torch.testing.assert_close(values[0], both[column][i])


@pytest.mark.parametrize(
    "metric",
    [NormalisedAOPC(), MonotonicityCorrelation(), FaithfulnessEstimate(), NonSensitivity()],
    ids=lambda metric: type(metric).__name__,
)
def test_samples_of_too_many_features_have_no_score_and_the_others_theirs(metric: Metric) -> None:
    model = weights(nn.Sequential(nn.Linear(10, 4), nn.Tanh(), nn.Linear(4, 1)))
    x, phi = numbers(2, 10), numbers(2, 10, seed=2)
    features = torch.stack([torch.arange(10) // 4, torch.arange(10)])
    whole = score(model, x, metric, phi, target=0, features=features)
    few = score(model, x, replace(metric, max_features=9), phi, target=0, features=features)
    for column, values in few.items():
        assert values[0] == whole[column][0]
        assert values[1].isnan()
        assert whole[column].isfinite().all()
    with pytest.raises(NotApplicable, match=r"needs at most 2 features .max_features.: every sample has 3 or more"):
        score(model, x, replace(metric, max_features=2), phi, target=0, features=features)


def test_a_linear_model_s_best_order_is_that_of_its_terms() -> None:
    model, x = linear(8), numbers(5, 8)
    best = score(model, x, NormalisedAOPC(), FeatureAblation(), target=1)
    for values in best.values():
        torch.testing.assert_close(values, torch.ones(5).double())
    worst = score(model, x, NormalisedAOPC(), -ablated(model, x), target=1)
    for values in worst.values():
        torch.testing.assert_close(values, torch.zeros(5).double(), atol=1e-9, rtol=0)
    noise = score(model, x, NormalisedAOPC(), Random(), target=1)["naopc"]
    assert ((noise > 0) & (noise < 1)).all()
    with pytest.raises(NotApplicable, match="needs at most 7 features"):
        score(model, x, NormalisedAOPC(max_features=7), Random(), target=1)


def ablated(model: nn.Module, x: Tensor) -> Tensor:
    return x * model[1].weight[1].detach()


def test_limits_are_told_by_evidence_of_two_numbers() -> None:
    case, _ = case_of(numbers(2, 5))
    assert OrderLimits(5, 20, BASELINE) == NormalisedAOPC().evidence[0]
    assert int(case.counts.max()) == 5


def test_average_drop_increase_and_gain_are_those_of_the_loop() -> None:
    model, x, phi = weights(ConvNet()), numbers(6, 1, 6, 6), numbers(6, 1, 6, 6, seed=3)
    found = score(model, x, AverageDrop(), phi, target=1, output="probability", baselines=0.25)
    for i in range(6):
        size = phi[i].clamp(min=0)
        mask = (size - size.min()) / (size.max() - size.min())
        y, o = (model(each.unsqueeze(0)).softmax(1)[0, 1].item() for each in (x[i], 0.25 + mask * (x[i] - 0.25)))
        assert found["average_drop"][i] == pytest.approx(max(0, y - o) / y)
        assert found["average_increase"][i] == float(o > y)
        assert found["average_gain"][i] == pytest.approx(max(0, o - y) / (1 - y))
    certain = score(lambda x: torch.tensor([[1.0, 0.0]]).double().expand(len(x), -1), x, AverageDrop(), phi, target=0)
    assert all(values.isnan().all() for values in certain.values())
    with pytest.raises(NotApplicable, match="Average drop needs a probability as the explained output"):
        score(lambda x: x.flatten(1).sum(1) / 99, x, AverageDrop(), phi)


def test_prediction_gaps_of_a_linear_model() -> None:
    model, x, phi = linear(8), numbers(4, 8), numbers(4, 8, seed=3)
    found = score(model, x, PredictionGap(n_perturb_samples=400, stdev=0.1), phi, target=1)
    weight = model[1].weight[1].detach()
    for i in range(4):
        most = set(phi[i].abs().topk(2).indices.tolist())
        scale = 0.1 * (x[i].max() - x[i].min()).item()
        for name, chosen in (("pgi", most), ("pgu", set(range(8)) - most)):
            deviation = scale * math.sqrt(sum(weight[k].item() ** 2 for k in chosen))
            expected = deviation * math.sqrt(2 / math.pi)  # the mean size of a normal number
            assert found[name][i] == pytest.approx(expected, rel=0.15)
    with pytest.raises(ValueError, match="share: expected"):
        PredictionGap(share=0)
    with pytest.raises(ValueError, match="beam: expected at least 1"):
        NormalisedAOPC(beam=0)
