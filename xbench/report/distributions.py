"""The distribution of each algorithm's scores over samples: one figure per measure."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xbench.report import figures, words
from xbench.report.collect import MethodFacts, Setting
from xbench.tables.columns import RUNTIME, TableColumn, leaders, shown_unit

METHOD, CONTROL = "#3b76af", "#9aa0a6"
MOST_BOXES = 600
_MAX_VECTOR_DOTS = 1500  # more dots are rasterised inside the PDF


def distributions(setting: Setting, scores: pd.DataFrame, columns: Sequence[TableColumn]) -> list[figures.Draft]:
    """One figure per column that varies: a box and the samples per algorithm. Of the costs, only time varies.

    With more than `MOST_BOXES` boxes the page is too large to be read: only the column that leads each family is drawn.
    """
    mine = scores[(scores["model"] == setting.model) & (scores["dataset"] == setting.dataset)]
    mine = mine[np.isfinite(mine["value"].astype(float))]
    varied = mine.groupby("metric")["value"].nunique() > 1  # a constant has no distribution
    mine = mine[mine["metric"].map(varied)]
    measured = set(mine["metric"])
    shown = [c for c in columns if c.name in measured and (c.family != "cost" or c.name == RUNTIME.name)]
    if len(shown) * len(setting.methods) > MOST_BOXES:
        shown = leaders(shown)
    return [_distribution(setting, column, mine[mine["metric"] == column.name]) for column in shown]


def _distribution(setting: Setting, column: TableColumn, rows: pd.DataFrame) -> figures.Draft:
    factor = shown_unit(column.unit)[0]
    by_name = rows.groupby("algorithm")["value"]
    values = {name: factor * group.to_numpy(dtype=float) for name, group in by_name}
    groups = [(method, values[method.name]) for method in setting.methods if method.name in values]
    groups.sort(key=lambda group: (group[0].control, float(np.median(group[1]))))
    every = np.concatenate([numbers for _, numbers in groups])
    what, shown = column.label, words.per_sample(column.unit)
    unit = f" ({shown})" if shown else ""
    told = "; ".join(f"{m.label} {words.number(float(np.median(numbers)))}" for m, numbers in groups)
    noted = ", logarithmic axis" if figures.is_logarithmic(every) else ""
    noted += "; measured per block of samples" if column.name == RUNTIME.name else ""
    return figures.Draft(
        f"distribution-{column.name}-{setting.slug}",
        title=setting.title,
        caption=f"{what}{unit}{noted}; {words.count(int(every.size), 'value')}.",
        alt=f"Box plots of {what} per algorithm on {setting.title}. Medians: {told}.",
        data=[(m.label, m.control, numbers.tolist()) for m, numbers in groups],
        draw=lambda: _draw(groups, what + unit),
    )


def _draw(groups: Sequence[tuple[MethodFacts, np.ndarray]], heading: str) -> Figure:
    names = [figures.short(method.label) for method, _ in groups]
    width = 2.2 + max(map(figures.inches, names))  # long names widen the figure instead of narrowing the boxes
    figure = Figure(figsize=(width, 0.7 + 0.25 * max(3, len(groups))), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    figures.scale(axes, "x", np.concatenate([numbers for _, numbers in groups]))
    _draw_boxes(axes, [numbers for _, numbers in groups], [m.control for m, _ in groups])
    axes.set_yticks(range(len(groups)), names)
    axes.set(xlabel=figures.plain(heading), ylabel="")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    return figure


def _draw_boxes(axes: Axes, groups: Sequence[np.ndarray], controls: Sequence[bool]) -> None:
    """Draw a box and the samples per group, from top to bottom; a group of one number (a block's runtime) is a dot."""
    colours = [CONTROL if control else METHOD for control in controls]
    single = [row for row, values in enumerate(groups) if np.ptp(values) == 0]
    axes.scatter([groups[row][0] for row in single], single, s=26, c=[colours[row] for row in single], zorder=3)
    boxes = [row for row in range(len(groups)) if row not in single]
    if boxes:
        _draw_spread(axes, {row: groups[row] for row in boxes}, dict(enumerate(colours)))
    axes.set_ylim(len(groups) - 0.5, -0.5)


def _draw_spread(axes: Axes, groups: Mapping[int, np.ndarray], colours: Mapping[int, str]) -> None:
    import seaborn as sns  # the import takes a second, and most reports have no new figure

    rows = np.repeat(list(groups), [len(values) for values in groups.values()])
    frame = pd.DataFrame({"value": np.concatenate(list(groups.values())), "row": rows})
    with warnings.catch_warnings():
        # seaborn 0.13 passes an argument that matplotlib 3.11 has renamed.
        warnings.filterwarnings("ignore", message="vert: bool was deprecated")
        sns.boxplot(
            frame, x="value", y="row", hue="row", palette=dict(colours), orient="h", order=list(colours),
            ax=axes, legend=False, width=0.62, fliersize=0, linewidth=0.8, linecolor="0.25",
            boxprops={"alpha": 0.45}, medianprops={"linewidth": 1.6},
        )  # fmt: skip
    # seaborn's strip plot takes its jitter from numpy's global generator; this jitter is reproducible.
    jitter = np.random.default_rng(0).uniform(-0.2, 0.2, len(frame))
    axes.scatter(
        frame["value"], frame["row"] + jitter, s=5, linewidths=0, alpha=0.55, zorder=3,
        c=[colours[row] for row in frame["row"]], rasterized=len(frame) > _MAX_VECTOR_DOTS,
    )  # fmt: skip
