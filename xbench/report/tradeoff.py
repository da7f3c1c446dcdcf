"""The fidelity-robustness-time picture: where each algorithm is, and which no other beats in both."""

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


@dataclass(frozen=True)
class Point:
    """One algorithm in the fidelity-robustness picture; intervals are (low, high)."""

    label: str
    control: bool
    x: float
    y: float
    x_interval: tuple[float, float]
    y_interval: tuple[float, float]
    time: float  # seconds per sample, NaN when not known


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in x and y at once (lower is better), by rising x; no controls."""
    best: list[Point] = []
    for point in sorted((p for p in points if not p.control), key=lambda p: (p.x, p.y)):
        if not best or point.y < best[-1].y:
            best.append(point)
    return best


def tradeoff(setting: Setting, summary: pd.DataFrame) -> figures.Draft | figures.Picture:
    """Infidelity against sensitivity-max, coloured by runtime, with the front of the methods; or why there is none."""
    rows = summary[(summary["model"] == setting.model) & (summary["dataset"] == setting.dataset)]
    fidelity = words.fidelity(rows["metric"].unique().tolist())
    if fidelity is None or words.ROBUSTNESS not in set(rows["metric"]):
        return figures.Picture(setting.title, "This picture needs infidelity and sensitivity_max; one was not run.")
    points = _points(setting, rows, fidelity)
    if not points:
        return figures.Picture(setting.title, "No algorithm has both scores defined.")
    return figures.Draft(
        f"tradeoff-{setting.slug}",
        title=setting.title,
        caption=_caption(setting, points, fidelity),
        alt=_alt(setting, points),
        data=points,
        draw=lambda: _draw(points, fidelity),
    )


def _draw(points: Sequence[Point], fidelity: str) -> Figure:
    figure = Figure(figsize=(5.6, 3.7), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    figures.scale(axes, "x", [p.x for p in points], factor=5)
    figures.scale(axes, "y", [p.y for p in points], factor=5)
    _draw_points(figure, axes, points)
    axes.set_xlabel(figures.plain(f"{words.label(fidelity)}  (lower is better)"))
    axes.set_ylabel("Sensitivity-max  (lower is better)")
    axes.margins(0.09)
    _draw_front(axes, front(points))
    figure.legend(loc="outside upper left", ncols=3, borderaxespad=0.2, handletextpad=0.4)
    names = [figures.short(p.label) for p in points]
    labels.place(figure, axes, [p.x for p in points], [p.y for p in points], names)
    return figure


def _caption(setting: Setting, points: Sequence[Point], fidelity: str) -> str:
    shown = {point.label for point in points}
    left_out = [method.label for method in setting.methods if method.label not in shown]
    what = words.label(fidelity).lower()
    caption = f"Mean {what} and mean sensitivity-max with 95 % intervals, {setting.title}."
    return caption + (f" Not shown, for want of a value: {', '.join(left_out)}." if left_out else "")


def _alt(setting: Setting, points: Sequence[Point]) -> str:
    """The picture in words: every point with its numbers."""
    told = "; ".join(
        f"{p.label}{' (control)' if p.control else ''}: {words.number(p.x)}, {words.number(p.y)}, "
        f"{words.in_unit(p.time, 's/sample')} ms"
        for p in points
    )
    return f"Scatter of infidelity, sensitivity and time per sample on {setting.title}. {told}."


def _points(setting: Setting, rows: pd.DataFrame, fidelity: str) -> list[Point]:
    at = {(row["algorithm"], row["metric"]): row for row in rows.to_dict("records")}
    points = []
    for method in setting.methods:
        x, y = at.get((method.name, fidelity)), at.get((method.name, words.ROBUSTNESS))
        if x is None or y is None or not (np.isfinite(x["mean"]) and np.isfinite(y["mean"])):
            continue
        time = at.get((method.name, words.TIME), {"mean": float("nan")})["mean"]
        between = [(row["ci_low"], row["ci_high"]) for row in (x, y)]
        points.append(Point(method.label, method.control, x["mean"], y["mean"], between[0], between[1], time))
    return points


def _draw_points(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    import seaborn as sns  # takes a second to import, and most reports have no new figure

    for p in points:
        axes.plot(p.x_interval, (p.y, p.y), color="0.75", linewidth=0.8, zorder=2)
        axes.plot((p.x, p.x), p.y_interval, color="0.75", linewidth=0.8, zorder=2)
    times = [1000 * p.time for p in points if p.time > 0]
    least, most = (min(times), max(times)) if times else (1.0, 1.0)
    norm = LogNorm(least, most) if most > 3 * least else Normalize(0, most)
    colours = sns.color_palette("crest", as_cmap=True)
    for p in points:
        colour = colours(norm(1000 * p.time)) if p.time > 0 else "0.6"  # a time that is not known is grey
        inside = "white" if p.control else [colour]
        axes.scatter(p.x, p.y, s=44, linewidths=1.5, edgecolors=[colour], facecolors=inside, zorder=3)
    axes.scatter([], [], s=36, color="0.4", label="method")
    axes.scatter([], [], s=36, facecolors="white", edgecolors="0.4", linewidths=1.3, label="control")
    if times:
        mappable = ScalarMappable(norm, colours)
        bar = figure.colorbar(mappable, ax=axes, label="Runtime (ms per sample)", aspect=28, pad=0.02)
        bar.outline.set_visible(False)
        if most > 3 * least:
            figures.plain_ticks(bar.ax.yaxis, most / least)


def _draw_front(axes: Axes, best: Sequence[Point]) -> None:
    """The staircase below and left of which no method is, to the edges of the axes; it fixes their limits."""
    if not best:
        return
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    axes.step(
        [best[0].x, *(p.x for p in best), right], [top, *(p.y for p in best), best[-1].y], where="post",
        color="0.45", linewidth=0.9, linestyle=(0, (4, 2)), zorder=1, label="not beaten in both",
    )  # fmt: skip
    axes.set(xlim=(left, right), ylim=(bottom, top))
