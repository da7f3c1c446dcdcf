"""`plan=true`: shows which cells run, are reused or are skipped and why, without loading a model."""

from collections import Counter
from collections.abc import Sequence

from omegaconf import DictConfig

from xbench.boundary.printable import say
from xbench.cli import session
from xbench.cli.conclude import FAILED, FINE
from xbench.cli.merge import merge
from xbench.config.nodes import ConfigError
from xbench.run.planned import Entry
from xbench.run.progress import Display

_NAMED = 3
_WORDS = {"to run": "run", "unknown until loaded": "run?"}


def show(configs: Sequence[DictConfig], display: Display) -> int:
    """Print the plan of the jobs; return the exit code."""
    runner = session.load_runner()
    jobs, refused = [], []
    for cfg in configs:
        try:
            jobs.append(list(runner.plan_job(cfg)))
        except ConfigError as error:
            refused.append(f"{cfg.choice.model} on {cfg.choice.dataset}: {error}")
    if not jobs:
        raise ConfigError("\n".join(dict.fromkeys(refused)))
    controls = list(dict.fromkeys(str(name) for cfg in configs for name in cfg.control))
    entries = merge(jobs, controls)
    display.result(text(entries), plan=entries)
    for line in dict.fromkeys(refused):
        say(f"cannot begin: {line}")
    return FAILED if refused else FINE


def text(entries: Sequence[Entry]) -> str:
    """A matrix per model and data set, with a row per algorithm and a column per metric; then reasons and totals."""
    pairs = dict.fromkeys((entry["model"], entry["dataset"]) for entry in entries)
    parts = []
    for model, dataset in pairs:
        here = [e for e in entries if (e["model"], e["dataset"]) == (model, dataset)]
        parts.append(f"{model} on {dataset}\n{_matrix(here)}")
    if any(entry["status"] == "unknown until loaded" for entry in entries):
        parts.append("run?: cells are identified by the weights, which are known once the model is trained or loaded")
    skipped = [entry for entry in entries if entry["status"] == "skipped"]
    if skipped:
        parts.append(_skipped(skipped))
    if any(entry["status"] == "to run" for entry in entries):
        parts.append(_time([entry.get("seconds") for entry in entries if entry["status"] == "to run"]))
    totals = Counter(entry["status"] for entry in entries)
    said = ", ".join(f"{count} {status}" for status, count in totals.items())
    return "\n\n".join([*parts, f"{len(entries)} cells: {said}"])


def _skipped(entries: Sequence[Entry]) -> str:
    """One line per reason, with the algorithms and metrics concerned."""
    by_reason: dict[str, list[str]] = {}
    for entry in entries:
        what = " ".join(part for part in (entry["algorithm"], entry["metric"]) if part)
        by_reason.setdefault(entry["reason"], []).append(f"{what} on {entry['dataset']}/{entry['model']}")
    lines = [f"skipped: {_count(len(entries), 'cell')}, {_count(len(by_reason), 'reason')}"]
    for reason, cells in by_reason.items():
        named = list(dict.fromkeys(cells))
        several = f"{_count(len(named), 'cell')}, such as {named[0]}"
        lines.append(f"  {', '.join(named) if len(named) <= _NAMED else several}: {reason}")
    return "\n".join(lines)


def _time(seconds: Sequence[float | None]) -> str:
    known = [one for one in seconds if one is not None]
    if not known:
        return "time: unknown, for no cell like these is in the store"
    rest = len(seconds) - len(known)
    less = f"; unknown for the other {_count(rest, 'cell')}" if rest else ""
    return (
        f"time: about {_duration(sum(known))} for {_count(len(known), 'cell')} in one process, by stored cells that "
        f"differ in samples, seed or target alone, without loading and the report{less}"
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("s" if n != 1 else "")


def _matrix(entries: Sequence[Entry]) -> str:
    rows = list(dict.fromkeys(entry["algorithm"] for entry in entries))
    columns = list(dict.fromkeys(entry["metric"] for entry in entries))
    words = {
        (row, column): _word([e["status"] for e in entries if (e["algorithm"], e["metric"]) == (row, column)])
        for row in rows
        for column in columns
    }
    table = [["", *("map" if column is None else column for column in columns)]]
    table += [[row or "samples", *(words[row, column] for column in columns)] for row in rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
    )


def _word(statuses: Sequence[str]) -> str:
    """One word for the blocks of a cell: "run", or "1 reused, 2 run"."""
    counts = Counter(_WORDS.get(status, status) for status in statuses)
    if len(counts) <= 1:
        return next(iter(counts), "")
    return ", ".join(f"{count} {word}" for word, count in counts.items())
