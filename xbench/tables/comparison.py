"""The comparison: a row per algorithm, a column per metric, the best entries marked, and notes for the reader."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from xbench.tables import pairwise
from xbench.tables.columns import PEAK_MEMORY, RUNTIME, TableColumn, ordered
from xbench.tables.outcomes import StoredCell

_HARDWARE_BOUND = (RUNTIME.name, PEAK_MEMORY.name)
CONTROLS = ("random", "constant")
_REASON_LENGTH = 160
MARKED = f"the best mean and all that are not significantly worse ({pairwise.RULE}); of costs the best alone"


@dataclass(frozen=True)
class Comparison:
    """One algorithm in one column: a mean with its interval, or (status not "ok") the reason for its absence."""

    status: str  # "ok", "undefined" (for every sample), or the status of the cells without a result
    mean: float
    low: float
    high: float
    n: int  # samples measured
    n_undefined: int  # measured samples whose value is undefined
    n_absent: int  # samples planned but not measured: their cells have no result
    best: bool = False  # no method has a better mean
    marked: bool = False  # the best, or not significantly worse


@dataclass(frozen=True)
class Row:
    """One algorithm on one model and dataset. `label` is for readers, `algorithm` is the config's name."""

    model: str
    dataset: str
    algorithm: str
    label: str
    control: bool
    entries: Mapping[str, Comparison]  # by column name; no entry = not planned


@dataclass(frozen=True)
class Grid:
    """Rows in reading order (model and data set, controls last). `subjects` describes each pair of these."""

    columns: tuple[TableColumn, ...]
    rows: tuple[Row, ...]
    subjects: Mapping[tuple[str, str], str]  # (model, dataset) -> "cnn (accuracy 0.981) on digits, n = 32"
    notes: tuple[str, ...]  # remarks for a reader of the numbers, as plain sentences

    @property
    def caption(self) -> str:
        """The meaning of the numbers and the data, in plain sentences."""
        what = "Means over samples with 95 % bootstrap intervals. Runtime and rows are per sample."
        return f"{what} In bold: {MARKED}. {'; '.join(self.subjects.values())}."


def build(
    summary: pd.DataFrame,
    scores: pd.DataFrame,
    columns: Mapping[str | None, tuple[TableColumn, ...]],
    cells: Sequence[StoredCell],
    compared: pd.DataFrame,
    *,
    one_hardware: bool,
    remarks: Sequence[str] = (),
) -> Grid:
    """Rank and annotate a summary. Without `one_hardware` runtime and peak memory are not ranked.

    `compared` is the table of `pairwise`, which says what is significantly worse than the best. `remarks` are the run's
    remarks on its data; they come first among the notes.
    """
    entries = _entries(summary, scores)
    labels, controls = called(cells)
    rows = [
        Row(model, dataset, name, labels[name], name in controls, found)
        for (model, dataset, name), found in entries.items()
    ]
    subjects = _subjects(cells)
    order = list(subjects)
    rows.sort(key=lambda row: (order.index((row.model, row.dataset)), row.control))
    void = _inapplicable(cells)
    shown = ordered(column for metric, found in columns.items() if metric not in void for column in found)
    ranked = [column for column in shown if one_hardware or column.name not in _HARDWARE_BOUND]
    notes = [*remarks]
    notes += _notes(rows, shown, [cell for cell in cells if cell.group[3] not in void], labels)
    notes += [f"– skipped: {', '.join(names)}: {reason}" for reason, names in _by_reason(void).items()]
    notes += _too_few(rows, compared)
    if not one_hardware:
        notes.append("Runtime and peak memory were measured on different hardware and are not ranked.")
    return Grid(tuple(shown), tuple(_marked(_with_best(rows, ranked), ranked, compared)), subjects, tuple(notes))


def frame(grid: Grid) -> pd.DataFrame:
    """The comparison with raw numbers (no units changed): of every column the mean, interval ends, mark and status."""
    names = [column.name for column in grid.columns]
    records = []
    for row in grid.rows:
        record: dict[str, object] = {"model": row.model, "dataset": row.dataset, "algorithm": row.algorithm}
        record |= {"label": row.label, "control": row.control}
        for name in names:
            entry = row.entries.get(name)
            record |= {
                f"{name}_mean": entry.mean if entry else math.nan,
                f"{name}_ci_low": entry.low if entry else math.nan,
                f"{name}_ci_high": entry.high if entry else math.nan,
                f"{name}_marked": bool(entry and entry.marked),
                f"{name}_status": entry.status if entry else "",
            }
        records.append(record)
    head = ["model", "dataset", "algorithm", "label", "control"]
    tail = [f"{name}_{part}" for name in names for part in ("mean", "ci_low", "ci_high", "marked", "status")]
    return pd.DataFrame(records, columns=[*head, *tail])


