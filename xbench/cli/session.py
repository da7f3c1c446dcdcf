"""One job of a command, in this process or wherever a Hydra launcher runs it.

What a job leaves is a file, `<store>/runs/<run.id>/<number>.json`: the driver may be another process.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from xbench.boundary.attempt import trace, words
from xbench.boundary.files import StoreError, read_json, write_atomic
from xbench.boundary.interrupts import interruptible
from xbench.cli import status
from xbench.cli.displays import PlainDisplay, create
from xbench.config.compose import settle
from xbench.run.planned import Outcome
from xbench.run.progress import Display


@dataclass
class Session:
    """What the jobs that run inside the driver's process share; `outcomes` also tells what a full disk did not take."""

    display: Display
    pid: int
    interrupted: bool = False
    outcomes: dict[int, Outcome] = field(default_factory=dict)


_session: Session | None = None


def begin(display: Display) -> Session:
    """Open the session of this process; jobs find it through the module."""
    global _session  # Hydra calls a job with its config and nothing else
    _session = Session(display, os.getpid())
    return _session


def end() -> None:
    """Close the session, and end the worker processes of its jobs."""
    global _session
    _session = None
    if "xbench.run.processes" in sys.modules:  # else no job had any, and importing it would import torch
        sys.modules["xbench.run.processes"].close()


def load_runner() -> ModuleType:
    """`xbench.run.runner`, imported when the first job starts: it imports torch."""
    import xbench.run.runner

    return xbench.run.runner


def folder(store: str, run_id: str) -> Path:
    """Where the jobs of one command leave their outcomes."""
    return Path(store).expanduser() / "runs" / run_id


def job(cfg: DictConfig, publish: Callable[[], None]) -> None:
    """Run one job and write its outcome; never raises, so that the others go on.

    `publish` is called when the job has left in its folder which cells it has.
    """
    session = _session if _session is not None and _session.pid == os.getpid() else None
    if session is not None and session.interrupted:
        return
    hydra = HydraConfig.get()
    number = 0 if hydra.mode == RunMode.RUN else int(hydra.job.num)
    if session is None:  # on another machine or in a worker: lines in its own log
        display = PlainDisplay() if cfg.display in ("auto", "rich") else create(cfg.display)
    else:
        display = session.display
    directory = folder(cfg.store, cfg.run.id)

    def begun(outcome: Outcome) -> None:
        _write(_begun(directory, number), outcome)
        publish()

    with interruptible(), status.StatusDisplay(display, status.file_of(directory, number)) as noted:
        outcome = _outcome(settle(cfg, hydra.runtime.choices), noted, begun)
    if session is not None:
        session.interrupted = outcome.interrupted
        session.outcomes[number] = outcome
    try:
        _write(status.part_of(directory, number), outcome)
    except StoreError as error:
        display.message(str(error))


def outcome_of(directory: Path, number: int, *, begun: bool = False) -> Outcome | None:
    """What job `number` left; None when it left nothing. With `begun`, of one that goes on, the cells it has."""
    found = read_json(status.part_of(directory, number))
    if found is None and begun:
        found = read_json(_begun(directory, number))
    return None if found is None else Outcome(**found)


def tidy(store: Path) -> None:
    """Remove what commands left that were killed, unless jobs of theirs go on or wait elsewhere."""
    for command in status.read(store):
        states = {job["state"] for job in command["jobs"]}
        over = states <= ({*status.OVER, "waiting"} if command.get("here") else status.OVER)
        if command["state"] == "ended" and over:
            clear(store / "runs" / command["id"], len(command["jobs"]))


def clear(directory: Path, jobs: int) -> None:
    """Remove what the jobs left, once it is merged; logs of other launchers stay."""
    for number in range(jobs):
        for path in (status.part_of, status.file_of, _begun):
            path(directory, number).unlink(missing_ok=True)
    for left in (status.command_file(directory), directory / "multirun.yaml"):
        left.unlink(missing_ok=True)
    for empty in (directory, directory.parent):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()


def _begun(directory: Path, number: int) -> Path:
    return directory / f"{number:05d}.begun.json"


def _write(path: Path, outcome: Outcome) -> None:
    write_atomic(path, json.dumps(asdict(outcome)).encode())


def _outcome(cfg: DictConfig, display: Display, begun: Callable[[Outcome], None]) -> Outcome:
    try:
        found = load_runner().run_job(cfg, display, begun)
        return Outcome(found.cells, found.interrupted, found.error, found.notes, found.refused)
    except KeyboardInterrupt:
        return Outcome(interrupted=True)
    except BaseException as error:  # the boundary between jobs: whatever it is, it is recorded and the next one runs
        display.message(trace())
        return Outcome(error=words(error))
