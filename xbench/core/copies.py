"""Copies of tensors for code that may write into them: a user's model, or an external explainer."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

Value = TypeVar("Value")


def copied(value: Value, device: torch.device | None = None) -> Value:
    """`value` with every tensor copied, to `device` if given.

    Tensors inside lists, tuples and dicts are copied; all other values are passed on unchanged.
    """

    def copy(leaf: object) -> object:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.clone() if device is None else leaf.to(device, copy=True)

    found: Value = tree_map(copy, value)
    return found
