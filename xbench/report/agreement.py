"""How far methods agree as the template prints it: per setting and measure a matrix of methods by methods."""

from collections.abc import Mapping, Sequence
from typing import Any

from xbench.report.collect import Setting
from xbench.tables.agreement import MEASURES
from xbench.tables.tables import Tables

_NONE = "No two methods have finished maps of the same samples, or agreement=null has switched this off."
Pair = tuple[str, str]


def matrices(tables: Tables, found: Sequence[Setting]) -> dict[str, Any]:
    """A block per setting in which methods were compared."""
    blocks = []
    for setting in found:
        here = tables.agreement
        here = here[(here["model"] == setting.model) & (here["dataset"] == setting.dataset)]
        if len(here):
            blocks.append(_block(setting, {name: _entries(part) for name, part in here.groupby("measure")}))
    return {"agreements": blocks, "agreement_off": _NONE}


def _entries(rows: Any) -> dict[Pair, Mapping[str, Any]]:  # noqa: ANN401  (a frame)
    """The rows of one measure by their two methods, in either order."""
    records = rows.to_dict("records")
    return {names: row for row in records for names in _both(row["algorithm"], row["other"])}


def _both(one: str, other: str) -> tuple[Pair, Pair]:
    return (one, other), (other, one)


def _block(setting: Setting, entries: Mapping[object, Mapping[Pair, Mapping[str, Any]]]) -> dict[str, Any]:
    compared = {name for of in entries.values() for names in of for name in names}
    methods = [method for method in setting.methods if method.name in compared]
    shown = [
        {
            "label": measure.label,
            "meaning": measure.meaning,
            "rows": [
                {
                    "label": row.label,
                    "cells": [_cell(entries[measure.name].get((row.name, column.name))) for column in methods],
                }
                for row in methods
            ],
        }
        for measure in MEASURES
    ]
    return {"title": setting.title, "names": [method.label for method in methods], "measures": shown}


def _cell(entry: Mapping[str, Any] | None) -> dict[str, str]:
    """A mean, how dark its cell is, and its interval; empty for a method with itself."""
    if entry is None:
        return {"text": "", "shade": "", "interval": ""}
    if entry["n"] == entry["n_undefined"]:
        return {"text": "–", "shade": "", "interval": ""}
    undefined = f", undefined for {entry['n_undefined']} of {entry['n']}" if entry["n_undefined"] else ""
    return {
        "text": f"{entry['mean']:.2f}",
        "shade": f"{max(0.0, entry['mean']) * 100:.0f}",
        "interval": f"{entry['ci_low']:.3f} – {entry['ci_high']:.3f}{undefined}",
    }
