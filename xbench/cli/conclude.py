"""Ends a command: one manifest, one table and one report for all its jobs, and the exit code."""

import shlex
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xbench.boundary.printable import say
from xbench.boundary.redact import Redactor, by_name
from xbench.cli.merge import merge, relabel
from xbench.cli.preflight import Job
from xbench.run.planned import NOT_FAILED, OK, Entry, Outcome
from xbench.run.progress import Display
from xbench.store.store import ManifestNotFound, Store, StoreError

_REPORT = ("name", "store", "reports")
FINE, FAILED, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True)
class Command:
    """The typed command: the flags for Hydra, and the overrides as the user wrote them."""

    program: str  # "xbench" or "python -m xbench"
    flags: Sequence[str]
    overrides: Sequence[str]

    @property
    def words(self) -> list[str]:
        """The command line, flags last."""
        return [*self.program.split(), *self.overrides, *self.flags]

    def retry(self) -> str:
        """The command that computes failed cells again."""
        never_again = ("reuse=missing", "reuse=only")  # the two policies that do not retry failed cells
        return shlex.join(word for word in self.words if word.lstrip("+") not in never_again)


@dataclass(frozen=True)
class CommandResult:
    """Result of a command."""

    command: Command
    jobs: Sequence[Job]
    outcomes: Sequence[Outcome]  # one per job
    interrupted: bool
    seconds: float

    def entries(self) -> list[Entry]:
        """The cells of all jobs, merged."""
        given = {key: {job.settings.get(key) for job in self.jobs} for job in self.jobs for key in job.settings}
        varied = [{k: v for k, v in job.settings.items() if len(given[k]) > 1} for job in self.jobs]
        controls = list(dict.fromkeys(str(name) for job in self.jobs for name in job.cfg.control))
        return merge(relabel([outcome.cells for outcome in self.outcomes], varied), controls)

    def failures(self) -> list[str]:
        """One line per failed job and per failed cell, with the reason."""
        lines = []
        for job, outcome in zip(self.jobs, self.outcomes, strict=True):
            reason = outcome.error or outcome.refused
            if reason is not None:
                lines.append(f"job {job.number} ({' '.join(job.overrides) or 'default'}): {reason}")
        alike: dict[tuple[str, str, str], list[str]] = {}
        for entry in self.entries():
            if entry["status"] not in NOT_FAILED and entry["key"]:  # without a key: a failed job's, listed above
                what = " ".join(part for part in (entry["algorithm"], entry["metric"]) if part) or "samples"
                place = f"{entry['dataset']}/{entry['model']}"
                cause = str(entry["reason"]).removeprefix("there is no map to score: ")
                alike.setdefault((entry["status"], place, cause), []).append(what)
        for (status, place, reason), cells in alike.items():
            named = list(dict.fromkeys(cells))  # the blocks of one cell usually fail for one reason
            lines.append(
                f"{status}: {', '.join(named) if len(named) < 5 else f'{len(named)} cells'} on {place}: {reason}"
            )
        return lines


def announce(result: CommandResult, store: Store) -> None:
    """Save the manifest with the cells still to be computed, unless the stored manifest has them all.

    Raises:
        StoreError: it cannot be written.
    """
    saved = manifest(result, result.entries())
    try:
        before = store.manifest(saved["name"])
    except ManifestNotFound:
        before = {}
    alike = all(before.get(key) == saved[key] for key in ("command", "config", "seed"))
    if not alike or not _keys(saved) <= _keys(before):
        store.save_manifest(saved)


def refusal(result: CommandResult) -> str | None:
    """The reasons why no job of the command could begin, one per line; None if a job began."""
    reasons: dict[str, list[str]] = {}
    for job, outcome in zip(result.jobs, result.outcomes, strict=True):
        if outcome.refused is None:
            return None
        reasons.setdefault(outcome.refused, []).append(f"job {job.number} ({' '.join(job.overrides)})")
    if len(reasons) == 1:
        return next(iter(reasons))
    return "no job can begin\n" + "\n".join(f"{', '.join(jobs)}: {reason}" for reason, jobs in reasons.items())


