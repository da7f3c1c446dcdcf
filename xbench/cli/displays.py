"""Displays that print lines: a line per event for files and pipes, JSON for programs.

Progress goes to standard error and results to standard output, except for `json`, where every event is one JSON object
per line on standard output.
"""

import json
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any, TextIO

from xbench.boundary.printable import say
from xbench.run.progress import Display, NoDisplay, Tally


class PlainDisplay:
    """A line per event, for files and pipes."""

    def __init__(self, progress: TextIO | None = None, results: TextIO | None = None) -> None:
        self.tally = Tally()
        self._progress = progress or sys.stderr
        self._results = results or sys.stdout

    def expect(self, cells: Sequence[int]) -> None:
        self.tally.expected = deque(cells)

    def start(self, cells: int, reused: int) -> None:
        self.tally.start(cells, reused)
        self.message(f"{cells} cells: {reused} reused, {cells - reused} to do")

    def cell_started(self, label: str) -> None:
        pass  # there is one line per cell, printed at its end

    def advance(self, label: str, done: int, of: int) -> None:
        self.tally.advance(label, done)

    def cell_done(self, label: str, status: str, seconds: float, reason: str | None = None) -> None:
        self.tally.cell_done(status)
        place = f"{self.tally.done + self.tally.reused}/{self.tally.cells}"
        self.message(f"[{place}] {status:8} {label}  {seconds:.1f} s" + (f"  {reason}" if reason else ""))

    def drawing(self, done: int, of: int) -> None:
        if done == 0 and of:
            self.message(f"writing the report: {of} figures")

    def message(self, text: str) -> None:
        say(text, self._progress)

    def result(self, text: str, **data: Any) -> None:  # noqa: ANN401
        say(text, self._results)

    def finish(self) -> None:
        pass


class JsonDisplay:
    """One JSON object per event and line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def expect(self, cells: Sequence[int]) -> None:
        self._write(event="expect", jobs=len(cells), cells=sum(cells))

    def start(self, cells: int, reused: int) -> None:
        self._write(event="start", cells=cells, reused=reused)

    def cell_started(self, label: str) -> None:
        self._write(event="cell_started", label=label)

    def advance(self, label: str, done: int, of: int) -> None:
        self._write(event="advance", label=label, done=done, of=of)

    def cell_done(self, label: str, status: str, seconds: float, reason: str | None = None) -> None:
        self._write(event="cell_done", label=label, status=status, seconds=round(seconds, 6), reason=reason)

    def drawing(self, done: int, of: int) -> None:
        self._write(event="drawing", done=done, of=of)

    def message(self, text: str) -> None:
        self._write(event="message", text=text)

    def result(self, text: str, **data: Any) -> None:  # noqa: ANN401
        self._write(event="result", **data)

    def finish(self) -> None:
        self._write(event="finish")

    def _write(self, **event: Any) -> None:  # noqa: ANN401
        say(json.dumps(event), self._stream)


def create(kind: str) -> Display:
    """The display named by the key `display`; auto is rich in a terminal and plain elsewhere."""
    if kind == "none":
        return NoDisplay()
    if kind == "json":
        return JsonDisplay()
    if kind == "rich" or (kind == "auto" and sys.stderr.isatty()):
        from xbench.cli.live import RichDisplay  # importing rich takes time, and only a terminal needs it

        return RichDisplay()
    return PlainDisplay()
