"""Encoded and Model refuse what does not fit together."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from xbench.models.encoders import encode_tensors
from xbench.models.record import Encoded, Model


def _encoded() -> Encoded:
    ids = torch.zeros(2, 3, dtype=torch.int64)
    return Encoded((ids,), (ids[:1],), (ids,), tokens=(("a", "b", ""),) * 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": ()}, "at least one"),
        ({"inputs": (torch.zeros(2, 3), torch.zeros(4, 3))}, r"\[2, 4\]"),
        ({"baseline": ()}, "one tensor per input"),
        ({"baseline": (torch.zeros(2, 4),)}, "baseline of shape"),
        ({"features": (torch.zeros(1, 3),)}, "int64"),
        ({"features": (torch.zeros(3, 3, dtype=torch.int64),)}, "features of shape"),
        ({"masks": (torch.zeros(1, 3, dtype=torch.bool),)}, "masks must hold one tensor of 2 rows"),
        ({"tokens": (("a",), ("b",))}, "2 rows of 3"),
    ],
)
def test_encoded_names_what_does_not_fit(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(_encoded(), **change)


def test_padding_is_told_from_the_tokens() -> None:
    ids = torch.zeros(3, 3, dtype=torch.int64)
    texts = Encoded(
        (torch.zeros(3, 2), ids), (torch.zeros(1, 2), ids[:1]), tokens=(("a", "", ""), ("a", "b", ""), ("",) * 3)
    )
    assert texts.padded is not None
    assert (texts.padded.input, texts.padded.width, texts.padded.lengths.tolist()) == (1, 3, [1, 2, 1])
    assert replace(texts, tokens=(("a", "b", "c"),) * 3).padded is None
    assert replace(texts, tokens=None).padded is None


def test_a_model_is_in_eval_mode_and_has_its_site() -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="eval mode"):
        Model("m", module, "f", encode_tensors)
    with pytest.raises(ValueError, match="no submodule 'embedding'"):
        Model("m", module.eval(), "f", encode_tensors, site="embedding")
    with pytest.raises(ValueError, match=r"accuracy must be at most 1"):
        Model("m", module.eval(), "f", encode_tensors, accuracy=97.0)
