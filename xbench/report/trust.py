"""How far to trust each column, as a table and a picture of the means over all settings with a known answer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from xbench.report import figures, words
from xbench.tables.answers import EVERY
from xbench.tables.columns import FAMILIES, TableColumn
from xbench.tables.tables import Tables
from xbench.tables.trust import MEASURES

NONE = (
    "No control with the known answer was run: experiment=meta_evaluation runs them, and algorithm=[fast,truth] "
    "target=label on data with masks."
)
_CHANCE = {"truth_order": 0.0, "noise_resilience": 0.5, "adversary_reactivity": 0.5}
_COLOURS = ("#3b76af", "#d1702f", "#4b9560", "#b04a5a", "#7b63a8", "#8a6d3b", "#5a5a5a")
TrustRow = Mapping[str, Any]


def tables(built: Tables) -> dict[str, Any]:
    """A table of the means over settings, then one per setting: columns down, measures across."""
    frame, columns = built.trust, _columns(built)
    blocks = []
    pairs = dict.fromkeys(zip(frame["model"], frame["dataset"], strict=True))
    for model, dataset in sorted(pairs, key=lambda pair: pair != (EVERY, EVERY)):
        entries = _entries(frame[(frame["model"] == model) & (frame["dataset"] == dataset)])
        whole = (model, dataset) == (EVERY, EVERY)
        rows = [
            {
                "family": FAMILIES[column.family],
                "label": column.label,
                "cells": [_cell(entries.get((column.name, measure.name)), whole) for measure in MEASURES],
            }
            for column in columns
            if any((column.name, measure.name) in entries for measure in MEASURES)
        ]
        blocks.append({"title": "All settings" if whole else f"{model} on {dataset}", "rows": rows})
    return {
        "trusts": blocks,
        "trust_measures": [{"label": measure.label, "meaning": measure.meaning} for measure in MEASURES],
        "trust_none": NONE,
    }


def picture(built: Tables) -> list[figures.Draft]:
    """The picture of the means over settings; none without a known answer."""
    frame = built.trust
    entries = _entries(frame[frame["model"] == EVERY])
    columns = [column for column in _columns(built) if any(name == column.name for name, _ in entries)]
    if not columns:
        return []
    told = "; ".join(
        f"{column.label}: "
        + ", ".join(
            words.number(entries[column.name, m.name]["value"]) for m in MEASURES if (column.name, m.name) in entries
        )
        for column in columns
    )
    settings = len(frame.loc[frame["model"] != EVERY, ["model", "dataset"]].drop_duplicates())
    return [
        figures.Draft(
            "trust-columns",
            title="How far to trust each column",
            caption=f"Means over {words.count(settings, 'setting')} with 95 % intervals; right is better, and the "
            "dotted line is where a metric of noise lies.",
            alt=f"Dots of {words.listed([m.label.lower() for m in MEASURES])} for each column. {told}.",
            data=[(c.label, c.family, [entries.get((c.name, m.name)) for m in MEASURES]) for c in columns],
            draw=lambda: _draw(columns, entries),
        )
    ]


def _columns(built: Tables) -> list[TableColumn]:
    named = set(built.trust["metric"])
    return [column for column in built.grid.columns if column.name in named]


def _entries(rows: pd.DataFrame) -> dict[tuple[str, str], TrustRow]:
    kept = ["metric", "measure", "value", "ci_low", "ci_high", "methods", "samples", "settings"]
    records: list[Any] = rows[kept].to_dict("records")
    return {(row["metric"], row["measure"]): row for row in records}


def _cell(entry: TrustRow | None, whole: bool) -> dict[str, str]:
    if entry is None or np.isnan(entry["value"]):
        return {"text": "–", "interval": "", "title": "undefined, or the run lacks what it needs"}
    counted = [words.count(entry["methods"], "method"), words.count(entry["samples"], "sample")]
    counted += [words.count(entry["settings"], "setting")] if whole else []
    return {
        "text": f"{entry['value']:.2f}",
        "interval": f"{entry['ci_low']:.2f} – {entry['ci_high']:.2f}",
        "title": ", ".join(counted),
    }


def _draw(columns: Sequence[TableColumn], entries: Mapping[tuple[str, str], TrustRow]) -> Figure:
    names = [figures.short(column.label) for column in columns]
    width = 6.2 + max(map(figures.inches, names))
    figure = Figure(figsize=(width, 1.0 + 0.19 * len(columns)), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(MEASURES), sharey=True)
    families = list(dict.fromkeys(column.family for column in columns))
    colours = {family: _COLOURS[place % len(_COLOURS)] for place, family in enumerate(families)}
    for axes, measure in zip(panels, MEASURES, strict=True):
        for row, column in enumerate(columns):
            entry = entries.get((column.name, measure.name))
            if entry is not None and not np.isnan(entry["value"]):
                colour = colours[column.family]
                axes.plot((entry["ci_low"], entry["ci_high"]), (row, row), color=colour, alpha=0.45, linewidth=1.4)
                axes.scatter(entry["value"], row, s=18, color=colour, zorder=3)
        axes.axvline(_CHANCE[measure.name], color="0.5", linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=1)
        axes.set(xlabel=measure.label, xlim=(-1.05 if measure.name == "truth_order" else -0.03, 1.05))
    panels[0].set_yticks(range(len(columns)), names)
    panels[0].set_ylim(len(columns) - 0.4, -0.6)
    for family in families:
        panels[0].scatter([], [], s=18, color=colours[family], label=FAMILIES[family])
    figure.legend(loc="outside upper left", ncols=4, borderaxespad=0.2, handletextpad=0.2)
    return figure
