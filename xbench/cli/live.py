"""The live progress display in a terminal."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from xbench.boundary.printable import printable, unheard
from xbench.run.planned import NOT_FAILED
from xbench.run.progress import Tally


class Terminal(Console):
    """A console that survives a closed output; Rich's own would end the process."""

    def on_broken_pipe(self) -> None:
        unheard(cast(TextIO, self.file))


class RichDisplay:
    """Shows cells done, reused and to do, the current cell, rows/s and time left; failures stay above as lines."""

    def __init__(self, progress: Console | None = None, results: Console | None = None) -> None:
        self.tally = Tally()
        self._results = results or Terminal()
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            console=progress or Terminal(stderr=True),
            transient=True,
        )
        self._cells = self._live.add_task("cells", total=None, numbers="")
        self._cell = self._live.add_task("", total=None, numbers="", visible=False)

    def expect(self, cells: Sequence[int]) -> None:
        self.tally.expected = deque(cells)
        self._live.start()
        self._show()

    def start(self, cells: int, reused: int) -> None:
        self.tally.start(cells, reused)
        self._live.start()
        self._show()

    def cell_started(self, label: str) -> None:
        self._live.reset(self._cell, description=printable(label), total=None, visible=True, numbers="")

    def advance(self, label: str, done: int, of: int) -> None:
        self.tally.advance(label, done)
        speed = self.tally.rows_per_second
        numbers = "" if speed is None else f"{speed:,.0f} rows/s"
        self._live.update(self._cell, description=printable(label), completed=done, total=of, numbers=numbers)

    def cell_done(self, label: str, status: str, seconds: float, reason: str | None = None) -> None:
        self.tally.cell_done(status)
        if status not in NOT_FAILED:
            self.message(f"{status}: {label}: {reason}")
        self._live.update(self._cell, visible=False)
        self._show()

    def drawing(self, done: int, of: int) -> None:
        self._live.start()
        self._live.update(self._cells, visible=False)
        numbers = f"{done} of {of} figures"
        self._live.update(
            self._cell, description="writing the report", completed=done, total=of, visible=True, numbers=numbers
        )

    def message(self, text: str) -> None:
        self._live.console.print(printable(text), markup=False, highlight=False)

    def result(self, text: str, **data: Any) -> None:  # noqa: ANN401  (as the protocol has it)
        self._live.stop()
        self._results.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def finish(self) -> None:
        self._live.stop()

    def _show(self) -> None:
        tally = self.tally
        failed = f", {tally.failed} failed" if tally.failed else ""
        left = "" if tally.seconds_left is None else f", {_clock(tally.seconds_left)} left"
        numbers = f"{tally.done} done{failed}, {tally.reused} reused, {tally.todo} to do{left}"
        done = tally.done + tally.reused
        self._live.update(self._cells, completed=done, total=tally.cells or None, numbers=numbers)


def _clock(seconds: float) -> str:
    """Minutes and seconds, with hours if needed."""
    text = time.strftime("%H:%M:%S", time.gmtime(seconds))
    return text.removeprefix("00:") if seconds < 86_400 else f"{seconds / 3600:.0f} hours"
