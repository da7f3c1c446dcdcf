"""Failed, skipped and missing cells and undefined values, grouped by cause, with reasons."""

from collections.abc import Mapping, Sequence
from typing import Any

from xbench.report import words
from xbench.store.store import Store
from xbench.tables.tables import Tables

_SHORT_REASON = 220  # characters shown; the rest is folded


def problems(store: Store, tables: Tables) -> dict[str, Any]:
    """The cells without a result, with reasons, and the undefined values."""
    bad = tables.cells[tables.cells["status"] != "ok"].astype(object)
    groups: dict[tuple[str, ...], list[Mapping[Any, Any]]] = {}
    for row in bad.to_dict("records"):
        where = (row["status"], row["model"], row["dataset"], _text(row["algorithm"]), _cause(row["reason"]))
        groups.setdefault(where, []).append(row)
    counts = ", ".join(f"{n:,} {status}" for status, n in sorted(bad["status"].value_counts().items()))
    undefined = tables.summary[tables.summary["n_undefined"] > 0]
    labels = {column.name: column.label for column in tables.grid.columns}
    total = words.count(len(tables.cells), "cell")
    return {
        "problems": [_problem(store, where, rows) for where, rows in groups.items()],
        "problem_line": f"{len(bad):,} of {total} have no result ({counts}).",
        "undefined": [
            {
                **{name: row[name] for name in ("model", "dataset", "algorithm")},
                "metric": labels[row["metric"]],
                "undefined": row["n_undefined"],
                "total": row["n"],
            }
            for row in undefined.to_dict("records")
        ],
    }


def _text(value: object) -> str:
    """Text from a table; a missing value is a dash."""
    return value if isinstance(value, str) else "–"


def _cause(reason: object) -> str:
    """The original reason, without the chain of cells ("its attribution has no result: ...")."""
    if not isinstance(reason, str):
        return "no reason was recorded"
    return reason.rsplit(" has no result: ", 1)[-1]


def _problem(store: Store, where: tuple[str, ...], rows: Sequence[Mapping[Any, Any]]) -> dict[str, Any]:
    """One entry for the cells of one algorithm that failed for one reason."""
    status, model, dataset, algorithm, reason = where
    traces = (
        failure.get("traceback")
        for row in rows
        if isinstance(row["key"], str) and (failure := store.failure(row["key"]))
    )
    trace = next((text for text in traces if text), "")
    long = len(reason) > _SHORT_REASON
    plain = "attribution" if algorithm != "–" else "model and samples"
    whats = dict.fromkeys(row["metric"] if isinstance(row["metric"], str) else plain for row in rows)
    parts = {"Reason": reason if long else "", "Traceback": trace}
    return {
        "status": status,
        "model": model,
        "dataset": dataset,
        "algorithm": algorithm,
        "what": ", ".join(whats),
        "cells": f"{len(rows):,}",
        "short": words.clip(reason, _SHORT_REASON),
        "more": [(title, text) for title, text in parts.items() if text],
    }
