"""Features and masks with fewer dimensions than the samples are read in one way, or refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import xbench
from xbench.algorithms import FeatureAblation
from xbench.metrics import RelevanceRank


def total(x: Tensor) -> Tensor:
    return x.flatten(1).sum(1)


def ablated(x: Tensor, features: Tensor) -> Tensor:
    return xbench.attribute(total, x, FeatureAblation(), features=features)


SQUARES = torch.arange(1.0, 28, dtype=torch.float64).reshape(3, 3, 3)  # three samples of three by three
THREE = torch.arange(3)


@pytest.mark.parametrize("features", [THREE.expand(3, 3), THREE.expand(1, 3)], ids=["each", "all"])
def test_two_readings_are_none(features: Tensor) -> None:
    with pytest.raises(ValueError, match=r"from the left and from the right: write features.reshape\(\d, 3, 1\) or"):
        ablated(SQUARES, features)


@pytest.mark.parametrize(("shape", "summed"), [((1, 3, 1), 2), ((1, 1, 3), 1)])
def test_either_reading_can_be_written(shape: tuple[int, ...], summed: int) -> None:
    maps = ablated(SQUARES, THREE.reshape(shape))
    torch.testing.assert_close(maps, SQUARES.sum(summed, keepdim=True).expand_as(SQUARES), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 3), (3, 3), (1,), (3,)])
def test_what_both_readings_agree_on_is_accepted(shape: tuple[int, ...]) -> None:
    maps = ablated(SQUARES, torch.zeros(shape, dtype=torch.int64))
    torch.testing.assert_close(maps, SQUARES.sum((1, 2), keepdim=True).expand_as(SQUARES), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 5), (1, 4, 5)])
def test_what_fits_from_the_right_alone_is_told_how_to_write(shape: tuple[int, ...]) -> None:
    images = torch.ones(2, 3, 4, 5, dtype=torch.float64)
    groups = torch.arange(20).reshape(shape)
    with pytest.raises(ValueError, match=r"is that of samples, .* write features.reshape\(1, 1, 4, 5\)"):
        ablated(images, groups)
    assert torch.equal(ablated(images, groups.reshape(1, 1, 4, 5)), images * 3)


def test_positions_of_the_inputs_own_shape_are_no_doubt() -> None:
    """Three tokens with embeddings of three numbers: words, not numbers, are the features."""
    embedding = torch.nn.Embedding(5, 3, dtype=torch.float64)
    model = torch.nn.Sequential(embedding, torch.nn.Flatten(), torch.nn.Linear(9, 1, dtype=torch.float64))
    tokens = torch.tensor([[0, 1, 2], [2, 3, 4], [1, 1, 1]])
    whole = xbench.attribute(
        model, tokens, FeatureAblation(), target=0, layer="0", features=THREE.reshape(1, 3, 1).expand(1, 3, 3)
    )
    maps = xbench.attribute(model, tokens, FeatureAblation(), target=0, layer="0", features=THREE.expand(1, 3))
    torch.testing.assert_close(maps, whole)  # rows differ, and rounding with them
    assert (maps[..., :1] == maps).all()


def test_masks_are_read_alike() -> None:
    masks = torch.tensor([[True, False, False]]).expand(3, 3)
    maps = torch.zeros_like(SQUARES)
    maps[:, 0, 2] = 1  # the first row, the last column
    with pytest.raises(ValueError, match="masks of shape .* from the left and from the right"):
        xbench.measure(total, SQUARES, maps, RelevanceRank(), masks=masks)
    assert xbench.measure(total, SQUARES, maps, RelevanceRank(), masks=masks.reshape(3, 3, 1)).tolist() == [1, 1, 1]
    assert xbench.measure(total, SQUARES, maps, RelevanceRank(), masks=masks.reshape(3, 1, 3)).tolist() == [0, 0, 0]