def _entries(summary: pd.DataFrame, scores: pd.DataFrame) -> dict[tuple[str, str, str], dict[str, Comparison]]:
    keys = ["model", "dataset", "algorithm", "metric"]
    unmeasured = scores[~scores["status"].isin(["ok", "undefined"])]
    absent = {names: Counter(group["status"]) for names, group in unmeasured.groupby(keys, sort=False)}
    entries: dict[tuple[str, str, str], dict[str, Comparison]] = {}
    for row in summary.to_dict("records"):
        model, dataset, algorithm, metric = (str(row[key]) for key in keys)
        gone = absent.get((model, dataset, algorithm, metric), Counter())
        why = "undefined" if row["n"] else gone.most_common(1)[0][0]
        entries.setdefault((model, dataset, algorithm), {})[metric] = Comparison(
            status="ok" if row["n"] > row["n_undefined"] else why,
            mean=row["mean"],
            low=row["ci_low"],
            high=row["ci_high"],
            n=row["n"],
            n_undefined=row["n_undefined"],
            n_absent=gone.total(),
        )
    return entries


def called(cells: Iterable[StoredCell]) -> tuple[dict[str, str], set[str]]:
    """The display name of each algorithm (with its config name if two share a label), and the controls."""
    labels: dict[str, str] = {}
    controls: set[str] = set()
    for cell in cells:
        name = cell.group[2]
        if name is None:
            continue
        info = cell.record.get("info", {}) if cell.record and cell.kind == "attribution" else {}
        if name not in labels or labels[name] == name:
            labels[name] = info.get("label") or name
        if info.get("control", name in CONTROLS):
            controls.add(name)
    shared = Counter(labels.values())
    return {name: f"{text} ({name})" if shared[text] > 1 else text for name, text in labels.items()}, controls


def _subjects(cells: Iterable[StoredCell]) -> dict[tuple[str, str], str]:
    """Each model and data set in words: accuracy if known, samples, and a mark for stand-in data."""
    counts: Counter[tuple[str, str]] = Counter()
    longest: Counter[tuple[str, str, str | None, str | None]] = Counter()
    facts: dict[tuple[str, str], Mapping[str, object]] = {}
    for cell in cells:
        pair = cell.group[:2]
        longest[cell.group] += len(cell.samples)
        counts[pair] = max(counts[pair], longest[cell.group])
        if cell.kind == "samples" and cell.result:
            facts[pair] = cell.result["info"]
    return {pair: _subject(*pair, counts[pair], facts.get(pair, {})) for pair in counts}


def _subject(model: str, dataset: str, n: int, facts: Mapping[str, object]) -> str:
    accuracy = facts.get("accuracy")
    name = "accuracy" if facts.get("classes", True) else "R²"  # a regression has no classes
    known = f" ({name} {accuracy:.3f})" if isinstance(accuracy, float | int) else ""
    standin = f", stand-in data: {facts.get('origin')}" if facts.get("standin") else ""
    return f"{model}{known} on {dataset}, n = {n}{standin}"


def _with_best(rows: Sequence[Row], columns: Sequence[TableColumn]) -> list[Row]:
    """Mark the best entries of each model, data set and column, including ties; controls and single rows are excluded.

    An entry with unmeasured samples is not ranked, because its mean covers other samples.
    """
    best: dict[tuple[str, str, str], float] = {}
    for column in columns:
        pick = {"lower": min, "higher": max}.get(column.direction)
        groups: dict[tuple[str, str], list[float]] = {}
        for row in rows:
            entry = row.entries.get(column.name)
            if entry and _ranks(row, entry):
                groups.setdefault((row.model, row.dataset), []).append(entry.mean)
        best |= {(*pair, column.name): pick(means) for pair, means in groups.items() if pick and len(means) > 1}

    def mark(row: Row, name: str, entry: Comparison) -> Comparison:
        winner = best.get((row.model, row.dataset, name))
        return replace(entry, best=_ranks(row, entry) and entry.mean == winner)

    return [replace(row, entries={name: mark(row, name, entry) for name, entry in row.entries.items()}) for row in rows]


def _marked(rows: Sequence[Row], columns: Sequence[TableColumn], compared: pd.DataFrame) -> list[Row]:
    """Mark the best, and what is not significantly worse than one of them; no test compares costs."""
    close = pairwise.not_worse(compared)
    ranked = {column.name for column in columns}
    best: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for name, entry in row.entries.items():
            if entry.best:
                best.setdefault((row.model, row.dataset, name), []).append(row.algorithm)

    def mark(row: Row, name: str, entry: Comparison) -> Comparison:
        where = (row.model, row.dataset, name)
        near = any((*where, row.algorithm, winner) in close for winner in best.get(where, ()))
        return replace(entry, marked=entry.best or (name in ranked and _ranks(row, entry) and near))

    return [replace(row, entries={name: mark(row, name, entry) for name, entry in row.entries.items()}) for row in rows]


def _too_few(rows: Sequence[Row], compared: pd.DataFrame) -> list[str]:
    """A note for each model and data set whose samples are too few for any two methods to differ significantly."""
    notes = []
    controls = {row.algorithm for row in rows if row.control}
    tested = compared[compared["p"].notna() & ~compared["algorithm"].isin(controls) & ~compared["other"].isin(controls)]
    for (model, dataset), here in tested.groupby(["model", "dataset"], sort=False):
        pairs, n = here.groupby("metric").size().max(), here["n"].max()
        needed = pairwise.samples_needed(pairs)
        if n < needed:
            what = f"{pairs} {'pair' if pairs == 1 else 'pairs'} of methods on {model}, {dataset}"
            notes.append(f"With n = {n} no difference can be significant: {what} need {needed} samples.")
    return notes


