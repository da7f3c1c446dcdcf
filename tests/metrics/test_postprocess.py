"""One number per feature from the elements of a map, against loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from tests.metrics.toys import case_of, maps_of
from tests.models_for_tests import numbers
from xbench.config.keys import processing
from xbench.metrics import Postprocess
from xbench.metrics.maps import relevance

FEATURES = torch.tensor([[0, 0, 1, 1, 1, -1], [0, 1, 2, 0, 1, 2]])
AGGREGATED: dict[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "sum_abs": lambda values: sum(map(abs, values)),
    "l2": lambda values: math.sqrt(sum(value * value for value in values)),
    "mean": lambda values: sum(values) / len(values),
}
SIGNED: dict[str, Callable[[float], float]] = {
    "signed": lambda value: value,
    "absolute": abs,
    "positive": lambda value: max(value, 0.0),
}


@pytest.mark.parametrize("sign", SIGNED)
@pytest.mark.parametrize("channels", AGGREGATED)
@pytest.mark.parametrize("normaliser", ["none", "range", "max"])
def test_each_choice_is_that_of_the_loop(sign: str, channels: str, normaliser: str) -> None:
    phi = numbers(2, 6, seed=3)
    case, _ = case_of(torch.zeros(2, 6, dtype=torch.float64), features=FEATURES)
    found, own = Postprocess(sign, channels, normaliser).relevance(case, maps_of(phi, local=False))
    assert own.tolist() == [[True, True, False], [True, True, True]]
    for row in range(2):
        values = []
        for feature in range(2 + row):
            elements = phi[row][FEATURES[row] == feature].tolist()
            values.append(SIGNED[sign](AGGREGATED[channels](elements)))
        if normaliser == "range":
            low, high = min(values), max(values)
            values = [(value - low) / (high - low) if high > low else 0.0 for value in values]
        if normaliser == "max":
            size = max(map(abs, values))
            values = [value / size if size else 0.0 for value in values]
        assert found[row][: 2 + row].tolist() == pytest.approx(values)
        assert found[row][2 + row :].tolist() == [0.0] * (1 - row)


def test_the_default_is_the_sum_that_everything_else_takes() -> None:
    case, _ = case_of(torch.zeros(2, 6, dtype=torch.float64), features=FEATURES)
    maps = maps_of(numbers(2, 6, seed=3), local=False)
    assert torch.equal(Postprocess().relevance(case, maps)[0], relevance(case, maps)[0])


def test_the_command_names_sign_and_channels_in_one_word() -> None:
    assert processing(None) == {}
    assert processing("absolute+l2") == processing("l2+absolute") == {"sign": "absolute", "channels": "l2"}
    assert processing("max+positive") == {"sign": "positive", "normaliser": "max"}
    for wrong in ("abs", "signed+positive", "l2+sum", "", "absolute+", "none", "range+max"):
        with pytest.raises(ValueError, match="postprocess must be one of signed, absolute, positive"):
            processing(wrong)
    with pytest.raises(ValueError, match="normaliser: expected one of none, range, max, got 'sum'"):
        Postprocess(normaliser="sum")


def test_samples_without_any_feature_have_no_relevance() -> None:
    case, _ = case_of(torch.zeros(2, 3, dtype=torch.float64), features=torch.full((2, 3), -1))
    for channels in AGGREGATED:
        found, own = Postprocess(channels=channels).relevance(case, maps_of(numbers(2, 3), local=False))
        assert found.shape == own.shape == (2, 0)
