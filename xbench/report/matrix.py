"""Each two methods on one column as the template prints it: effect, difference with its interval, adjusted p-value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from xbench.report import words
from xbench.report.collect import MethodFacts, Setting
from xbench.tables.columns import TableColumn, leaders
from xbench.tables.pairwise import LEVEL, RULE
from xbench.tables.tables import Tables

_FEW_COLUMNS = 6  # of more, only the one that leads its family has a matrix
_FEW_METHODS = 12  # of more, a matrix shows the effects, and the rest when pointed at
_NONE = "No two methods have values of the same samples in a column of which a direction is better."
PairRow = Mapping[str, Any]


def matrices(tables: Tables, found: Sequence[Setting]) -> dict[str, Any]:
    """A block per setting in which methods were tested: a matrix per column, methods by methods and controls."""
    blocks = []
    frame = tables.pairwise[tables.pairwise["p_better"].notna()]
    for setting in found:
        here = frame[(frame["model"] == setting.model) & (frame["dataset"] == setting.dataset)]
        tested = {str(name): _entries(part) for name, part in here.groupby("metric", sort=False)}
        columns = [column for column in tables.grid.columns if column.name in tested]
        shown = _shown(columns)
        if shown:
            of = [_matrix(column, tested[column.name], setting.methods) for column in shown]
            blocks.append({"title": setting.title, "columns": of, "left_out": len(columns) - len(shown)})
    return {"pairs": blocks, "pairs_rule": RULE, "pairs_none": _NONE, "pairs_few": _FEW_METHODS}


def _shown(columns: Sequence[TableColumn]) -> Sequence[TableColumn]:
    return columns if len(columns) <= _FEW_COLUMNS else leaders(columns)


def _entries(rows: Any) -> dict[tuple[str, str], PairRow]:  # noqa: ANN401  (a frame)
    """The rows of one column by their two methods, in either order."""
    entries: dict[tuple[str, str], PairRow] = {}
    for row in rows.to_dict("records"):
        one, other = str(row["algorithm"]), str(row["other"])
        entries[one, other] = row
        entries[other, one] = row | {
            "difference": -row["difference"],
            "low": -row["high"],
            "high": -row["low"],
            "p_better": 1 - row["p_better"],
            "rank_biserial": -row["rank_biserial"],
        }
    return entries


def _matrix(
    column: TableColumn, entries: Mapping[tuple[str, str], PairRow], every: Sequence[MethodFacts]
) -> dict[str, Any]:
    compared = {name for names in entries for name in names}
    across = [method for method in every if method.name in compared]
    down = [method for method in across if not method.control]
    rows = [
        {
            "label": row.label,
            "cells": [_cell(entries.get((row.name, other.name)), column, len(down) > _FEW_METHODS) for other in across],
        }
        for row in down
    ]
    return {
        "label": column.label,
        "direction": f"{column.direction} is better",
        "names": [(method.label, method.control) for method in across],
        "rows": rows,
        "compact": len(down) > _FEW_METHODS,
    }


def _cell(entry: PairRow | None, column: TableColumn, compact: bool) -> dict[str, str]:
    """The probability to be better, how dark its cell is, and the rest in small; empty for a method with itself."""
    if entry is None:
        return {"text": "", "shade": "", "interval": "", "p": "", "title": ""}
    mean, low, high = (words.in_unit(entry[part], column.unit) for part in ("difference", "low", "high"))
    interval = "" if math.isnan(entry["low"]) else f"[{low}, {high}]"
    p = "p < 0.001" if entry["p_holm"] < 0.001 else f"p = {entry['p_holm']:.3f}".replace("1.000", "1")
    left_out = entry["undefined"] + entry["absent"]
    told = [f"difference {mean}"]
    told += [f"{interval}, {p}"] if compact else []
    told += [f"n = {entry['n']}"]
    told += [f"{left_out} without both values"] if left_out else []
    told += [entry["reason"]] if entry["reason"] else []
    return {
        "text": f"{entry['p_better']:.2f}",
        "shade": f"{20 + 160 * abs(entry['p_better'] - 0.5):.0f}" if entry["p_holm"] < LEVEL else "",
        "tone": "good" if entry["rank_biserial"] > 0 else "bad",
        "interval": "" if compact else interval,
        "p": "" if compact else p,
        "title": "; ".join(told),
    }
