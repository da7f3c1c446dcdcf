"""What is handed to code that may write into it: a user's model, or a function that explains."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

Value = TypeVar("Value")


def copied(value: Value, device: torch.device | None = None) -> Value:
    """`value` with a copy of every tensor in it, on `device` where one is named.

    Tensors are found in lists, tuples and dicts; anything else is handed on as it is.
    """

    def copy(leaf: object) -> object:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.clone() if device is None else leaf.to(device, copy=True)

    found: Value = tree_map(copy, value)
    return found
