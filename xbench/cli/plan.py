"""`plan=true`: what would run, what is reused, what is skipped and why, without loading a model."""

from collections import Counter
from collections.abc import Sequence

from omegaconf import DictConfig

from xbench.cli import session
from xbench.cli.merge import Entry, merge
from xbench.display import Display

_WORDS = {"to run": "run", "unknown until loaded": "run?"}


def show(configs: Sequence[DictConfig], display: Display) -> int:
    """Print the plan of the jobs; the exit code."""
    runner = session.load_runner()
    jobs = [list(runner.plan_job(cfg)) for cfg in configs]
    controls = list(dict.fromkeys(str(name) for cfg in configs for name in cfg.control))
    entries = merge(jobs, controls)
    display.result(text(entries), plan=entries)
    return 0


def text(entries: Sequence[Entry]) -> str:
    """A matrix per model and dataset: a row per algorithm, a column per metric; then reasons and totals."""
    pairs = dict.fromkeys((entry["model"], entry["dataset"]) for entry in entries)
    parts = []
    for model, dataset in pairs:
        here = [e for e in entries if (e["model"], e["dataset"]) == (model, dataset)]
        parts.append(f"{model} on {dataset}\n{_matrix(here)}")
    if any(entry["status"] == "unknown until loaded" for entry in entries):
        parts.append("run?: cells are identified by the weights, which are known once the model is trained or loaded")
    reasons = dict.fromkeys(_reason(entry) for entry in entries if entry["status"] == "skipped")
    if reasons:
        parts.append("\n".join(reasons))
    totals = Counter(entry["status"] for entry in entries)
    said = ", ".join(f"{count} {status}" for status, count in totals.items())
    return "\n\n".join([*parts, f"{len(entries)} cells: {said}"])


def _reason(entry: Entry) -> str:
    what = " ".join(part for part in (entry["algorithm"], entry["metric"]) if part)
    return f"skipped: {what} on {entry['dataset']}/{entry['model']}: {entry['reason']}"


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
