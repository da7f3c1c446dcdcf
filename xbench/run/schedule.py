"""Runs the cells of one job on a pool of workers, each with one item at a time.

If a process dies, only its item is retried. Processes open the job themselves from its configuration: they receive the
cell to compute and return its result. Only the parent process stores results.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator

from omegaconf import DictConfig

from xbench.config.nodes import plain
from xbench.datasets.record import Split
from xbench.run.executor import WorkItem, shares
from xbench.run.messages import Advanced, Answered, Begun, Task, Told, WorkerMessage
from xbench.run.process_main import BEAT
from xbench.run.processes import STARTS, CellInProgress, Pool, Worker
from xbench.run.progress import Display
from xbench.run.result import CellResult, join

_SILENT = 120.0  # seconds without a message after which a process counts as lost
_DEAD = 5.0  # seconds after which no more messages of an ended process can arrive
_TRIES = 2


class Crew:
    """Runs a pool for one job; see `Workers`."""

    at_once = 1 << 30

    def __init__(self, pool: Pool, cfg: DictConfig, display: Display) -> None:
        self._pool = pool
        self._display = display
        self._timeout: float | None = cfg.run.timeout
        self._config = plain(cfg)
        self._shared = cfg.run.timing == "shared"
        self._beside: int = cfg.run.beside
        self._unfit = ""  # the reason why a device was given up

    @property
    def beside(self) -> int:
        """Other workers that may be busy on a timed cell's processor."""
        within = len(self._pool.devices) - 1 if self._shared and self._pool.in_order else 0
        return self._beside + within

    def expect(self, number: int, split: Split) -> None:
        """Do nothing: while one worker reads, the others compute."""

    def run(self, items: Iterable[WorkItem], *, alone: bool) -> Iterator[tuple[WorkItem, CellResult]]:
        exclusive = alone and self._pool.in_order and not self._shared
        whole = alone and not self._shared
        coming = iter(items)
        cells: list[CellInProgress] = []
        try:
            while True:
                self._feed(coming, cells, exclusive, whole)
                if not cells:
                    return
                self._listen()
                for cell in [c for c in cells if c.over or len(c.made) == c.count]:
                    if not any(w.doing and w.doing[0] is cell for w in self._pool.workers):
                        cells.remove(cell)
                        yield cell.item, join([cell.made[first] for first in sorted(cell.made)])
        except BaseException:
            self._pool.close()  # current items are lost; otherwise workers would continue with them
            raise

    def _feed(self, coming: Iterator[WorkItem], cells: list[CellInProgress], exclusive: bool, whole: bool) -> None:
        """Give every idle worker an item; if no worker is left, all items crash."""
        if not self._pool.workers:
            cells += [CellInProgress(item, deque(), 1) for item in coming]
            for lost in cells:
                lost.over, lost.made = True, {0: CellResult("crashed", f"no process starts: {self._unfit}")}
        for worker in self._pool.workers:
            if worker.doing is not None or (exclusive and any(w.doing for w in self._pool.workers)):
                continue
            cell = next((c for c in cells if c.todo and not c.over), None)
            if cell is None:
                item = next(coming, None)
                if item is None:
                    return
                parts = shares(item, len(self._pool.devices), alone=whole)
                cell = CellInProgress(item, deque(parts), len(parts))
                cells.append(cell)
                self._display.cell_started(item.unit.label)
            part = cell.todo.popleft()
            worker.give(cell, part, Task(self._config, os.getcwd(), self.beside, part.block, part.unit.key, part.share))

    def _listen(self) -> None:
        """Wait for messages from the workers, and detect dead, silent and late ones."""
        for worker, word in self._pool.words(BEAT):
            self._take(worker, word)
        now = time.monotonic()
        for worker in list(self._pool.workers):
            # The end of its messages shows a dead process, unless a child of it holds the other end open.
            if not worker.process.is_alive() and now - worker.heard > _DEAD:
                self._lost(worker, _death(worker))
            elif now - worker.heard > _SILENT:
                self._lost(worker, f"its process gave no sign of life for {_SILENT:.0f} s")
            elif self._late(worker, now):
                self._end_late(worker)

    def _take(self, worker: Worker, word: WorkerMessage | None) -> None:
        worker.heard = time.monotonic()
        match word:
            case None:
                self._lost(worker, _death(worker))
            case Begun():
                worker.since, worker.began = worker.heard, True
            case Answered():
                self._answered(worker, word)
            case Advanced(done, of) if worker.doing is not None:
                self._display.advance(_label(worker.doing[1]), done, of)
            case Told(text) if worker.doing is not None:
                self._display.message(text)

    def _answered(self, worker: Worker, answer: Answered) -> None:
        if worker.doing is None or (answer.key, answer.share) != (worker.doing[1].unit.key, worker.doing[1].share):
            self._lost(worker, "its process answered what it was not asked")
            return
        cell, item = worker.doing
        worker.doing = worker.since = None
        self._keep(cell, item, answer.result)

    def _keep(self, cell: CellInProgress, item: WorkItem, made: CellResult) -> None:
        cell.seconds += made.seconds
        if cell.over:
            return
        cell.made[cell.first(item)] = made
        if made.status != "ok":  # the other shares are useless
            cell.over = True
            cell.made = {0: made}

    def _late(self, worker: Worker, now: float) -> bool:
        if self._timeout is None or worker.doing is None or worker.since is None:
            return False
        return worker.doing[0].seconds + now - worker.since > self._timeout

    def _end_late(self, worker: Worker) -> None:
        assert worker.doing is not None
        cell, item = worker.doing
        reason = f"took longer than run.timeout={self._timeout:g} s"
        seconds = self._timeout or 0.0
        self._pool.replace(worker)
        self._keep(cell, item, CellResult("timeout", reason, seconds=seconds))

    def _lost(self, worker: Worker, reason: str) -> None:
        """Retry the item of a lost worker once."""
        doing = worker.doing
        if not self._pool.replace(worker):
            self._display.message(f"{worker.device}: {reason}, {STARTS} times before it computed anything; given up")
            self._unfit = reason
        if doing is None:
            return
        cell, item = doing
        if not worker.began and self._pool.workers:  # the item is not the cause
            cell.todo.appendleft(item)
            return
        first = cell.first(item)
        cell.tries[first] = cell.tries.get(first, 1) + 1
        if cell.over:
            return
        if cell.tries[first] <= _TRIES:
            self._display.message(f"{_label(item)}: {reason}; it gets another try")
            cell.todo.appendleft(item)
        else:
            self._keep(cell, item, CellResult("crashed", f"{reason}, {_TRIES} times"))


def _label(item: WorkItem) -> str:
    share = "" if item.share is None else f" [{item.share.start}:{item.share.stop}]"
    return item.unit.label + share


def _death(worker: Worker) -> str:
    worker.process.join(BEAT)
    code = worker.process.exitcode
    if code == -signal.SIGKILL:
        return "its process was killed, as systems do when memory ends (run.memory bounds what xbench takes)"
    if code is not None and code < 0:
        return f"its process died of {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"
