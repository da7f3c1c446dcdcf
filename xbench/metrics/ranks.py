"""Correlation of the rows of two tables, of values and of ranks."""

from __future__ import annotations

import torch
from torch import Tensor


def spearman(left: Tensor, right: Tensor, own: Tensor) -> Tensor:
    """Spearman's rank correlation of each row over the columns marked in `own`, (n,); ties share their mean rank.

    NaN if either side is constant or contains NaN. `own`: (n, k) bool.
    """
    missing = ((left.isnan() | right.isnan()) & own).any(1)
    return _correlation(_ranks(left, own), _ranks(right, own), own).masked_fill(missing, torch.nan)


def pearson(left: Tensor, right: Tensor, own: Tensor) -> Tensor:
    """Pearson's correlation of each row, over the columns that it owns, (n,).

    NaN where either side is constant or not finite. `own`: (n, k) bool.
    """
    missing = (~(left.isfinite() & right.isfinite()) & own).any(1)
    a, b = (side.double().masked_fill(~own, 0).nan_to_num() for side in (left, right))
    constant = _constant(a, own) | _constant(b, own)
    return _correlation(a, b, own).masked_fill(missing | constant, torch.nan)


def settled(values: Tensor, step: Tensor) -> Tensor:
    """The values (n, k), those of a row that lie within `step` (n, 1) of each other made equal to the least of them.

    Along the sorted values, so that no border of a grid can part two. Rows with NaN are NaN.
    """
    ordered, order = values.sort(dim=1)
    fresh = torch.ones_like(ordered, dtype=torch.bool)
    fresh[:, 1:] = ~(ordered.diff(dim=1) <= step)
    place = torch.arange(values.shape[1], device=values.device).expand_as(order)
    level = place.masked_fill(~fresh, 0).cummax(dim=1).values
    found = torch.empty_like(values).scatter_(1, order, ordered.gather(1, level))
    return found.masked_fill(values.isnan().any(1, keepdim=True), torch.nan)


def _constant(values: Tensor, own: Tensor) -> Tensor:
    return values.masked_fill(~own, -torch.inf).amax(1) == values.masked_fill(~own, torch.inf).amin(1)


def _correlation(a: Tensor, b: Tensor, own: Tensor) -> Tensor:
    count = own.sum(1, keepdim=True).clamp(min=1)
    a, b = (((r - r.sum(1, keepdim=True) / count) * own) for r in (a, b))
    scale = (a.square().sum(1) * b.square().sum(1)).sqrt()
    found = (a * b).sum(1) / torch.where(scale > 0, scale, 1)
    return torch.where(scale > 0, found.clamp(-1, 1), torch.nan)


def _ranks(values: Tensor, own: Tensor) -> Tensor:
    """The rank of each value among the marked values of its row, the mean rank for ties; 0 elsewhere."""
    finite = values.double().nan_to_num().masked_fill(~own, torch.inf).contiguous()
    ordered = finite.sort(dim=1).values
    first = torch.searchsorted(ordered, finite, side="left")
    last = torch.searchsorted(ordered, finite, side="right")
    return ((first + last - 1).double() / 2).masked_fill(~own, 0)
