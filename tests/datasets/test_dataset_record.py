"""Split and Dataset refuse what does not fit together, and name it."""

from dataclasses import replace

import pytest
import torch

from xbench.datasets.digits import Digits
from xbench.datasets.record import Split, mixed_order
from xbench.datasets.sst2 import SST2


def _texts() -> Split:
    return Split(("a", "b"), ("good film", "bad"), torch.tensor([1, 0]), ((True, False), (True,)))


def test_a_subset_keeps_everything_aligned() -> None:
    split = _texts().subset([1])
    assert (split.ids, split.inputs, split.targets.tolist(), split.masks) == (
        ("b",),
        ("bad",),
        [0],
        ((True,),),
    )
    images = Split(("a", "b"), torch.arange(2.0).reshape(2, 1), torch.tensor([0, 1])).subset([1, 0])
    assert images.inputs.tolist() == [[1.0], [0.0]]
    assert images.ids == ("b", "a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ()}, "at least one"),
        ({"ids": ("a", "a")}, "'a' appears twice"),
        ({"inputs": ("one",)}, "got 1 inputs"),
        ({"targets": torch.zeros(3)}, r"targets \(3,\)"),
        ({"masks": ((True,), (True,))}, "'a' has 1 entries for 2 words"),
        ({"masks": ((True, False),)}, "2 masks, got 1"),
    ],
)
def test_a_split_names_what_does_not_fit(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(_texts(), **change)


def test_masks_of_tensors_have_their_shape() -> None:
    with pytest.raises(ValueError, match="bool tensor of shape"):
        Split(("a",), torch.zeros(1, 2), torch.zeros(1), torch.ones(1, 3, dtype=torch.bool))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modality": "smell"}, "'smell'"),
        ({"fingerprint": "abc"}, "'abc'"),
        ({"modality": "text"}, "got Tensor"),
        ({"value_range": (1.0, 0.0)}, "low to high"),
        ({"classes": ("0", "1")}, r"0\.\.1, got 0\.\.9"),
        ({"baseline": torch.zeros(8, 8)}, "baseline must have shape"),
        ({"features": torch.zeros(2, 1, 8, 8)}, "features must have shape"),
    ],
)
def test_a_dataset_names_what_does_not_fit(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(Digits().load(), **change)


def test_texts_have_no_baseline_of_their_own() -> None:
    with pytest.raises(ValueError, match="encoder gives it"):
        replace(SST2(source="standin").load(), baseline=torch.zeros(1, 1))


def test_the_mixed_order_keeps_class_shares_in_every_prefix() -> None:
    labels = [0] * 60 + [1] * 30 + [2] * 10
    order = mixed_order(labels, range(100))
    assert sorted(order) == list(range(100))
    for k in range(10, 101, 10):
        counts = [sum(labels[row] == label for row in order[:k]) for label in range(3)]
        assert all(abs(count - share * k) <= 1 for count, share in zip(counts, (0.6, 0.3, 0.1), strict=True))


def test_the_mixed_order_follows_contents_not_positions() -> None:
    labels, keys = [0, 1] * 10, list("abcdefghijklmnopqrst")
    forward = [keys[row] for row in mixed_order(labels, keys)]
    backward = [keys[::-1][row] for row in mixed_order(labels[::-1], keys[::-1])]
    assert forward == backward