def conclude(result: CommandResult, store: Store, display: Display) -> int:
    """Save the manifest, print the table, write the report, list the failures; return the exit code."""
    entries, failures = result.entries(), result.failures()
    report, complete = None, True
    if entries:
        saved = _dated(manifest(result, entries), store)
        try:
            store.save_manifest(saved)
        except StoreError as error:
            failures.append(str(error))
        if result.interrupted:  # skip the figures, which take seconds: the user waits for the prompt
            say("interrupted: stopping")
        report, complete = _report(result, store, saved, display)
    counts = Counter(entry["status"] for entry in entries)
    display.result(
        _summary(counts, result, report),
        report=None if report is None else str(report),
        cells=dict(counts),
        failures=failures,
        interrupted=result.interrupted,
        seconds=round(result.seconds, 3),
    )
    for line in failures:
        say(line)
    if result.interrupted:
        done = counts["ok"] + counts["reused"]
        say(f"interrupted: {done} cells done, run the same command to continue")
        return INTERRUPTED
    if any(entry["status"] == "error" and entry["key"] for entry in entries):
        say(f'tracebacks: "What failed" in {report or f"the report, which is written by: {_again(result)}"}')
    if failures:
        say(f"failed cells are tried again by: {result.command.retry()}")
    return FAILED if failures or not complete else FINE


def manifest(result: CommandResult, entries: Sequence[Entry]) -> dict[str, Any]:
    """The manifest of this command's report, see `xbench.store.store`."""
    cfg = result.jobs[0].cfg
    sizes: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        if entry["kind"] == "samples":
            sizes[entry["model"], entry["dataset"]] += entry["samples"]
    # The store holds each cell's status, except for cells that store nothing: skipped, or impossible to write.
    redact = Redactor([job.cfg for job in result.jobs])
    cells = [
        {**e, "status": "planned" if e["status"] in OK else e["status"], "reason": redact(e["reason"])} for e in entries
    ]
    return {
        "name": cfg.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": redact(result.command.words),
        "config": redact({"jobs": [by_name(job.cfg) for job in result.jobs]}),
        "cells": cells,
        "notes": list(dict.fromkeys(note for outcome in result.outcomes for note in outcome.notes)),
        "n": max(sizes.values(), default=0),
        "seed": cfg.seed,
    }


def _again(result: CommandResult) -> str:
    """The command that writes the report from the store."""
    cfg = result.jobs[0].cfg
    return shlex.join(["python", "-m", "xbench.report", *(f"{key}={cfg[key]}" for key in _REPORT)])


def _keys(saved: Mapping[str, Any]) -> set[str]:
    return {cell["key"] for cell in saved.get("cells", ()) if cell["key"]}


def _dated(saved: dict[str, Any], store: Store) -> dict[str, Any]:
    """The manifest; the stored one if equal, so that its date, and the report, do not change."""
    try:
        before = store.manifest(saved["name"])
    except ManifestNotFound:
        return saved
    return before if {**before, "created": saved["created"]} == saved else saved


def _report(result: CommandResult, store: Store, saved: dict[str, Any], display: Display) -> tuple[Path | None, bool]:
    """Print the comparison table and write the report.

    Returns:
        (the page or None, whether everything requested was written); failures are printed to standard error.
    """
    import xbench.report  # pandas is imported only if there is something to show
    import xbench.tables.tables

    cfg = result.jobs[0].cfg
    again = _again(result)
    try:
        built = xbench.tables.tables.build(store, saved)
        table = xbench.tables.tables.terminal(built)
        display.result(table, table=table)
        if not cfg.report:
            return None, True
        if result.interrupted:
            say(f"no report is written of an interrupted run; to see it as it is: {again}")
            return None, True
        directory = Path(cfg.reports).expanduser() / saved["name"]
        page = xbench.report.write(store, saved, directory, built=built, reuse=True, progress=display.drawing)
    except Exception as error:  # the cells are stored and must still be summarised; any error only costs the report
        say(error if isinstance(error, StoreError) else traceback.format_exc())
        say(f"the report could not be written; once that is mended: {again}")
        return None, False
    return Path(page), True


def _summary(counts: Counter[str], result: CommandResult, report: Path | None) -> str:
    total = sum(counts.values())
    if total and counts["reused"] == total:
        said = f"nothing to do: all {total} cells were in the store already"
    else:
        parts = [f"{count} {status}" for status, count in counts.items()]
        said = f"{total} cells ({', '.join(parts) or 'none'}) in {result.seconds:.1f} s"
    return said if report is None else f"{said}\nreport: {report}"
