"""Builds tables from stored cells: one row per score, per summary, per algorithm and per cell.

`build` reads a store, `write` writes files. Ranking is in `comparison`, formatting in `plain_text` and `latex`. Nothing
here imports torch.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from xbench.boundary.files import write_atomic
from xbench.config.arguments import nearest
from xbench.store.environment import hardware_id
from xbench.store.store import Store
from xbench.tables import alike, answers, columns, comparison, curves, latex, outcomes, pairs, pairwise, plain_text
from xbench.tables.columns import TableColumn
from xbench.tables.comparison import Grid
from xbench.tables.outcomes import StoredCell
from xbench.tables.stats import mean_interval

_SCORES = dict.fromkeys(("model", "dataset", "algorithm", "metric", "sample"), "str")
_SCORES |= {"value": "float64", "status": "str"}
_SUMMARY = dict.fromkeys(("model", "dataset", "algorithm", "metric"), "str")
_SUMMARY |= {"mean": "float64", "ci_low": "float64", "ci_high": "float64"}
_SUMMARY |= {"n": "int64", "n_undefined": "int64", "direction": "str"}
_CELLS = dict.fromkeys(("model", "dataset", "algorithm", "metric", "status", "reason"), "str")
_CELLS |= {"seconds": "float64", "forward_rows": "Int64", "backward_rows": "Int64"}
_CELLS |= {"samples": "int64", "timing": "str", "environment": "str", "key": "str"}

FILES = (
    "scores.parquet",
    "summary.csv",
    "comparison.csv",
    "comparison.md",
    "comparison.tex",
    "cells.csv",
    "pairwise.csv",
    "pairwise.parquet",
    "curves.parquet",
    "agreement.csv",
    "agreement.parquet",
    "trust.csv",
    "trust.parquet",
    "environment.json",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # first characters of a spreadsheet formula

# pandas' type for text: str since pandas 3; object before, where "str" would turn None into "None".
_TEXT = pd.Series(["text"]).dtype


@dataclass(frozen=True)
class Tables:
    """The tables of one manifest. `grid` is `comparison` for a reader: ranked, with notes and caption.

    `scores` holds every planned sample of every column, with status "ok", "undefined" (value NaN), or the status of a
    cell without a result (error, oom, timeout, crashed, nonfinite, skipped, missing). `summary` covers measured
    samples: n = ok + undefined samples, mean and interval over the ok ones, NaN if there are none.
    `pairwise` compares each two methods on the same samples of every column (`xbench.tables.pairwise`).
    `curves` holds the removal curves of every sample: the output at each share of removed features.
    `agreement` is the agreement of every two methods: mean and interval; `agreement_scores` gives it per sample.
    `trust` is how far to trust each column, where a control holds the known answer (`xbench.tables.trust`);
    `trust_distances` is the distance of each method to that answer, per sample.
    """

    scores: pd.DataFrame
    summary: pd.DataFrame
    comparison: pd.DataFrame
    cells: pd.DataFrame
    pairwise: pd.DataFrame
    curves: pd.DataFrame
    agreement: pd.DataFrame
    agreement_scores: pd.DataFrame
    trust: pd.DataFrame
    trust_distances: pd.DataFrame
    environment: dict[str, Any]
    grid: Grid

    def equivalence(self, column: str, rope: float) -> pd.DataFrame:
        """How probable it is that two methods differ by at most `rope` in a column: `pairwise.equivalence`.

        Args:
            column: a column of `summary`, such as "deletion_auc".
            rope: the region of practical equivalence, in the column's unit.

        Raises:
            KeyError: there is no such column; the message lists them.
            ValueError: no direction of the column is better, or `rope` is negative.
        """
        found = {each.name: each for each in self.grid.columns}
        if column not in found:
            raise KeyError(f"no column {column!r}; {nearest(column, list(found))}")
        return pairwise.equivalence(self.scores, found[column], rope)


def build(store: Store, manifest: Mapping[str, Any]) -> Tables:
    """All tables of the cells that `manifest` planned, from the files of `store` only."""
    cells = outcomes.resolve(store, manifest)
    of = columns.found(cells)
    scores = _scores(cells, of)
    summary = _summary(scores, of)
    environments = _environments(store, cells)
    compared = pairwise.build(scores, of, comparison.called(cells)[1])
    grid = comparison.build(
        summary,
        scores,
        of,
        cells,
        compared,
        one_hardware=_one_hardware(cells, environments),
        remarks=manifest.get("notes", ()),
    )
    measures = [column.name for metric, found in of.items() if metric is not None for column in found]
    labels = {row.algorithm: row.label for row in grid.rows if not row.control}
    agreement = pairs.build(store, cells, manifest)
    grid = replace(grid, notes=(*grid.notes, *alike.notes(store, cells, scores, measures, labels), *agreement.notes))
    trust = answers.build(store, cells, scores, of)
    run = {name: manifest.get(name) for name in ("name", "created", "command", "config", "n", "seed")}
    return Tables(
        scores=scores,
        summary=summary,
        comparison=comparison.frame(grid),
        cells=_cells(cells),
        pairwise=compared,
        curves=curves.build(store, cells),
        agreement=agreement.summary,
        agreement_scores=agreement.scores,
        trust=trust.summary,
        trust_distances=trust.distances,
        environment={"run": run, "environments": environments},
        grid=grid,
    )


def write(tables: Tables, directory: Path | str) -> list[Path]:
    """Write every table under `directory`, each file whole or not at all; returns their paths.

    Raises:
        StoreError: the folder cannot be written.
    """
    contents = (
        _parquet(tables.scores),
        _csv(tables.summary),
        _csv(tables.comparison),
        plain_text.markdown(tables.grid).encode(),
        latex.table(tables.grid).encode(),
        _csv(tables.cells),
        _csv(tables.pairwise),
        _parquet(tables.pairwise),
        _parquet(tables.curves),
        _csv(tables.agreement),
        _parquet(tables.agreement_scores),
        _csv(tables.trust),
        _parquet(tables.trust_distances),
        json.dumps(tables.environment, indent=1, allow_nan=False).encode(),
    )
    files = [Path(directory) / name for name in FILES]
    for path, data in zip(files, contents, strict=True):
        write_atomic(path, data)
    return files


def terminal(tables: Tables, width: int = 100) -> str:
    """The comparison as plain text, `width` columns wide if names allow: means, marked ones with `*`."""
    return plain_text.terminal(tables.grid, width)


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _csv(frame: pd.DataFrame) -> bytes:
    """The frame as CSV; text that a spreadsheet would evaluate, such as a label "=1+1", gets a leading quote."""
    texts = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]
    quoted = frame.assign(**{name: frame[name].map(_quoted, na_action="ignore") for name in texts})
    return quoted.rename(columns=_quoted).to_csv(index=False).encode()


def _quoted(text: object) -> object:
    return f"'{text}" if isinstance(text, str) and text.startswith(_FORMULA) else text


def _frame(rows: Sequence[Sequence[object]], kinds: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a frame of these column types, even without rows; None stays missing."""
    types = {name: _TEXT if kind == "str" else kind for name, kind in kinds.items()}
    return pd.DataFrame(rows, columns=list(kinds)).astype(types)


