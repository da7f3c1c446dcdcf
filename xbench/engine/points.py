"""Takes the points of a plan, as many at a time as are sent through the model together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

from xbench.core.plan import Stack


class PointReader:
    """Reads points in order, whether they come alone, in stacks, or are made in stacks of the size asked for."""

    def __init__(self, points: Iterable[Tensor | Stack]) -> None:
        self._coming: Iterator[Tensor | Stack] = iter(points)
        self._stack: Stack | None = None
        self._taken = 0  # points of it

    def take(self, count: int) -> list[Tensor]:
        """The next points, at most `count`, in stacks (k, rows, d); none at the end."""
        found: list[Tensor] = []
        while count > 0:
            if self._stack is None:
                given = next(self._coming, None)
                if given is None:
                    break
                if isinstance(given, Tensor) and given.dim() == 2:
                    found.append(given.unsqueeze(0))
                    count -= 1
                    continue
                self._stack, self._taken = Stack.of(given), 0
            end = min(self._stack.count, self._taken + count)
            found.append(self._stack.make(self._taken, end))
            count -= end - self._taken
            self._taken = end
            if end == self._stack.count:
                self._stack = None
        return found
