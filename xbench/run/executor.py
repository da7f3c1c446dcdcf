"""Executors of cells: this process, or one process per device. Both take work items and return results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from xbench.datasets.record import Split
from xbench.engine.memory import give_back
from xbench.run.block import Block, OpenJob
from xbench.run.cells import Cell
from xbench.run.progress import Display
from xbench.run.result import CellResult

_FEWEST = 4  # minimum samples of a share


@dataclass(frozen=True)
class WorkItem:
    """A cell of one block, or the samples `share` of it."""

    block: int
    split: Split
    unit: Cell
    share: slice | None = None


class Workers(Protocol):
    """Computes work items.

    at_once: number of blocks whose items should be given together.
    """

    at_once: int

    def run(self, items: Iterable[WorkItem], *, alone: bool) -> Iterator[tuple[WorkItem, CellResult]]:
        """Each item with its result, as they finish. With `alone`, nothing else runs on an item's device.

        An item is taken from `items` only when a worker can start it.
        """

    def expect(self, number: int, split: Split) -> None:
        """Announce the block of the next items, whose files may be read in advance."""


class Here:
    """Computes in this process, one item after the other."""

    at_once = 1

    def __init__(self, job: OpenJob, display: Display) -> None:
        self._job = job
        self._display = display
        self._block: tuple[int, Block] | None = None
        self._next: tuple[int, Block] | None = None
        self._label = ""

    def block(self, item: WorkItem) -> Block:
        """The item's block; the last one is kept."""
        if self._block is None or self._block[0] != item.block:
            expected, self._next = self._next, None
            self._block = None  # free its samples before loading the next
            give_back()
            if expected is None or expected[0] != item.block:
                expected = item.block, Block(self._job, item.split, self._progress)
            self._block = expected
        return self._block[1]

    def expect(self, number: int, split: Split) -> None:
        self._next = number, Block(self._job, split, self._progress)
        self._next[1].prepared.read_ahead()

    def run(self, items: Iterable[WorkItem], *, alone: bool) -> Iterator[tuple[WorkItem, CellResult]]:
        for item in items:
            self._label = item.unit.label
            self._display.cell_started(self._label)
            yield item, self.block(item).make(item.unit)

    def _progress(self, done: int, of: int) -> None:
        self._display.advance(self._label, done, of)


def shares(item: WorkItem, workers: int, *, alone: bool) -> list[WorkItem]:
    """Split the item by samples, so that workers finish at about the same time; each share has enough samples."""
    n, unit = len(item.split), item.unit
    count = min(2 * workers, n // _FEWEST)
    explains = unit.kind == "attribution" or (unit.evidence is not None and unit.evidence.explains)
    whole = explains and unit.algorithm is not None and unit.algorithm.component.facts.whole
    if workers == 1 or alone or count < 2 or whole or unit.kind == "samples":
        return [item]
    edges = [n * i // count for i in range(count + 1)]
    return [WorkItem(item.block, item.split, unit, slice(a, b)) for a, b in pairwise(edges)]
