"""The metrics of the map alone against loops written from their papers, in float64."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from tests.metrics.toys import bag, case_of, maps_of, score
from tests.models_for_tests import TwoInputs, numbers, weights
from xbench.core.needs import NotApplicable
from xbench.metrics import EffectiveComplexity, Entropy, Metric, TotalVariation


def of_map(metric: Metric, values: Tensor, **setting: object) -> Tensor:
    """The metric of given maps (n, ...), which are the samples too."""
    case, x = case_of(values, **setting)
    metric.check(case)
    return metric.score(case, x, maps_of(values.flatten(1), local=False))[metric.main]


MAPS = torch.tensor([[0, 0, 0, -2.0], [1, 1, 1, 1], [0, 0, 0, 0], [1, -2, 3, 4]], dtype=torch.float64)


def test_entropy_is_that_of_the_loop() -> None:
    found = of_map(Entropy(), MAPS)
    shares = [value / 10 for value in (1, 2, 3, 4)]
    expected = [0, math.log(4), math.nan, -sum(p * math.log(p) for p in shares)]
    torch.testing.assert_close(found, torch.tensor(expected).double(), equal_nan=True)


def test_effective_complexity_counts_above_a_share_of_the_largest() -> None:
    assert of_map(EffectiveComplexity(0.3), MAPS).tolist()[:2] == [1, 4]
    assert of_map(EffectiveComplexity(0.3), MAPS)[3] == 3  # 2, 3 and 4 of 4
    assert of_map(EffectiveComplexity(0), MAPS)[2].isnan()
    values = numbers(5, 30)
    found = of_map(EffectiveComplexity(0.5), values)
    for row, map_ in enumerate(values.tolist()):
        assert found[row] == sum(abs(v) > 0.5 * max(map(abs, map_)) for v in map_)
    with pytest.raises(ValueError, match="threshold: expected a number from 0 on and below 1, got 1"):
        EffectiveComplexity(1)


@pytest.mark.parametrize("metric", [Entropy(), EffectiveComplexity(), TotalVariation()])
def test_the_scale_of_the_map_counts_for_nothing(metric: Metric) -> None:
    values = numbers(3, 2, 5, 4)
    torch.testing.assert_close(of_map(metric, values), of_map(metric, -1e-6 * values), rtol=1e-9, atol=0)


@pytest.mark.parametrize("metric", [Entropy(), EffectiveComplexity(0)])
def test_a_sample_has_the_features_that_it_has(metric: Metric) -> None:
    """Four of six elements are features, two of them of two elements; padding counts for nothing."""
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0, 9.0, 9.0]]).double()
    grouped = of_map(metric, values, features=torch.tensor([[0, 0, 1, 2, -1, -1]]))
    assert grouped == of_map(metric, torch.tensor([[3.0, 3.0, 4.0]]).double())


def variation(map_: Tensor) -> float:
    """Of one map (C, ...): every pair of neighbours of the summed channels, one after the other."""
    values = map_.sum(0)
    total = 0.0
    for place in itertools.product(*map(range, values.shape)):
        for axis in range(values.dim()):
            beside = tuple(p + (a == axis) for a, p in enumerate(place))
            if beside[axis] < values.shape[axis]:
                total += abs(float(values[beside] - values[place]))
    return total / float(values.abs().sum())


@pytest.mark.parametrize("shape", [(3, 5, 4), (2, 7), (1, 3, 4, 2)], ids=["image", "series", "clip"])
def test_total_variation_is_that_of_the_loop(shape: tuple[int, ...]) -> None:
    values = numbers(4, *shape)
    found = of_map(TotalVariation(), values)
    for row in range(4):
        assert found[row] == pytest.approx(variation(values[row]))
    flat = torch.ones(2, *shape, dtype=torch.float64)
    flat[1] = 0
    torch.testing.assert_close(of_map(TotalVariation(), flat), torch.tensor([0, math.nan]).double(), equal_nan=True)


def test_a_chequered_map_varies_most_and_padding_is_no_border() -> None:
    chequered = torch.tensor([1.0, -1.0]).double().repeat(1, 1, 500)
    assert of_map(TotalVariation(), chequered) == pytest.approx(2, rel=0.01)
    padded = torch.tensor([[[5.0, 5.0, 5.0, 7.0, 7.0]]]).double()
    found = of_map(TotalVariation(), padded, features=torch.tensor([[[0, 1, 2, -1, -1]]]))
    assert found == 0


def test_what_has_no_neighbours_is_skipped() -> None:
    table, text = numbers(2, 5), torch.tensor([[3, 4, 5]])
    message = "needs neighbours in height, width or time"
    with pytest.raises(NotApplicable, match=message):
        of_map(TotalVariation(), table)
    with pytest.raises(NotApplicable, match=message):
        of_map(TotalVariation(), text)
    with pytest.raises(NotApplicable, match=message):
        score(bag(), text, TotalVariation(), maps_of(numbers(1, 12), local=False), target=0, layer="embedding")
    two = (numbers(2, 3), numbers(2, 2, 2))
    with pytest.raises(NotApplicable, match=message):
        score(weights(TwoInputs()), two, TotalVariation(), maps_of(numbers(2, 7), local=False), target=0)
