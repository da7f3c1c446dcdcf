"""Removal curves: the mean over samples for each method, with its band."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from xbench.report import figures, words
from xbench.report.collect import MethodFacts, Setting
from xbench.tables.stats import Interval, mean_intervals

Line = tuple[MethodFacts, np.ndarray, list[Interval]]
_COLOURS = (
    "#3b76af",
    "#d1702f",
    "#4b9560",
    "#b04a5a",
    "#7b63a8",
    "#8a6d3b",
    "#c76a9d",
    "#5a5a5a",
    "#a3a534",
    "#3fa3b0",
)
_DASHED = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


def curves(setting: Setting, every: pd.DataFrame) -> list[figures.Draft]:
    """One figure per curve of the setting: order, imputer and what else tells it from others."""
    mine = every[(every["model"] == setting.model) & (every["dataset"] == setting.dataset)]
    drafts = []
    for place, name in enumerate(dict.fromkeys(mine["curve"])):
        lines = _lines(setting, mine[mine["curve"] == name])
        if lines:
            drafts.append(_draft(setting, place, str(name), lines))
    return drafts


def _lines(setting: Setting, rows: pd.DataFrame) -> list[Line]:
    lines = []
    for method in setting.methods:
        own = rows[rows["algorithm"] == method.name]
        if len(own):
            points = own["share"].nunique()
            values = own["value"].to_numpy(dtype=float).reshape(-1, points)
            lines.append((method, own["share"].to_numpy(dtype=float)[:points], mean_intervals(values)))
    return lines


def _draft(setting: Setting, place: int, name: str, lines: Sequence[Line]) -> figures.Draft:
    said = "; ".join(f"{m.label} {words.number(float(np.mean([i.mean for i in found])))}" for m, _, found in lines)
    samples = words.count(lines[0][2][0].n, "sample")
    return figures.Draft(
        f"curve-{place}-{setting.slug}",
        title=setting.title,
        caption=f"{name[0].upper()}{name[1:]}; {samples}.",
        alt=f"Curves of removal, {name}, on {setting.title}. Means over the curve: {said}.",
        data=(name, [(m.label, m.control, shares.tolist(), [tuple(i) for i in found]) for m, shares, found in lines]),
        draw=lambda: _draw(lines, "share of predictions kept" if "predictions" in name else "output"),
    )


def _draw(lines: Sequence[Line], heading: str) -> Figure:
    figure = Figure(figsize=(4.6 + max(figures.inches(figures.short(m.label)) for m, _, _ in lines), 3), dpi=100)
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    counts = {False: 0, True: 0}
    for method, shares, found in lines:
        number = counts[method.control]
        counts[method.control] += 1
        colour = "#80868c" if method.control else _COLOURS[number % len(_COLOURS)]
        style = _DASHED[number % len(_DASHED)] if method.control else "-"
        low, high = ([getattr(each, side) for each in found] for side in ("low", "high"))
        axes.fill_between(shares, low, high, color=colour, alpha=0.08, linewidth=0)
        axes.plot(
            shares, [i.mean for i in found], color=colour, linestyle=style, linewidth=1.3,
            label=figures.short(method.label),
        )  # fmt: skip
    axes.set(xlabel="share of features removed", ylabel=heading, xlim=(0, 1))
    figure.legend(loc="outside right center")
    return figure
