"""The main function of a worker process: takes tasks, computes, sends results to `xbench.run.schedule`."""

from __future__ import annotations

import os
import signal
import threading
import time
from itertools import islice
from multiprocessing.connection import Connection

import torch
from omegaconf import OmegaConf

from xbench.boundary.attempt import attempt
from xbench.engine.memory import give_back
from xbench.run.block import Block
from xbench.run.cells import Cell, blocks, evidence_of, units
from xbench.run.messages import Advanced, Alive, Answered, Begun, Task, Told, WorkerMessage
from xbench.run.open_job import open_job
from xbench.run.progress import NoDisplay, logging_through
from xbench.run.result import CellResult, failed

BEAT = 1.0  # seconds between heartbeats
_OFTEN = 0.2  # seconds between progress reports


class _Voice(NoDisplay):
    """Sends a worker's messages to the process that started it; a minimal Display."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._last = 0.0
        threading.Thread(target=self._beat, daemon=True).start()

    def say(self, word: WorkerMessage) -> None:
        with self._lock:
            self._connection.send(word)

    def progress(self, done: int, of: int) -> None:
        now = time.monotonic()
        if now - self._last >= _OFTEN:
            self._last = now
            self.say(Advanced(done, of))

    def message(self, text: str) -> None:
        self.say(Told(text))

    def _beat(self) -> None:
        while True:
            try:
                self.say(Alive())
            except OSError:  # the other process has ended
                os._exit(1)
            time.sleep(BEAT)


class _Bench:
    """The job and the block of the last task, kept for the next task."""

    def __init__(self, device: str, voice: _Voice) -> None:
        self._device = device
        self._voice = voice
        self._of: tuple[object, ...] = ()
        self._block: Block | None = None
        self._units: dict[str, Cell] = {}

    def attempt(self, task: Task) -> CellResult:
        """Run a task; an error outside its cell can only come from opening the job, as the other process did before."""
        start = time.perf_counter()
        return attempt(lambda: self._make(task), lambda error: failed(error, time.perf_counter() - start, {}))

    def _make(self, task: Task) -> CellResult:
        os.chdir(task.folder)
        of = (task.config, task.folder, task.beside, task.block)
        if of != self._of:
            self._of, self._block = (), None  # free its samples before loading the next
            give_back()
            with logging_through(NoDisplay()):  # the parent process has already logged these messages
                self._open(task)
            self._of = of
        assert self._block is not None
        if task.key not in self._units:
            raise RuntimeError("the worker's data, weights or source are not the command's: files changed meanwhile")
        self._voice.say(Begun())
        with logging_through(self._voice):
            return self._block.make(self._units[task.key], task.share)

    def _open(self, task: Task) -> None:
        job = open_job(OmegaConf.create(task.config), torch.device(self._device), task.beside, tried=True)
        split = next(islice(blocks(job.cfg, job.dataset.test), task.block, None))
        self._block = Block(job, split, self._voice.progress)
        every = list(units(job.ids, job.parts, split))
        every += [cell for score in every if score.metric for cell in evidence_of(job.ids, split, score)]
        self._units = {unit.key: unit for unit in every}


def serve(connection: Connection, device: str, threads: int) -> None:
    """The main loop of a worker: run one task after the other, until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C and ends this one
    torch.set_num_threads(threads)
    voice = _Voice(connection)
    bench = _Bench(device, voice)
    while True:
        try:
            task: Task = connection.recv()
        except (EOFError, OSError):
            return
        made = bench.attempt(task)
        try:
            voice.say(Answered(task.key, task.share, made))
        except OSError:
            return
        except Exception as error:  # the result cannot be pickled: nothing was sent
            voice.say(Answered(task.key, task.share, failed(error, made.seconds, {})))