def _scores(cells: Iterable[StoredCell], columns: Mapping[str | None, tuple[TableColumn, ...]]) -> pd.DataFrame:
    rows: list[Sequence[object]] = []
    for cell in cells:
        model, dataset, algorithm, metric = cell.group
        samples = cell.samples or (None,)  # a cell planned for unknown data still has one row, without an id
        for column in columns[metric] if algorithm is not None else ():
            if cell.result and column.source not in cell.result["values"]:
                continue  # another algorithm's own notes are not undefined here
            found = cell.result["values"].get(column.source) if cell.result else None
            absent = "undefined" if cell.result else cell.status
            for sample, value in zip(samples, found or [None] * len(samples), strict=True):
                status = absent if value is None else "ok"
                rows.append((model, dataset, algorithm, column.name, sample, value, status))
    return _frame(rows, _SCORES)


def _summary(scores: pd.DataFrame, columns: Mapping[str | None, tuple[TableColumn, ...]]) -> pd.DataFrame:
    directions = {column.name: column.direction for found in columns.values() for column in found}
    rows: list[Sequence[object]] = []
    for names, group in scores.groupby(["model", "dataset", "algorithm", "metric"], sort=False):
        measured = group.loc[group["status"].isin(["ok", "undefined"]), "value"]
        rows.append((*names, *mean_interval(measured.to_numpy()), directions[str(names[3])]))
    return _frame(rows, _SUMMARY)


def _cells(cells: Iterable[StoredCell]) -> pd.DataFrame:
    rows: list[Sequence[object]] = []
    for cell in cells:
        record: Mapping[str, Any] = cell.record or {}
        counters = record.get("counters", {})
        numbers = (record.get("seconds"), counters.get("forward_rows"), counters.get("backward_rows"))
        where = record.get("environment") or None
        timing = record.get("info", {}).get("timing")  # of an attribution: how its runtime was measured
        rows.append((*cell.group, cell.status, cell.reason, *numbers, len(cell.samples), timing, where, cell.key))
    return _frame(rows, _CELLS)


def _environments(store: Store, cells: Iterable[StoredCell]) -> dict[str, dict[str, Any] | None]:
    """The cells' environments by id; None if the store has lost one."""
    found: dict[str, dict[str, Any] | None] = {}
    for cell in cells:
        name = cell.record.get("environment") if cell.record else None
        if name and name not in found:
            try:
                found[name] = store.environment(name)
            except KeyError:
                found[name] = None
    return found


def _one_hardware(cells: Iterable[StoredCell], environments: Mapping[str, dict[str, Any] | None]) -> bool:
    """Whether all finished attributions ran on the same hardware (a lost environment counts as its own)."""
    names = {cell.result["environment"] for cell in cells if cell.result and cell.kind == "attribution"}
    known = {name: environments.get(name) for name in names}
    return len({name if found is None else hardware_id(found) for name, found in known.items()}) <= 1
