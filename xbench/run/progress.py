"""Progress of a run: the events that a display gets, their counts, and logging through it.

Whatever is logged goes through `Display.message`, so that a line never breaks a live display.
"""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from xbench.run.planned import NOT_FAILED

_WINDOW = 10.0  # seconds over which rows/s is measured


class Display(Protocol):
    """What the driver and the runner tell. Rows are examples through the model."""

    def expect(self, cells: Sequence[int]) -> None:
        """Driver: the cells of every job of the command, as far as they are known before data loads."""

    def start(self, cells: int, reused: int) -> None:
        """Runner, once per job: its cells, and how many of them the store already has."""

    def cell_started(self, label: str) -> None:
        """A cell is being computed; there may be others beside it."""

    def advance(self, label: str, done: int, of: int) -> None:
        """Rows of this cell, or share of one, that are done, so far and in all."""

    def cell_done(self, label: str, status: str, seconds: float, reason: str | None = None) -> None:
        """A cell ended, or is skipped."""

    def drawing(self, done: int, of: int) -> None:
        """Driver: figures of the report that are drawn, and of how many."""

    def message(self, text: str) -> None:
        """A line for the reader: a warning, where a dataset came from."""

    def result(self, text: str, **data: Any) -> None:  # noqa: ANN401  (any JSON)
        """Driver: what the command found, as text for a reader and as data for a program."""

    def finish(self) -> None:
        """No further events; leaves the terminal as it was."""


@dataclass
class Tally:
    """Counts of cells, and speed."""

    clock: Callable[[], float] = time.monotonic
    expected: deque[int] = field(default_factory=deque)
    total: int = 0
    done: int = 0
    reused: int = 0
    failed: int = 0
    _began: float | None = None
    _rows: dict[str, int] = field(default_factory=dict)
    _speeds: deque[tuple[float, int]] = field(default_factory=deque)

    def start(self, cells: int, reused: int) -> None:
        """The next job begins: its exact count replaces what was expected of it."""
        if self.expected:
            self.expected.popleft()
        self.total += cells
        self.reused += reused
        if self._began is None:
            self._began = self.clock()

    def advance(self, label: str, done: int) -> None:
        """`done` rows of this cell are through."""
        before = self._rows.get(label, 0)
        self._rows[label] = done
        new = done - before if done >= before else done  # the cell's next block, or another try
        now = self.clock()
        self._speeds.append((now, new))
        while now - self._speeds[0][0] > _WINDOW:
            self._speeds.popleft()

    def cell_done(self, status: str) -> None:
        """A cell ended with `status`."""
        self.done += 1
        self.failed += status not in NOT_FAILED

    @property
    def cells(self) -> int:
        """All cells of the command: counted for the jobs that began, expected for the others."""
        return max(self.total + sum(self.expected), self.done + self.reused)

    @property
    def todo(self) -> int:
        """Cells that are neither done nor reused."""
        return self.cells - self.done - self.reused

    @property
    def rows_per_second(self) -> float | None:
        """Over the last seconds; None before there is anything to measure."""
        if len(self._speeds) < 2:
            return None
        seconds = self._speeds[-1][0] - self._speeds[0][0]
        return sum(rows for _, rows in list(self._speeds)[1:]) / seconds if seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """If the cells to do take as long as those done; None before one is."""
        if self._began is None or not self.done:
            return None
        return (self.clock() - self._began) / self.done * self.todo


class NoDisplay:
    """Says nothing; the exit code and the report remain."""

    def expect(self, cells: Sequence[int]) -> None: ...
    def start(self, cells: int, reused: int) -> None: ...
    def cell_started(self, label: str) -> None: ...
    def advance(self, label: str, done: int, of: int) -> None: ...
    def cell_done(self, label: str, status: str, seconds: float, reason: str | None = None) -> None: ...
    def drawing(self, done: int, of: int) -> None: ...
    def message(self, text: str) -> None: ...
    def result(self, text: str, **data: Any) -> None: ...  # noqa: ANN401
    def finish(self) -> None: ...


class _Handler(logging.Handler):
    def __init__(self, display: Display) -> None:
        super().__init__()
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._display.message(self.format(record))
        except Exception:  # logging's own rule: a line that cannot be shown must not stop the program
            self.handleError(record)


@contextlib.contextmanager
def logging_through(display: Display) -> Iterator[None]:
    """Inside the block, warnings, log records from WARNING up and our own from INFO up go to `display`."""
    root, ours = logging.getLogger(), logging.getLogger("xbench")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    handler = _Handler(display)
    handler.setFormatter(logging.Formatter("%(message)s"))
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    ours.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
