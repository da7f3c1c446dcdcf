"""Rank correlation of the rows of two tables."""

from __future__ import annotations

import torch
from torch import Tensor


def spearman(left: Tensor, right: Tensor, own: Tensor) -> Tensor:
    """Spearman's rank correlation of each row over the columns marked in `own`, (n,); ties share their mean rank.

    NaN if either side is constant or contains NaN. `own`: (n, k) bool.
    """
    a, b = _ranks(left, own), _ranks(right, own)
    count = own.sum(1, keepdim=True).clamp(min=1)
    a, b = (((r - r.sum(1, keepdim=True) / count) * own) for r in (a, b))
    scale = (a.square().sum(1) * b.square().sum(1)).sqrt()
    found = (a * b).sum(1) / torch.where(scale > 0, scale, 1)
    missing = ((left.isnan() | right.isnan()) & own).any(1)
    return torch.where((scale > 0) & ~missing, found.clamp(-1, 1), torch.nan)


def _ranks(values: Tensor, own: Tensor) -> Tensor:
    """The rank of each value among the marked values of its row, the mean rank for ties; 0 elsewhere."""
    finite = values.double().nan_to_num().masked_fill(~own, torch.inf).contiguous()
    ordered = finite.sort(dim=1).values
    first = torch.searchsorted(ordered, finite, side="left")
    last = torch.searchsorted(ordered, finite, side="right")
    return ((first + last - 1).double() / 2).masked_fill(~own, 0)
