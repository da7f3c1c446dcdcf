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

import torch

from xbench.run.executor import WorkItem
from xbench.run.messages import Task, WorkerMessage
from xbench.run.process_main import serve
from xbench.run.result import CellResult

STARTS = 3  # consecutive processes that may die before computing anything; then the device is given up
_GONE = 10.0  # seconds allowed for ending a process
_START = 300.0  # seconds allowed for importing libraries


@dataclass
class CellInProgress:
    """A cell in progress: its open and finished shares."""

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
    """The parent's handle of one worker process. Its messages go to `words`, followed by None at the end.

    A thread reads them: a message arrives in pieces, and a process stopped between two pieces would block the reader.
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
        self.since: float | None = None  # start of the current task
        self.began = False  # whether it has started to compute
        self.stillborn = stillborn  # number of consecutive predecessors that never did

    def give(self, cell: CellInProgress, item: WorkItem, task: Task) -> None:
        self.doing, self.since = (cell, item), None
        with contextlib.suppress(OSError):  # it has just died, which is detected soon
            self.connection.send(task)

    def end(self) -> None:
        self.process.kill()
        self.process.join(_GONE)
        self._listener.join(_GONE)  # a child of the worker may delay this by keeping the other end open
        if not self._listener.is_alive():
            self.connection.close()

    def _listen(self) -> None:
        try:
            while True:
                self._words.put((self, self.connection.recv()))
        except (EOFError, OSError):
            self._words.put((self, None))


Words = SimpleQueue[tuple[Worker, WorkerMessage | None]]


class Pool:
    """Workers on several devices, or on one whose cells have a time limit.

    Args:
        devices: the device of each process.
        threads: number of threads per process.
    """

    def __init__(self, devices: Sequence[str], threads: int) -> None:
        self.devices = tuple(devices)
        self.threads = threads
        self.workers: list[Worker] = []
        self._words: Words = SimpleQueue()
        try:
            for device in devices:
                self.workers.append(Worker(device, threads, self._words))
        except BaseException:  # Ctrl-C, or a process cannot be started: end those already started
            self.close()
            raise

    @property
    def in_order(self) -> bool:
        """Whether two workers share a processor, so that timed cells must run alone."""
        shared = len(set(self.devices)) < len(self.devices) or "cpu" in self.devices
        return shared and len(self.devices) > 1

    def words(self, timeout: float) -> Iterator[tuple[Worker, WorkerMessage | None]]:
        """Messages of the pool's workers, after the first message or the timeout; None: a worker has ended."""
        try:
            word = self._words.get(timeout=timeout)
            while True:
                if word[0] in self.workers:  # ignore replaced workers
                    yield word
                word = self._words.get_nowait()
        except Empty:
            return

    def close(self) -> None:
        """End the processes, even while they compute."""
        for worker in self.workers:
            worker.end()
        self.workers = []

    def replace(self, worker: Worker) -> bool:
        """Replace a dead worker by a new process; False if the device is given up."""
        worker.end()
        stillborn = 0 if worker.began else worker.stillborn + 1
        if stillborn == STARTS:
            self.workers.remove(worker)
            return False
        self.workers[self.workers.index(worker)] = Worker(worker.device, self.threads, self._words, stillborn)
        return True


# The workers of the last job are kept: the next job of a sweep reuses their data and model.
_last: Pool | None = None


def open_pool(devices: Sequence[str]) -> Pool:
    """A pool with one worker per device and an equal part of this process's threads; the last pool if it fits."""
    global _last  # only the module persists between the jobs of a sweep
    if _last is None or not _last.workers or _last.devices != tuple(devices):
        close()
        _last = Pool(devices, max(1, torch.get_num_threads() // len(devices)))
    return _last


def close() -> None:
    """End the idle worker processes of this process's jobs."""
    global _last
    if _last is not None:
        _last.close()
        _last = None
