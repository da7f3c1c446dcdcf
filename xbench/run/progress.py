"""Progress of a run: the events of a display, their counts, and logging through it.

All log records go through `Display.message`, so that a line never breaks a live display.
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
    """Receives the events of the driver and the runner. Rows are examples through the model."""

    def expect(self, cells: Sequence[int]) -> None:
        """Driver: the number of cells of each job, as far as known before data loads."""

    def start(self, cells: int, reused: int) -> None:
        """Runner, once per job: its cells, and how many of them the store already has."""

    def cell_started(self, label: str) -> None:
        """The computation of a cell begins; others may run concurrently."""

    def advance(self, label: str, done: int, of: int) -> None:
        """The finished and the total rows of a cell, or of a share."""

    def cell_done(self, label: str, status: str, seconds: float, reason: str | None = None) -> None:
        """A cell has ended or is skipped."""

    def drawing(self, done: int, of: int) -> None:
        """Driver: the finished and the total figures of the report."""

    def message(self, text: str) -> None:
        """A line for the reader: a warning, where a dataset came from."""

    def result(self, text: str, **data: Any) -> None:  # noqa: ANN401  (any JSON)
        """Driver: the command's result, as text for a reader and as data for a program."""

    def finish(self) -> None:
        """There are no further events; restore the terminal."""


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
        """Begin the next job: its exact count replaces the expected one."""
        if self.expected:
            self.expected.popleft()
        self.total += cells
        self.reused += reused
        if self._began is None:
            self._began = self.clock()

    def advance(self, label: str, done: int) -> None:
        """Record that `done` rows of this cell have passed the model."""
        before = self._rows.get(label, 0)
        self._rows[label] = done
        new = done - before if done >= before else done  # the cell's next block, or a retry
        now = self.clock()
        self._speeds.append((now, new))
        while now - self._speeds[0][0] > _WINDOW:
            self._speeds.popleft()

    def cell_done(self, status: str) -> None:
        """Count a cell that ended with `status`."""
        self.done += 1
        self.failed += status not in NOT_FAILED

    @property
    def cells(self) -> int:
        """The number of cells of the command: exact for jobs that began, expected for the others."""
        return max(self.total + sum(self.expected), self.done + self.reused)

    @property
    def todo(self) -> int:
        """The number of cells that are neither done nor reused."""
        return self.cells - self.done - self.reused

    @property
    def rows_per_second(self) -> float | None:
        """Throughput over the last seconds; None if not yet measurable."""
        if len(self._speeds) < 2:
            return None
        seconds = self._speeds[-1][0] - self._speeds[0][0]
        return sum(rows for _, rows in list(self._speeds)[1:]) / seconds if seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Estimated time left, if open cells take as long as finished ones; None before the first one has finished."""
        if self._began is None or not self.done:
            return None
        return (self.clock() - self._began) / self.done * self.todo


class NoDisplay:
    """Shows nothing; the exit code and the report remain."""

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
        except Exception:  # as in logging: a line that cannot be shown must not stop the program
            self.handleError(record)


@contextlib.contextmanager
def logging_through(display: Display) -> Iterator[None]:
    """Inside the block, warnings, log records from WARNING up and xbench's own from INFO up go to `display`."""
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
