"""Skips points that equal the plan's first point, sample by sample, and reuses its answer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from xbench.core.plan import Answer


class Repeats:
    """The first point of a round of points, and its values.

    Args:
        period: number of points in a round.
    """

    def __init__(self, period: int) -> None:
        self._period = period
        self._seen = 0
        self._first: Tensor | None = None  # (m, d)
        self._value: Tensor | None = None  # (m,)

    def new(self, stacked: Tensor) -> Tensor:
        """The mask (units, m) of points, stacked (units, m, d), that differ from their round's first or are first."""
        new = torch.ones(stacked.shape[:2], dtype=torch.bool, device=stacked.device)
        done = 0
        while done < len(stacked):
            place = (self._seen + done) % self._period
            if place == 0:
                self._first = stacked[done].clone()  # a tensor of its own, not a view of the stack
            end = min(len(stacked), done + self._period - place)
            rest = slice(done + (place == 0), end)
            assert self._first is not None
            new[rest] = (stacked[rest] != self._first).any(2)  # NaN differs from itself
            done = end
        return new

    def learn(self, values: Tensor) -> None:
        """Store the values at the points (units, m) of the last call of `new`, if all were evaluated."""
        newest = (self._seen + len(values) - 1) // self._period * self._period - self._seen
        if newest >= 0:
            self._value = values[newest]
        self._seen += len(values)

    def filled(self, values: Tensor | None, new: Tensor) -> Iterator[Answer]:
        """One answer per point: `values` for the rows marked `new`, the first point's value for the others."""
        known = self._value if values is None else values
        assert known is not None
        every = known.new_zeros(new.shape)
        if values is not None:
            every[new] = values
        for unit, fresh in enumerate(new):
            if (self._seen + unit) % self._period == 0:
                self._value = every[unit]
            assert self._value is not None
            yield Answer(torch.where(fresh, every[unit], self._value))
        self._seen += len(new)
