"""The comparison tables for the template: one per setting, from the ranked grid."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from xbench.report import words
from xbench.report.collect import Setting
from xbench.tables.columns import FAMILIES, TableColumn, shown_unit
from xbench.tables.comparison import MARKED, Comparison, Row
from xbench.tables.tables import Tables

_ARROWS = {"lower": ("↓", "lower is better"), "higher": ("↑", "higher is better")}
_UNDEFINED, _PARTIAL, _WARNED = "†", "‡", "§"  # the first two as in the notes of the grid


def comparisons(tables: Tables, found: Sequence[Setting]) -> dict[str, Any]:
    """A table per setting, the common notes, and the meaning of the columns."""
    shown = []
    for setting in found:
        where = (setting.model, setting.dataset)
        rows = [row for row in tables.grid.rows if (row.model, row.dataset) == where]
        if any(entry.status == "ok" for row in rows for entry in row.entries.values()):
            shown.append(_table(setting, rows, tables.grid.columns))
    glossary = [(column.label, column.meaning) for column in tables.grid.columns if column.meaning]
    return {
        "comparisons": shown,
        "marked": MARKED,
        "glossary": glossary if shown else [],
        "table_notes": list(tables.grid.notes) if shown else [],
    }


def _table(setting: Setting, rows: Sequence[Row], columns: Sequence[TableColumn]) -> dict[str, Any]:
    columns = [c for c in columns if any(c.name in row.entries for row in rows)]
    warned = {m.label: list(m.info.get("warnings") or ()) for m in setting.methods}
    groups = {control: [row for row in rows if row.control is control] for control in (False, True)}
    return {
        "title": setting.title,
        "families": [(FAMILIES[name], len(list(mine))) for name, mine in groupby(columns, lambda c: c.family)],
        "columns": [_heading(column) for column in columns],
        "groups": [
            {"control": control, "rows": [_row(row, columns, bool(warned.get(row.label))) for row in group]}
            for control, group in groups.items()
            if group
        ],
        "notes": [f"{_WARNED} {label}: {text}" for label, texts in warned.items() for text in texts],
    }


def _heading(column: TableColumn) -> dict[str, str]:
    arrow, told = _ARROWS.get(column.direction, ("", ""))
    return {
        "label": column.label,
        "arrow": arrow,
        "arrow_words": told,
        "unit": shown_unit(column.unit)[1],
        "help": column.meaning,
    }


def _row(row: Row, columns: Sequence[TableColumn], warned: bool) -> dict[str, Any]:
    cells = [_cell(row.entries.get(column.name), column) for column in columns]
    badges = {cell["badge"] for cell in cells}
    whole = badges.pop() if len(badges) == 1 else ""  # one badge for the whole row instead of one per column
    marks = _WARNED if warned else ""
    return {"label": row.label, "marks": marks, "whole": whole, "cells": [] if whole else cells}


def _cell(entry: Comparison | None, column: TableColumn) -> dict[str, Any]:
    """A mean and its interval; a dash if no sample is defined; a badge if the cell did not finish."""
    empty = {"value": "", "text": "", "badge": "", "best": False, "marks": "", "interval": ""}
    if entry is None:
        return empty | {"text": "–"}
    marks = _UNDEFINED if entry.n_undefined else ""
    marks += _PARTIAL if entry.status == "ok" and entry.n_absent else ""
    if entry.status == "undefined":
        return empty | {"text": "–", "marks": marks}
    if entry.status != "ok":
        return empty | {"badge": entry.status}
    low, high = (words.in_unit(value, column.unit) for value in (entry.low, entry.high))
    return empty | {
        "value": repr(entry.mean),
        "text": words.in_unit(entry.mean, column.unit),
        "best": entry.marked,
        "marks": marks,
        # Equal ends carry no information (row counts, one sample) and are omitted.
        "interval": "" if low == high else f"{low} – {high}",
    }
