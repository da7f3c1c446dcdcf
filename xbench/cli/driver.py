"""Runs a command: checks it, runs its jobs and collects their results."""

import argparse
import contextlib
import functools
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra.types import RunMode
from omegaconf import DictConfig

from xbench.boundary.files import StoreError, check_writable
from xbench.boundary.interrupts import interruptible
from xbench.boundary.printable import say
from xbench.boundary.redact import Redactor
from xbench.cli import launchers, plan, session, status
from xbench.cli.conclude import INTERRUPTED, Command, CommandResult, announce, conclude, refusal
from xbench.cli.displays import create
from xbench.cli.preflight import Job, check_names, preflight, relax
from xbench.config import hydra_main
from xbench.config.compose import Composer
from xbench.config.nodes import ConfigError
from xbench.run.planned import Outcome, of_config
from xbench.run.progress import Display, logging_through
from xbench.store.store import Store

_LOST = "its process ended without a result"
_LEFT = "{jobs} jobs said nothing to the end; their cells are kept, and some may go on: xbench status {store}"


def run(command: Command, args: argparse.Namespace) -> int:
    """Check the command, run its jobs, and report; return the exit code.

    Raises:
        ConfigError: the configuration is wrong; nothing was loaded or written.
    """
    composer = Composer(args.config_dir, args.config_name)
    overrides = relax(composer, command.overrides)
    jobs = preflight(composer, overrides, args.multirun)
    display = create(_display(jobs[0]))
    with logging_through(display), interruptible():
        try:
            if jobs[0].cfg.plan:
                return plan.show([job.cfg for job in jobs], display)
            return _execute(command, overrides, jobs, display)
        except KeyboardInterrupt:  # while planning or reporting: finished cells stay finished
            display.message("interrupted: cells that are done are kept, run the same command to continue")
            return INTERRUPTED
        finally:
            display.finish()


def show_config(command: Command, args: argparse.Namespace) -> int:
    """`--cfg`: check the names of a command line and print the composed config; return the exit code."""
    composer = Composer(args.config_dir, args.config_name)
    check_names(composer, command.overrides)
    overrides = relax(composer, command.overrides)
    composer.compose(overrides, RunMode.MULTIRUN if args.multirun else RunMode.RUN)  # Hydra would print a traceback
    return hydra_main.inform([*command.flags, *overrides])


def _execute(command: Command, overrides: Sequence[str], jobs: Sequence[Job], display: Display) -> int:
    cfg = jobs[0].cfg
    store, launcher = Store(cfg.store), jobs[0].launcher
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    directory = session.folder(cfg.store, run_id)
    here = launchers.here(launcher)
    made = [path for path in (store.root, Path(cfg.reports).expanduser()) if not path.exists()]
    try:
        store.check_writable()
        check_writable(Path(cfg.reports).expanduser(), "reports", 16 * 2**20)
        session.tidy(store.root)
        status.announce(directory, Redactor([job.cfg for job in jobs])(command.words), len(jobs), here=here)
    except StoreError as error:
        raise ConfigError(str(error)) from error
    display.expect([len(of_config(job.cfg)) for job in jobs])
    if not here:
        display.message(f"{len(jobs)} jobs; how they are getting on: xbench status {cfg.store}")
    publish = functools.partial(_publish, command, jobs, directory)
    task = _task(publish) if here else launchers.elsewhere(publish)
    given = [f"run.id={run_id}", f"run.beside={launchers.beside(launcher, len(jobs))}"]
    shared = session.begin(display)
    began = time.monotonic()
    try:
        # If a launcher fails, Hydra prints the reason; jobs without a result are reported as failed.
        hydra_main.run(task, [*command.flags, *overrides, *given])
    except KeyboardInterrupt:
        shared.interrupted = True
    finally:
        session.end()
    found = [shared.outcomes.get(job.number) or session.outcome_of(directory, job.number) for job in jobs]
    interrupted = shared.interrupted or any(outcome.interrupted for outcome in found if outcome)
    result = CommandResult(
        command=command,
        jobs=jobs,
        outcomes=[outcome or Outcome(error=None if interrupted else _LOST) for outcome in found],
        interrupted=interrupted,
        seconds=time.monotonic() - began,
    )
    refused = refusal(result)
    if refused is not None:
        session.clear(directory, len(jobs))
        for folder in made:
            _remove_empty(folder)
        raise ConfigError(refused)
    code = conclude(result, store, display)
    if interrupted and not here and None in found:  # other machines may continue: see `xbench status`
        say(_LEFT.format(jobs=found.count(None), store=cfg.store))
    else:
        session.clear(directory, len(jobs))  # after the manifest is saved: before, these are the only trace
    return code


def _task(publish: Callable[[], None]) -> Callable[[DictConfig], None]:
    """Hydra's task function for this process."""

    def task(cfg: DictConfig) -> None:
        session.job(cfg, publish)

    return task


def _publish(command: Command, jobs: Sequence[Job], directory: Path) -> None:
    """Save the manifest of the jobs that began, so that finished cells can be reported however the command ends."""
    found = [session.outcome_of(directory, job.number, begun=True) or Outcome() for job in jobs]
    announce(CommandResult(command, jobs, found, interrupted=False, seconds=0.0), Store(jobs[0].cfg.store))


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another command may use the folder meanwhile
        folder.rmdir()


def _display(job: Job) -> str:
    """The kind of display: lines if other processes write to the same terminal."""
    kind: str = job.cfg.display
    return kind if launchers.here(job.launcher) or kind not in ("auto", "rich") else "plain"
