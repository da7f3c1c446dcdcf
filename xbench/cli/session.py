"""Runs one job of a command, in this process or where a Hydra launcher starts it.

A job writes its outcome to `<store>/runs/<run.id>/<number>.json`, because the driver may be another process.
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
    """State shared by the jobs in the driver's process; `outcomes` also has outcomes that a full disk refused."""

    display: Display
    pid: int
    interrupted: bool = False
    outcomes: dict[int, Outcome] = field(default_factory=dict)


_session: Session | None = None


def begin(display: Display) -> Session:
    """Open the session of this process; jobs find it through the module."""
    global _session  # Hydra calls a job with its config only
    _session = Session(display, os.getpid())
    return _session


def end() -> None:
    """Close the session, and end the worker processes of its jobs."""
    global _session
    _session = None
    if "xbench.run.processes" in sys.modules:  # otherwise there are none, and the import would load torch
        sys.modules["xbench.run.processes"].close()


def load_runner() -> ModuleType:
    """`xbench.run.runner`, imported when the first job starts: it imports torch."""
    import xbench.run.runner

    return xbench.run.runner


def folder(store: str, run_id: str) -> Path:
    """The folder for the outcomes of a command's jobs."""
    return Path(store).expanduser() / "runs" / run_id


def job(cfg: DictConfig, publish: Callable[[], None]) -> None:
    """Run one job and write its outcome; never raises, so that the other jobs go on.

    `publish` is called when the job has written the list of its cells to its folder.
    """
    session = _session if _session is not None and _session.pid == os.getpid() else None
    if session is not None and session.interrupted:
        return
    hydra = HydraConfig.get()
    number = 0 if hydra.mode == RunMode.RUN else int(hydra.job.num)
    if session is None:  # on another machine or in a worker: print lines to its own log
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
    """The outcome of job `number`; None if there is none. With `begun`, the cells of a job that still runs count."""
    found = read_json(status.part_of(directory, number))
    if found is None and begun:
        found = read_json(_begun(directory, number))
    return None if found is None else Outcome(**found)


def tidy(store: Path) -> None:
    """Remove files of killed commands, unless their jobs still run or wait elsewhere."""
    for command in status.read(store):
        states = {job["state"] for job in command["jobs"]}
        over = states <= ({*status.OVER, "waiting"} if command.get("here") else status.OVER)
        if command["state"] == "ended" and over:
            clear(store / "runs" / command["id"], len(command["jobs"]))


def clear(directory: Path, jobs: int) -> None:
    """Remove the jobs' files once they are merged; logs of other launchers stay."""
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
    except BaseException as error:  # the boundary between jobs: any error is recorded, and the next job runs
        display.message(trace())
        return Outcome(error=words(error))