def _ranks(row: Row, entry: Comparison) -> bool:
    return not row.control and entry.status == "ok" and not entry.n_absent


def _notes(
    rows: Sequence[Row], columns: Sequence[TableColumn], cells: Sequence[StoredCell], labels: Mapping[str, str]
) -> list[str]:
    many = len({(row.model, row.dataset) for row in rows}) > 1
    partial = []
    for row in rows:
        where = f" on {row.model}, {row.dataset}" if many else ""
        for column in columns:
            entry = row.entries.get(column.name)
            if entry and entry.status == "ok" and entry.n_absent:
                planned = entry.n + entry.n_absent
                partial.append(f"{row.label}{where}, {column.label}: {entry.n} of {planned} samples measured")
    undefined = _undefined(rows, columns, many)
    notes = [f"† {'; '.join(undefined)}."] if undefined else []
    notes += [f"‡ not ranked: {'; '.join(partial)}."] if partial else []
    notes += _perturbations(cells)
    return notes + _failures(cells, labels, many)


def _perturbations(cells: Iterable[StoredCell]) -> list[str]:
    """One note on the metrics' perturbations of the samples; it names the data if they differ."""
    done: dict[str, dict[str, dict[str, None]]] = {}
    for cell in cells:
        metric, what = cell.group[3], cell.result["info"].get("perturbation") if cell.result else None
        if metric is not None and what:
            done.setdefault(metric, {}).setdefault(what, {})[cell.group[1]] = None
    alike: dict[str, list[str]] = {}  # metrics that do the same are named together
    for metric, found in done.items():
        for what, data in found.items():
            alike.setdefault(what + (f" ({', '.join(data)})" if len(found) > 1 else ""), []).append(metric)
    texts = [f"{', '.join(metrics)}: {what}" for what, metrics in alike.items()]
    return [f"Perturbations: {'; '.join(texts)}."] if texts else []


def _undefined(rows: Sequence[Row], columns: Sequence[TableColumn], many: bool) -> list[str]:
    """Notes on undefined scores: the columns in which a method, or every method, has as many, as with empty masks."""
    for_all: dict[tuple[str, str], list[str]] = {}
    each: dict[tuple[str, str], list[str]] = {}
    for model, dataset in dict.fromkeys((row.model, row.dataset) for row in rows):
        where = f" on {model}, {dataset}" if many else ""
        here = [row for row in rows if (row.model, row.dataset) == (model, dataset)]
        for column in columns:
            counts = {
                row.label: f"{entry.n_undefined} of {entry.n} undefined" if entry.n_undefined else ""
                for row in here
                if (entry := row.entries.get(column.name))
            }
            if len(counts) > 1 and len(set(counts.values())) == 1 and all(counts.values()):
                for_all.setdefault((f"every method{where}", next(iter(counts.values()))), []).append(column.label)
            else:
                for label, count in counts.items():
                    if count:
                        each.setdefault((f"{label}{where}", count), []).append(column.label)
    return [f"{who}, {', '.join(names)}: {count}" for (who, count), names in [*for_all.items(), *each.items()]]


def _inapplicable(cells: Sequence[StoredCell]) -> dict[str, str]:
    """The metrics that were skipped for every method with a map, on all data, for the same reason."""
    reasons: dict[str, set[tuple[str, str | None]]] = {}
    without = {cell.group[:3] for cell in cells if cell.kind == "attribution" and cell.status == "skipped"}
    for cell in cells:
        if cell.group[3] is not None and cell.group[:3] not in without:
            reasons.setdefault(cell.group[3], set()).add((cell.status, cell.reason))
    only = {metric: next(iter(found)) for metric, found in reasons.items() if len(found) == 1}
    return {metric: reason or "" for metric, (status, reason) in only.items() if status == "skipped"}


def _by_reason(void: Mapping[str, str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for metric, reason in void.items():
        grouped.setdefault(reason, []).append(metric)
    return grouped


def _failures(cells: Sequence[StoredCell], labels: Mapping[str, str], many: bool) -> list[str]:
    """One note per reason why cells have no result, with the algorithms concerned."""
    notes: dict[tuple[str, str], dict[str, None]] = {}
    for cell in cells:
        model, dataset, algorithm, _ = cell.group
        if cell.status == "ok":
            continue
        who = labels[algorithm] if algorithm is not None else "model or data"
        where = f" on {model}, {dataset}" if many else ""
        reason = next(iter((cell.reason or "no reason recorded").strip().splitlines()), "")
        reason = reason.split(" has no result: ")[-1]
        short = reason if len(reason) <= _REASON_LENGTH else f"{reason[: _REASON_LENGTH - 1]}…"
        notes.setdefault((cell.status, f"{where}: {short}"), {})[who] = None
    return [f"– {status}: {', '.join(names)}{reason}" for (status, reason), names in notes.items()]
