"""How a figure of a report looks and is written; `tradeoff` and `distributions` draw them.

Each is drawn once on its own `Figure` (pyplot's state and the user's backend are not touched) and written as
vector PDF for a paper and as PNG, which the page shows too. No file carries a date, so a rebuild gives the
same bytes.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogFormatterSciNotation,
    LogLocator,
    NullFormatter,
    NullLocator,
)

from xbench.files import write_atomic

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same figure on every machine
    "font.size": 8,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.35",
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.92",
    "grid.linewidth": 0.6,
    "xtick.color": "0.25",
    "ytick.color": "0.25",
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "savefig.facecolor": "white",
}
_DPI = 220
_DATELESS: Mapping[str, Mapping[str, None]] = {
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


def style() -> AbstractContextManager[None]:
    """matplotlib's settings for our figures, until the `with` block ends."""
    return matplotlib.rc_context(cast(Any, _STYLE))  # releases differ in how they type the keys


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it; without `src`, `caption` says why there is none."""

    title: str
    caption: str
    alt: str = ""
    src: str = ""  # PNG data URI
    files: tuple[str, ...] = ()  # PDF and PNG, relative to the page
    width: int = 0  # CSS pixels
    height: int = 0


def save(figure: Figure, folder: Path, name: str, *, title: str, caption: str, alt: str) -> Picture:
    """Write `name`.pdf and `name`.png under `folder`, which is beside the page.

    Raises:
        StoreError: the folder cannot be written.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the layout is settled: not again for every format
    png = b""
    for kind, metadata in _DATELESS.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=_DPI, metadata=dict(metadata))
        png = buffer.getvalue()
        write_atomic(folder / f"{name}.{kind}", png)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    files = tuple(f"{folder.name}/{name}.{kind}" for kind in _DATELESS)
    src = "data:image/png;base64," + base64.b64encode(png).decode()
    return Picture(title, caption, alt, src, files, width, height)


def scale(axes: Axes, which: str, values: Sequence[float] | np.ndarray, factor: float = 30) -> bool:
    """Set and tell whether the axis is logarithmic: for values >= 0 that span more than `factor`.

    Zeros among them sit in a short linear piece below the smallest positive value.
    """
    array = np.asarray(values, dtype=float)
    positive = array[array > 0]
    if array.min() < 0 or not positive.size or positive.max() < factor * np.quantile(positive, 0.05):
        return False
    set_scale = axes.set_xscale if which == "x" else axes.set_yscale
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = float(positive.min()), float(positive.max())
    if positive.size == array.size:
        set_scale("log")
        plain_ticks(axis, high / low)
    else:
        set_scale("symlog", linthresh=low, linscale=0.4)
        _ticks_with_zero(axis, low, high)
    return True


def plain_ticks(axis: Axis, span: float) -> None:
    """Ticks of a logarithmic axis: 1, 2, 5 on a short one, powers on a long one; 0.01 rather than 10^-2."""
    steps = (1.0, 2.0, 5.0) if span < 100 else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=8 if span < 1e6 else 4))
    _plain_numbers(axis)


def _ticks_with_zero(axis: Axis, low: float, high: float) -> None:
    """0 and a few round numbers up to `high` that are not on top of it."""
    steps = (1, 2, 5) if high < 100 * low else (1,)
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    round_numbers = [step * 10.0**power for power in powers for step in steps]
    room = [number for number in round_numbers if 1.3 * low <= number <= high]
    axis.set_major_locator(FixedLocator([0.0, *room[:: -math.ceil(max(1, len(room)) / 5)]]))
    axis.set_minor_locator(NullLocator())
    _plain_numbers(axis)


def _plain_numbers(axis: Axis) -> None:
    power = LogFormatterSciNotation()
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}" if x == 0 or 0.001 <= x < 10_000 else power(x)))
    axis.set_minor_formatter(NullFormatter())
