"""Worker processes, one per device. They stay for the next job of a sweep; see `xbench.run.schedule` for their work."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import torch

from xbench.run.executor import WorkItem
from xbench.run.process_main import Task, serve
from xbench.run.result import CellResult

STARTS = 3  # processes in a row that may die before they compute anything; a device where that happens is given up
_GONE = 10.0  # seconds that the system may take to end a process
_START = 300.0  # seconds a process may take to import its libraries


@dataclass
class CellInProgress:
    """A cell in the making: its shares to do and done."""

    item: WorkItem
    todo: deque[WorkItem]
    count: int
    made: dict[int, CellResult] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    over: bool = False

    def first(self, share: WorkItem) -> int:
        return 0 if share.share is None else share.share.start


class Worker:
    """One process, seen from this one. What it says goes to `words`, with None when it says nothing any more.

    A thread listens: a word comes in pieces, and a process that is stopped between two would block who waits for it.
    """

    def __init__(self, device: str, threads: int, words: Words, stillborn: int = 0) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        self.device = device
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(theirs, device, threads), daemon=True, name=f"xbench {device}"
        )
        self.process.start()
        theirs.close()
        self._words = words
        self._listener = threading.Thread(target=self._listen, daemon=True, name=f"xbench hears {device}")
        self._listener.start()
        self.heard = time.monotonic() + _START
        self.doing: tuple[CellInProgress, WorkItem] | None = None
        self.since: float | None = None  # when it began to compute what it has in hand
        self.began = False  # whether it has started to compute anything
        self.stillborn = stillborn  # processes before it, one after the other, that never did

    def give(self, cell: CellInProgress, item: WorkItem, task: Task) -> None:
        self.doing, self.since = (cell, item), None
        with contextlib.suppress(OSError):  # it died just now, which is noticed in a moment
            self.connection.send(task)

    def end(self) -> None:
        self.process.kill()
        self.process.join(_GONE)
        self._listener.join(_GONE)  # which a process of the process's own may hold up, by keeping the other end
        if not self._listener.is_alive():
            self.connection.close()

    def _listen(self) -> None:
        try:
            while True:
                self._words.put((self, self.connection.recv()))
        except (EOFError, OSError):
            self._words.put((self, None))


Words = SimpleQueue[tuple[Worker, Any]]


class Pool:
    """Workers on several devices, or on one whose cells have a time limit.

    Args:
        devices: one process for each.
        threads: for each process.
    """

    def __init__(self, devices: Sequence[str], threads: int) -> None:
        self.devices = tuple(devices)
        self.threads = threads
        self.workers: list[Worker] = []
        self._words: Words = SimpleQueue()
        try:
            for device in devices:
                self.workers.append(Worker(device, threads, self._words))
        except BaseException:  # Ctrl-C, or no process can be started: those that were would stay
            self.close()
            raise

    @property
    def in_order(self) -> bool:
        """Whether two workers share a processor, so that a cell that is timed must run alone."""
        shared = len(set(self.devices)) < len(self.devices) or "cpu" in self.devices
        return shared and len(self.devices) > 1

    def words(self, timeout: float) -> Iterator[tuple[Worker, Any]]:
        """What workers of the pool have said, once one has or the time is over; None: it says nothing any more."""
        try:
            word = self._words.get(timeout=timeout)
            while True:
                if word[0] in self.workers:  # not one that was replaced
                    yield word
                word = self._words.get_nowait()
        except Empty:
            return

    def close(self) -> None:
        """End the processes, whatever they do."""
        for worker in self.workers:
            worker.end()
        self.workers = []

    def replace(self, worker: Worker) -> bool:
        """A new process for one that is no use any more; False when none is tried again on this device."""
        worker.end()
        stillborn = 0 if worker.began else worker.stillborn + 1
        if stillborn == STARTS:
            self.workers.remove(worker)
            return False
        self.workers[self.workers.index(worker)] = Worker(worker.device, self.threads, self._words, stillborn)
        return True


# The workers of the last job: the next one of a sweep finds its data and model there.
_last: Pool | None = None


def open_pool(devices: Sequence[str]) -> Pool:
    """A worker per device, with its part of this process's threads; the last pool if it fits."""
    global _last  # jobs of a sweep come one by one, and nothing but this module stays between them
    if _last is None or not _last.workers or _last.devices != tuple(devices):
        close()
        _last = Pool(devices, max(1, torch.get_num_threads() // len(devices)))
    return _last


def close() -> None:
    """End the processes that jobs of this process have left waiting."""
    global _last
    if _last is not None:
        _last.close()
        _last = None
