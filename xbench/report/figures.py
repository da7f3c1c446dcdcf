"""Styles and writes the figures of a report; `tradeoff` and `distributions` draft them.

Each figure is drawn once on its own `Figure` (pyplot's state and the user's backend are not touched) and written as
vector PDF for a paper and as PNG for the page. Files contain no date, so a rebuild gives the same bytes. The PNG
contains the digest of its content, so an unchanged figure is not drawn again.
"""

import base64
import hashlib
import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogFormatterSciNotation,
    LogLocator,
    NullFormatter,
    NullLocator,
)
from PIL import Image, UnidentifiedImageError

from xbench.boundary.files import StoreError, write_atomic
from xbench.report import words
from xbench.report.current import drawn_by

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # bundled with matplotlib: the same figure on every machine
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
LONGEST = 40  # maximum characters of a name
_DIGEST = "xbench"  # the text chunk of a PNG that holds the digest of its content
_DATELESS: Mapping[str, Mapping[str, None]] = {
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


def style() -> AbstractContextManager[None]:
    """matplotlib's settings for the report's figures, inside a `with` block."""
    return matplotlib.rc_context(cast(Any, _STYLE))  # the type of the keys differs between releases


@dataclass(frozen=True)
class Picture:
    """A figure on the page; without `src`, `caption` gives the reason for its absence."""

    title: str
    caption: str
    alt: str = ""
    src: str = ""  # PNG data URI
    files: tuple[str, ...] = ()  # PDF and PNG, relative to the page
    width: int = 0  # CSS pixels
    height: int = 0


@dataclass(frozen=True)
class Draft:
    """A figure to draw: its texts, the data of the drawing, and the function that draws it.

    Attributes:
        name: file name without suffix.
        data: the input of `draw`, with a complete `repr`.
    """

    name: str
    title: str
    caption: str
    alt: str
    data: object
    draw: Callable[[], Figure]

    @property
    def digest(self) -> str:
        """sha256 (hex) of everything the files depend on."""
        what = repr((self.name, self.title, self.caption, self.alt, self.data, drawn_by()))
        return hashlib.sha256(what.encode(errors="backslashreplace")).hexdigest()


def picture(draft: Draft, folder: Path, *, reuse: bool) -> Picture:
    """Write `name`.pdf and `name`.png to `folder`, next to the page, unless `reuse` finds them unchanged.

    A figure that cannot be drawn gives a picture without a source, whose caption gives the reason.

    Raises:
        StoreError: the folder cannot be written.
    """
    png = _kept(draft, folder) if reuse else None
    if png is None:
        try:
            png = _draw(draft, folder)
        except StoreError:
            raise
        except Exception as error:  # names and numbers come from users' components: an error costs this figure only
            return Picture(draft.title, f"{draft.name} could not be drawn: {type(error).__name__}: {error}")
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        width, height = (round(96 * pixels / _DPI) for pixels in image.size)
    files = tuple(f"{folder.name}/{draft.name}.{kind}" for kind in _DATELESS)
    src = "data:image/png;base64," + base64.b64encode(png).decode()
    return Picture(draft.title, draft.caption, draft.alt, src, files, width, height)


def plain(text: str) -> str:
    """Text that matplotlib shows literally: a dollar sign does not begin a formula, a lone surrogate is marked."""
    return text.encode(errors="backslashreplace").decode().replace("$", r"\$")


def short(label: str) -> str:
    """A name next to a mark, `plain` and at most LONGEST characters."""
    return plain(words.clip(label, LONGEST))


def inches(text: str) -> float:
    """Width of a text in the font of `style`, in inches."""
    size = float(_STYLE["font.size"])
    return float(TextPath((0, 0), text, size=size).get_extents().width) / 72 if text.strip() else 0.0


def _kept(draft: Draft, folder: Path) -> bytes | None:
    """The existing PNG, if both files exist and show this draft."""
    path = folder / f"{draft.name}.png"
    if not path.with_suffix(".pdf").is_file():
        return None
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return data if image.info.get(_DIGEST) == draft.digest else None
    except (OSError, UnidentifiedImageError):
        return None


def _draw(draft: Draft, folder: Path) -> bytes:
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # shown as a box
        figure = draft.draw()
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the layout is final: do not compute it for every format
        png = b""
        for kind, metadata in _DATELESS.items():
            buffer = io.BytesIO()
            known = {**metadata, **({_DIGEST: draft.digest} if kind == "png" else {})}
            figure.savefig(buffer, format=kind, dpi=_DPI, metadata=known)
            png = buffer.getvalue()
            write_atomic(folder / f"{draft.name}.{kind}", png)
    return png


def is_logarithmic(values: Sequence[float] | np.ndarray, factor: float = 30) -> bool:
    """Whether an axis should be logarithmic: all values are >= 0 and span more than `factor`."""
    array = np.asarray(values, dtype=float)
    positive = array[array > 0]
    return bool(array.min() >= 0 and positive.size and positive.max() >= factor * np.quantile(positive, 0.05))


def scale(axes: Axes, which: str, values: Sequence[float] | np.ndarray, factor: float = 30) -> bool:
    """Make the axis logarithmic if `is_logarithmic`, and return whether it is.

    Zeros are shown in a short linear piece below the smallest positive value.
    """
    if not is_logarithmic(values, factor):
        return False
    array = np.asarray(values, dtype=float)
    positive = array[array > 0]
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
    """Set ticks at 0 and at a few round numbers up to `high` that do not overlap 0."""
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
