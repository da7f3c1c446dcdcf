"""Skips points that equal the plan's first point, sample by sample, and reuses its answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from xbench.core.plan import Answer


class Repeats:
    """The first point of a round of points, and its values.

    Args:
        period: points after which another first one follows.
    """

    def __init__(self, period: int) -> None:
        self._period = period
        self._seen = 0
        self._first: Tensor | None = None  # (m, d)
        self._value: Tensor | None = None  # (m,)

    def new(self, points: Sequence[Tensor], stacked: Tensor) -> Tensor:
        """Which of the next points, stacked (units, m, d), are not their first: (units, m), True also for the first."""
        new = torch.ones(stacked.shape[:2], dtype=torch.bool, device=stacked.device)
        done = 0
        while done < len(points):
            place = (self._seen + done) % self._period
            if place == 0:
                self._first = points[done]  # not a view of all
            end = min(len(points), done + self._period - place)
            rest = slice(done + (place == 0), end)
            assert self._first is not None
            new[rest] = (stacked[rest] != self._first).any(2)  # NaN differs from itself
            done = end
        return new

    def learn(self, values: Tensor) -> None:
        """The values at the points (units, m) that `new` was asked about last, all of them evaluated."""
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
