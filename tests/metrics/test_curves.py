"""Metrics of ordered removal against loops over one sample at a time, in float64."""

from __future__ import annotations

import itertools
import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from tests.metrics.toys import linear, score
from tests.models_for_tests import ConvNet, numbers, weights
from xbench.core.needs import NotApplicable
from xbench.metrics import (
    ABPC,
    AUCTP,
    IROF,
    ROAD,
    Comprehensiveness,
    DeletionAUC,
    InsertionAUC,
    LogOdds,
    Metric,
    Monotonicity,
    PixelFlipping,
    RegionPerturbation,
    Selectivity,
    Sufficiency,
    SymmetricRelevanceGain,
)

N, STEPS, BASE = 5, 6, 0.25
PATCHES = (torch.arange(36) // 9).reshape(1, 1, 6, 6)
PIXELS = torch.arange(36).reshape(1, 1, 6, 6)
SQUARES = (torch.arange(6)[:, None] // 2 * 3 + torch.arange(6) // 2).reshape(1, 1, 6, 6)


def samples() -> Tensor:
    return numbers(N, 1, 6, 6)


def outputs(
    model: nn.Module,
    x: Tensor,
    phi: Tensor,
    ids: Tensor,
    steps: int = STEPS,
    *,
    least: bool = False,
    mean: bool = False,
) -> list[Tensor]:
    """All outputs of one sample while its features go to the baseline."""
    ids = ids.flatten()
    of = [phi.flatten()[ids == k] for k in range(int(ids.max()) + 1)]
    total = [float(part.mean() if mean else part.sum()) for part in of]
    order = sorted(range(len(total)), key=lambda k: total[k] if least else -total[k])
    found = []
    for step in range(steps + 1):
        gone = order[: round(len(order) * step / steps)]
        without = x.flatten().clone()
        without[torch.isin(ids, torch.tensor(gone, dtype=torch.int64))] = BASE
        found.append(model(without.reshape(1, *x.shape))[0].detach())
    return found


def trapezoid(curve: list[float]) -> float:
    return sum((a + b) / 2 for a, b in itertools.pairwise(curve)) / (len(curve) - 1)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def aopc(curve: list[float]) -> float:
    return mean([curve[0] - f for f in curve])


def at(curve: list[float], points: tuple[int, ...]) -> float:
    return mean([curve[0] - curve[point] for point in points])


# The metric, its column, and the same from the curves of the most and of the least relevant first.
CASES = [
    (DeletionAUC(STEPS), "deletion_auc", lambda m, le: trapezoid(m)),
    (InsertionAUC(STEPS), "insertion_auc", lambda m, le: trapezoid(le[::-1])),
    (PixelFlipping(STEPS), "pixel_flipping", lambda m, le: mean([m[0] - f for f in m[1:]])),
    (SymmetricRelevanceGain(STEPS), "srg", lambda m, le: trapezoid(le) - trapezoid(m)),
    (SymmetricRelevanceGain(STEPS), "morf", lambda m, le: trapezoid(m)),
    (SymmetricRelevanceGain(STEPS), "lerf", lambda m, le: trapezoid(le)),
    (ABPC(STEPS), "abpc", lambda m, le: aopc(m) - aopc(le)),
    (Comprehensiveness(STEPS, shares=(1 / 3, 0.5)), "comprehensiveness", lambda m, le: at(m, (2, 3))),
    (Sufficiency(STEPS, shares=(1 / 3, 0.5)), "sufficiency", lambda m, le: at(le, (4, 3))),
    (Monotonicity(STEPS), "monotonicity", lambda m, le: float(all(a >= b for a, b in itertools.pairwise(m)))),
    (Monotonicity(STEPS), "monotonicity_share", lambda m, le: mean([float(a >= b) for a, b in itertools.pairwise(m)])),
]


@pytest.mark.parametrize("ids", [PIXELS, PATCHES], ids=["pixels", "patches"])
@pytest.mark.parametrize(("metric", "column", "formula"), CASES, ids=[column for _, column, _ in CASES])
def test_columns_are_those_of_the_loop(metric: Metric, column: str, formula: object, ids: Tensor) -> None:
    model, x, phi = weights(ConvNet()), samples(), numbers(N, 1, 6, 6, seed=3)
    found = score(model, x, metric, phi, target=1, baselines=BASE, features=ids)[column]
    for i in range(N):
        morf, lerf = (
            [out[1].item() for out in outputs(model, x[i], phi[i], ids, least=least)] for least in (False, True)
        )
        assert found[i] == pytest.approx(formula(morf, lerf))


@pytest.mark.parametrize(
    ("metric", "column", "formula"),
    [
        (RegionPerturbation(STEPS, side=2), "region_perturbation", aopc),
        (Selectivity(STEPS, side=2), "selectivity", trapezoid),
    ],
)
def test_squares_are_removed_whatever_the_features_are(metric: Metric, column: str, formula: object) -> None:
    model, x, phi = weights(ConvNet()), samples(), numbers(N, 1, 6, 6, seed=3)
    found = score(model, x, metric, phi, target=1, baselines=BASE, features=PATCHES)[column]
    for i in range(N):
        curve = [out[1].item() for out in outputs(model, x[i], phi[i], SQUARES)]
        assert found[i] == pytest.approx(formula(curve))
    with pytest.raises(NotApplicable, match=r"needs images of at least 9 pixels"):
        score(model, x, Selectivity(side=9), phi, target=1)
    with pytest.raises(NotApplicable, match="needs images"):
        score(linear(8), numbers(3, 8), metric, numbers(3, 8), target=1)


def test_irof_ranks_segments_by_their_mean_and_needs_a_probability() -> None:
    model, x, phi = weights(ConvNet()), samples(), numbers(N, 1, 6, 6, seed=3)
    uneven = (torch.arange(36) >= 5).long() + (torch.arange(36) >= 20).long()
    metric = IROF(3, segments="features")
    setting = {"target": 1, "baselines": BASE, "features": uneven.reshape(1, 1, 6, 6)}
    found = score(model, x, metric, phi, output="probability", **setting)["irof"]
    for i in range(N):
        outs = outputs(model, x[i], phi[i], uneven, 3, mean=True)
        curve = [out.softmax(0)[1].item() for out in outs]
        assert found[i] == pytest.approx(1 - trapezoid([f / curve[0] for f in curve]))
    own = score(lambda x: model(x).softmax(1), x, metric, phi, **setting)["irof"]
    torch.testing.assert_close(own, found)
    for output in ("logit", "value", "log_probability"):
        with pytest.raises(NotApplicable, match="IROF needs a probability as the explained output: give output=prob"):
            score(model, x, metric, phi, output=output, **setting)
    missing = score(lambda x: torch.tensor([[1.0, 0.0]]).double().expand(len(x), -1), x, metric, phi, **setting)
    assert missing["irof"].isnan().all()
    segmented = score(model, x, IROF(4), phi, output="probability", target=1)["irof"]
    assert segmented.isfinite().all()


def test_predictions_along_the_curve() -> None:
    model, x, phi = weights(ConvNet()), samples(), numbers(N, 1, 6, 6, seed=3)
    setting = {"target": 1, "baselines": BASE, "features": PIXELS}
    road = score(model, x, ROAD(STEPS, imputer="baseline"), phi, **setting)
    auc_tp = score(model, x, AUCTP(STEPS), phi, **setting)["auc_tp"]
    odds = score(model, x, LogOdds(STEPS, shares=(0.5, 1.0)), phi, **setting)["log_odds"]
    survived = []
    for i in range(N):
        morf, lerf = (outputs(model, x[i], phi[i], PIXELS, least=least) for least in (False, True))
        kept = [[float(out.argmax() == curve[0].argmax()) for out in curve] for curve in (morf, lerf)]
        survived += kept[0]
        assert road["road_morf"][i] == pytest.approx(mean(kept[0][1:-1]))
        assert road["road_lerf"][i] == pytest.approx(mean(kept[1][1:-1]))
        assert road["road"][i] == pytest.approx(mean(kept[1][1:-1]) - mean(kept[0][1:-1]))
        assert auc_tp[i] == pytest.approx(trapezoid(kept[0]))
        p = [out.softmax(0)[morf[0].argmax()].item() for out in morf]
        log = [math.log(value / (1 - value)) for value in p]
        assert odds[i] == pytest.approx(mean([log[3] - log[0], log[6] - log[0]]))
    assert 0 < mean(survived) < 1
    with pytest.raises(NotApplicable, match="several outputs"):
        score(lambda x: x.flatten(1).sum(1), x, AUCTP(), phi)


def test_a_constant_map_removes_features_at_random_and_gains_nothing() -> None:
    model, x = weights(ConvNet()), samples()
    measure = partial(score, model, x, target=1, baselines=BASE)
    constant = measure(SymmetricRelevanceGain(), torch.ones_like(x))
    assert constant["srg"].tolist() == [0.0] * N  # both orders are the same random one
    assert torch.equal(constant["srg"], measure(SymmetricRelevanceGain(), torch.zeros_like(x))["srg"])
    again = measure(SymmetricRelevanceGain(), torch.full_like(x, -2.0))
    assert torch.equal(constant["morf"], again["morf"])
    assert not torch.allclose(constant["morf"], measure(SymmetricRelevanceGain(), torch.ones_like(x), seed=1)["morf"])
    rows = measure(SymmetricRelevanceGain(), torch.ones_like(x), rows=3)
    torch.testing.assert_close(rows["morf"], constant["morf"])


def test_steps_may_be_even_in_elements() -> None:
    # One feature of five elements and five of one: half of the elements are the large one, or the five small ones.
    x, ids = torch.ones(1, 10, dtype=torch.float64), torch.tensor([[0, 0, 0, 0, 0, 1, 2, 3, 4, 5]])
    weight = torch.tensor([1.0, 1, 1, 1, 1, 10, 20, 30, 40, 50], dtype=torch.float64)
    phi = torch.tensor([[1.0] * 5 + [9.0, 8, 7, 6, 5]]).double()  # the large one, 5 in all, is tied with the last

    def model(x: Tensor) -> Tensor:
        return (x * weight).sum(1)

    measure = partial(score, model, x, features=ids)
    elements = measure(PixelFlipping(2, even="elements"), phi * torch.tensor([1.01] * 5 + [1.0] * 5))["pixel_flipping"]
    assert elements.item() == pytest.approx(((10 + 20 + 30 + 40) + 155) / 2)  # the large one's centre lies beyond half
    features = measure(PixelFlipping(2), phi * torch.tensor([1.01] * 5 + [1.0] * 5))["pixel_flipping"]
    assert features.item() == pytest.approx(((10 + 20 + 30) + 155) / 2)


@pytest.mark.parametrize("metric", [DeletionAUC(), ROAD(4, imputer="baseline"), IROF(segments="features")], ids=repr)
def test_a_map_with_nan_has_no_order(metric: Metric) -> None:
    phi = numbers(2, 1, 6, 6, seed=3)
    phi[0, 0, 2, 2] = math.nan
    found = score(weights(ConvNet()), numbers(2, 1, 6, 6), metric, phi, target=1, output="probability")
    assert all(values[0].isnan() and values[1].isfinite() for values in found.values())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: DeletionAUC(0), "steps: expected at least 1, got 0"),
        (lambda: DeletionAUC(imputer="zeros"), "imputer: expected one of baseline, linear"),
        (lambda: DeletionAUC(even="pixels"), "even: expected one of features, elements, got 'pixels'"),
        (lambda: DeletionAUC(sign="abs"), "sign: expected one of signed, absolute, positive, got 'abs'"),
        (lambda: DeletionAUC(channels="max"), "channels: expected one of"),
        (lambda: Comprehensiveness(10, shares=(0.25,)), "shares: 0.25 is none of 10 even steps"),
        (lambda: Sufficiency(shares=(1.5,)), r"shares: expected numbers in \(0, 1\]"),
        (lambda: ROAD(1), "steps: expected at least 2"),
        (lambda: Selectivity(side=0), "side: expected at least 1"),
        (lambda: IROF(segments="slic"), "segments: expected superpixels or features"),
    ],
)
def test_parameters_that_cannot_be_are_named(make: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
