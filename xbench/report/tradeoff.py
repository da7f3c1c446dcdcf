"""The faithfulness-robustness-time picture: where each algorithm is, and which no other beats in both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from xbench.report import figures, labels, words
from xbench.report.collect import Setting
from xbench.tables.columns import FAMILIES, RUNTIME, TableColumn, leading, shown_unit


@dataclass(frozen=True)
class Point:
    """One algorithm in the picture; intervals are (low, high)."""

    label: str
    control: bool
    x: float
    y: float
    x_interval: tuple[float, float]
    y_interval: tuple[float, float]
    time: float  # seconds per sample, NaN if unknown


@dataclass(frozen=True)
class Measures:
    """The columns across and up."""

    x: TableColumn
    y: TableColumn


def front(points: Sequence[Point], measures: Measures) -> list[Point]:
    """The points that no other beats in x and y at once, from the best x on; no controls."""
    signs = [-1 if column.direction == "higher" else 1 for column in (measures.x, measures.y)]
    best: list[Point] = []
    for point in sorted((p for p in points if not p.control), key=lambda p: (signs[0] * p.x, signs[1] * p.y)):
        if not best or signs[1] * point.y < signs[1] * best[-1].y:
            best.append(point)
    return best


def tradeoff(
    setting: Setting, summary: pd.DataFrame, columns: Sequence[TableColumn]
) -> figures.Draft | figures.Picture:
    """Faithfulness against robustness, coloured by runtime, with the front of the methods; or why there is none.

    Of each family the column that leads it is shown (`leading`), of those that have a value in this setting.
    """
    rows = summary[(summary["model"] == setting.model) & (summary["dataset"] == setting.dataset)]
    valued = set(rows.loc[np.isfinite(rows["mean"]), "metric"])
    here = [column for column in columns if column.name in valued]
    across, up = leading(here, "faithfulness"), leading(here, "robustness")
    if across is None or up is None:
        chosen = {"faithfulness": across, "robustness": up}
        lacking = words.listed([FAMILIES[name].lower() for name, column in chosen.items() if column is None])
        return figures.Picture(setting.title, f"This picture needs a measure of {lacking}, and none has a value here.")
    measures = Measures(across, up)
    points = _points(setting, rows, measures)
    if not points:
        return figures.Picture(setting.title, f"No algorithm has both {across.label} and {up.label}.")
    return figures.Draft(
        f"tradeoff-{setting.slug}",
        title=setting.title,
        caption=_caption(setting, points, measures),
        alt=_alt(setting, points, measures),
        data=(measures, points),
        draw=lambda: _draw(points, measures),
    )


def _draw(points: Sequence[Point], measures: Measures) -> Figure:
    figure = Figure(figsize=(5.6, 3.7), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    figures.scale(axes, "x", [p.x for p in points], factor=5)
    figures.scale(axes, "y", [p.y for p in points], factor=5)
    _draw_points(figure, axes, points)
    axes.set_xlabel(figures.plain(_axis(measures.x)))
    axes.set_ylabel(figures.plain(_axis(measures.y)))
    axes.margins(0.09)
    if measures.x.direction == "higher":
        axes.invert_xaxis()  # down and left is better in every picture
    if measures.y.direction == "higher":
        axes.invert_yaxis()
    _draw_front(axes, front(points, measures))
    figure.legend(loc="outside upper left", ncols=3, borderaxespad=0.2, handletextpad=0.4)
    names = [figures.short(p.label) for p in points]
    labels.place(figure, axes, [p.x for p in points], [p.y for p in points], names)
    return figure


def _axis(column: TableColumn) -> str:
    unit = f" in {shown_unit(column.unit)[1]}" if column.unit else ""
    return f"{column.label}{unit}  ({column.direction} is better)"


def _caption(setting: Setting, points: Sequence[Point], measures: Measures) -> str:
    shown = {point.label for point in points}
    left_out = [method.label for method in setting.methods if method.label not in shown]
    caption = f"Means of {measures.x.label} and {measures.y.label} with 95 % intervals, {setting.title}."
    return caption + (f" Not shown, for want of a value: {', '.join(left_out)}." if left_out else "")


def _alt(setting: Setting, points: Sequence[Point], measures: Measures) -> str:
    """The figure in words: every point with its numbers."""
    told = "; ".join(
        f"{p.label}{' (control)' if p.control else ''}: {words.number(p.x)}, {words.number(p.y)}, "
        f"{words.in_unit(p.time, RUNTIME.unit)} {shown_unit(RUNTIME.unit)[1]}"
        for p in points
    )
    what = words.listed([measures.x.label, measures.y.label, RUNTIME.label])
    return f"Scatter of {what} on {setting.title}. {told}."


def _points(setting: Setting, rows: pd.DataFrame, measures: Measures) -> list[Point]:
    at = {(row["algorithm"], row["metric"]): row for row in rows.to_dict("records")}
    factors = [shown_unit(column.unit)[0] for column in (measures.x, measures.y)]
    points = []
    for method in setting.methods:
        x, y = (at.get((method.name, column.name)) for column in (measures.x, measures.y))
        if x is None or y is None or not (np.isfinite(x["mean"]) and np.isfinite(y["mean"])):
            continue
        time = at.get((method.name, RUNTIME.name), {"mean": float("nan")})["mean"]
        (x_mean, *x_ends), (y_mean, *y_ends) = (
            [factor * row[part] for part in ("mean", "ci_low", "ci_high")]
            for factor, row in zip(factors, (x, y), strict=True)
        )
        points.append(
            Point(method.label, method.control, x_mean, y_mean, (x_ends[0], x_ends[1]), (y_ends[0], y_ends[1]), time)
        )
    return points


def _draw_points(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    import seaborn as sns  # the import takes a second, and most reports have no new figure

    for p in points:
        axes.plot(p.x_interval, (p.y, p.y), color="0.75", linewidth=0.8, zorder=2)
        axes.plot((p.x, p.x), p.y_interval, color="0.75", linewidth=0.8, zorder=2)
    factor = shown_unit(RUNTIME.unit)[0]
    times = [factor * p.time for p in points if p.time > 0]
    least, most = (min(times), max(times)) if times else (1.0, 1.0)
    norm = LogNorm(least, most) if most > 3 * least else Normalize(0, most)
    colours = sns.color_palette("crest", as_cmap=True)
    for p in points:
        colour = colours(norm(factor * p.time)) if p.time > 0 else "0.6"  # an unknown time is grey
        inside = "white" if p.control else [colour]
        axes.scatter(p.x, p.y, s=44, linewidths=1.5, edgecolors=[colour], facecolors=inside, zorder=3)
    axes.scatter([], [], s=36, color="0.4", label="method")
    axes.scatter([], [], s=36, facecolors="white", edgecolors="0.4", linewidths=1.3, label="control")
    if times:
        mappable = ScalarMappable(norm, colours)
        time = f"{RUNTIME.label} ({words.per_sample(RUNTIME.unit)})"
        bar = figure.colorbar(mappable, ax=axes, label=time, aspect=28, pad=0.02)
        bar.outline.set_visible(False)
        if most > 3 * least:
            figures.plain_ticks(bar.ax.yaxis, most / least)


def _draw_front(axes: Axes, best: Sequence[Point]) -> None:
    """Draw the Pareto front as a staircase to the edges of the axes, and fix the axes' limits."""
    if not best:
        return
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    axes.step(
        [best[0].x, *(p.x for p in best), right], [top, *(p.y for p in best), best[-1].y], where="post",
        color="0.45", linewidth=0.9, linestyle=(0, (4, 2)), zorder=1, label="not beaten in both",
    )  # fmt: skip
    axes.set(xlim=(left, right), ylim=(bottom, top))
