"""`xbench status [STORE] [--json]`: shows the commands that run on a store, from any machine that sees it.

A command writes `<store>/runs/<run.id>/command.json`, and each of its jobs `<number>.status.json`, updated every two
seconds while it runs, on any machine.
"""

import argparse
import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from xbench.boundary.files import StoreError, read_json, write_atomic
from xbench.boundary.printable import say
from xbench.config.arguments import ConfigError
from xbench.run.progress import Display, Tally

OVER = frozenset(("finished", "interrupted", "failed", "lost"))  # final states of jobs

_KEYS = {"command", "jobs", "host", "pid", "began"}
_OFTEN = 2.0  # seconds
_SILENT = 30.0  # a job on another machine is lost after this time, longer than a network folder's cache


def file_of(directory: Path, number: int) -> Path:
    """The status file of job `number`."""
    return directory / f"{number:05d}.status.json"


def part_of(directory: Path, number: int) -> Path:
    """The outcome file of job `number`."""
    return directory / f"{number:05d}.json"


def command_file(directory: Path) -> Path:
    """The driver's file with the typed command."""
    return directory / "command.json"


def announce(directory: Path, words: Sequence[str], jobs: int, *, here: bool) -> None:
    """Write the command file when a command begins; `here`: its jobs run in this process. Raises StoreError."""
    _write(command_file(directory), {"command": list(words), "jobs": jobs, "here": here, **_process()})


class StatusDisplay:
    """A display that also writes its events to a job's status file, inside a `with` block."""

    def __init__(self, display: Display, path: Path) -> None:
        self._display = display
        self._path = path
        self._tally = Tally()
        self._cell = ""
        self._process = _process()
        self._over = threading.Event()
        self._writer = threading.Thread(target=self._write_often, daemon=True, name="xbench status")

    def __enter__(self) -> Display:
        self._writer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._writer.join()

    def expect(self, cells: Sequence[int]) -> None:
        self._display.expect(cells)

    def start(self, cells: int, reused: int) -> None:
        self._tally.start(cells, reused)
        self._display.start(cells, reused)

    def cell_started(self, label: str) -> None:
        self._cell = label
        self._display.cell_started(label)

    def advance(self, label: str, done: int, of: int) -> None:
        self._tally.advance(label, done)
        self._display.advance(label, done, of)

    def cell_done(self, label: str, status: str, seconds: float, reason: str | None = None) -> None:
        self._tally.cell_done(status)
        self._display.cell_done(label, status, seconds, reason)

    def drawing(self, done: int, of: int) -> None:
        self._display.drawing(done, of)

    def message(self, text: str) -> None:
        self._display.message(text)

    def result(self, text: str, **data: Any) -> None:  # noqa: ANN401  (as the protocol has it)
        self._display.result(text, **data)

    def finish(self) -> None:
        self._display.finish()

    def _write_often(self) -> None:
        while True:
            tally = self._tally
            facts = {"cells": tally.cells, "done": tally.done, "reused": tally.reused, "failed": tally.failed}
            with contextlib.suppress(StoreError):  # the results report a full disk
                _write(self._path, {**self._process, **facts, "cell": self._cell, "seconds_left": tally.seconds_left})
            if self._over.wait(_OFTEN):
                return


def read(store: Path) -> list[dict[str, Any]]:
    """Every command that has not ended, oldest first, with its `jobs`: number, state and, once begun, counts."""
    found = []
    for path in sorted((store / "runs").glob("*/command.json")):
        told = read_json(path)
        if told is None or not told.keys() >= _KEYS:  # the command has just ended, or the file is not xbench's
            continue
        jobs = [_job(path.parent, number) for number in range(told["jobs"])]
        # A killed command leaves its file; on another machine this cannot be detected.
        state = "ended" if told["host"] == socket.gethostname() and not _alive(told) else "running"
        found.append({**told, "id": path.parent.name, "state": state, "jobs": jobs})
    return found


def main(arguments: Sequence[str]) -> int:
    """Print the running commands; return the exit code.

    Raises:
        ConfigError: the store does not exist.
    """
    parser = argparse.ArgumentParser(prog="xbench status", description=__doc__.splitlines()[0])
    parser.add_argument("store", nargs="?", default="results", type=Path, help="the command's store= (results)")
    parser.add_argument("--json", action="store_true", help="a JSON list for programs")
    given = parser.parse_args(arguments)
    store = given.store.expanduser()
    if not store.is_dir():
        raise ConfigError(f"there is no store {store}; name the folder that the command has as store=")
    commands = read(store)
    if given.json:
        say(json.dumps(commands, indent=1), sys.stdout)
        return 0
    lines = [] if commands else [f"no command is at work on the store {store}"]
    for command in commands:
        lines.append(f"{' '.join(command['command'])}  ({_ago(command['began'])}, on {command['host']})")
        lines += [f"  job {job['number']}: {_line(job)}" for job in command["jobs"]]
        if command["state"] == "ended":
            lines.append("  it ended before its report; type it again to go on")
    say("\n".join(lines), sys.stdout)
    return 0


def _job(directory: Path, number: int) -> dict[str, Any]:
    path = file_of(directory, number)
    told = read_json(path) or {}
    left = read_json(part_of(directory, number))
    if left is not None:
        state = "interrupted" if left["interrupted"] else "failed" if left["error"] else "finished"
    elif not told:
        state = "waiting"
    elif told["host"] == socket.gethostname():
        state = "running" if _alive(told) else "lost"
    else:
        state = "running" if time.time() - told["written"] < _SILENT else "silent"
    return {"number": number, "state": state, **told}


def _line(job: dict[str, Any]) -> str:
    """One line about a job."""
    if "cells" not in job:
        return str(job["state"])
    failed = f", {job['failed']} failed" if job["failed"] else ""
    text = f"{job['state']}, {job['done'] + job['reused']} of {job['cells']} cells ({job['reused']} reused{failed})"
    if job["state"] == "silent":
        text += f", last heard {_ago(job['written'])}"
    elif job["state"] == "running" and job["cell"]:
        text += f": {job['cell']}"
        text += f", about {job['seconds_left']:.0f} s left" if job["seconds_left"] else ""
    return f"{text}  [{job['host']}, process {job['pid']}]"


def _process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "began": time.time()}


def _alive(told: dict[str, Any]) -> bool:
    """Whether the process still runs on this machine, and its id has not been reused."""
    try:
        process = psutil.Process(told["pid"])
        alive: bool = process.create_time() <= told["began"] + 1 and process.status() != psutil.STATUS_ZOMBIE
        return alive
    except psutil.Error:
        return False


def _ago(then: float) -> str:
    seconds = max(0.0, time.time() - then)
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"


def _write(path: Path, facts: dict[str, Any]) -> None:
    write_atomic(path, json.dumps({**facts, "written": time.time()}).encode())
