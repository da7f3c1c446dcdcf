"""One job of a command, in this process or wherever a Hydra launcher runs it.

What a job leaves is a file, `<store>/runs/<run.id>/<number>.json`: the driver may be another process.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from xbench.boundary import trace, words
from xbench.cli import status
from xbench.cli.compose import settle
from xbench.display import Display, PlainDisplay, create
from xbench.files import read_json, write_atomic
from xbench.grid import Outcome
from xbench.interrupts import interruptible


@dataclass
class Session:
    """What the jobs that run inside the driver's process share."""

    display: Display
    pid: int
    interrupted: bool = False


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
    if "xbench.pool" in sys.modules:  # else no job had any, and importing it would import torch
        sys.modules["xbench.pool"].close()


def load_runner() -> ModuleType:
    """`xbench.runner`, imported when the first job starts: it imports torch."""
    import xbench.runner

    return xbench.runner


def folder(store: str, run_id: str) -> Path:
    """Where the jobs of one command leave their outcomes."""
    return Path(store).expanduser() / "runs" / run_id


def job(cfg: DictConfig) -> None:
    """Hydra's task function: run one job and write its outcome; never raises, so that the others go on."""
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
    with interruptible(), status.Noted(display, status.file_of(directory, number)) as noted:
        outcome = _outcome(settle(cfg, hydra.runtime.choices), noted)
    if session is not None:
        session.interrupted = outcome.interrupted
    write_atomic(_part(directory, number), json.dumps(asdict(outcome)).encode())


def outcome_of(directory: Path, number: int) -> Outcome | None:
    """What job `number` left; None when it left nothing."""
    found = read_json(_part(directory, number))
    return None if found is None else Outcome(**found)


def clear(directory: Path, jobs: int) -> None:
    """Remove what the jobs left, once it is merged; logs of other launchers stay."""
    for number in range(jobs):
        _part(directory, number).unlink(missing_ok=True)
        status.file_of(directory, number).unlink(missing_ok=True)
    for path in (status.command_file(directory), directory / "multirun.yaml"):
        path.unlink(missing_ok=True)
    for empty in (directory, directory.parent):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()


def _part(directory: Path, number: int) -> Path:
    return directory / f"{number:05d}.json"


def _outcome(cfg: DictConfig, display: Display) -> Outcome:
    try:
        found = load_runner().run_job(cfg, display)
        return Outcome(found.cells, found.interrupted, found.error, found.notes)
    except KeyboardInterrupt:
        return Outcome(interrupted=True)
    except BaseException as error:  # the boundary between jobs: whatever it is, it is recorded and the next one runs
        display.message(trace())
        return Outcome(error=words(error))
