"""Places names next to the points of a scatter, so that they cover neither each other nor a point."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

_SIDES = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)]
_PLACES = [(distance, side) for distance in (6, 13, 21, 30) for side in _SIDES]  # points from the mark
_NEAR = 13
_ROUNDS = 3
_ALIGN_X = {1: "left", 0: "center", -1: "right"}
_ALIGN_Y = {1: "bottom", 0: "center", -1: "top"}


def place(figure: Figure, axes: Axes, xs: Sequence[float], ys: Sequence[float], names: Sequence[str]) -> None:
    """Write `names[i]` near (xs[i], ys[i]), with the least overlap with marks and other names.

    Names are placed one by one, then again with all others known, `_ROUNDS` times. Call it last: the limits and scales
    of the axes must be final.
    """
    figure.draw_without_rendering()  # fixes the layout, so that pixel positions are valid
    renderer = FigureCanvasAgg(figure).get_renderer()
    pixel = figure.dpi / 72
    marks = [tuple(mark) for mark in axes.transData.transform(list(zip(xs, ys, strict=True)))]
    obstacles = [_around(mark, 4.5 * pixel) for mark in marks]
    frame = axes.get_window_extent(renderer)
    notes = [
        axes.annotate(name, (x, y), xytext=(0, 0), textcoords="offset points", fontsize=7.5)
        for x, y, name in zip(xs, ys, names, strict=True)
    ]
    sizes = [(box.width, box.height) for box in (note.get_window_extent(renderer) for note in notes)]
    chosen: list[int | None] = [None] * len(notes)
    for _ in range(_ROUNDS):
        for i, mark in enumerate(marks):
            boxes = [_box(mark, sizes[i], place, pixel) for place in _PLACES]
            placed = [(j, at) for j, at in enumerate(chosen) if at is not None and j != i]
            others = [_box(marks[j], sizes[j], _PLACES[at], pixel) for j, at in placed]
            covered = [_cost(box, others, frame) + 4 * _cost(box, obstacles, frame) for box in boxes]
            costs = [cost + rank for rank, cost in enumerate(covered)]  # among equal places the nearer one
            chosen[i] = costs.index(min(costs))
    for note, at in zip(notes, chosen, strict=True):
        assert at is not None
        distance, (side_x, side_y) = _PLACES[at]
        note.xyann = (distance * side_x, distance * side_y)
        note.set(ha=_ALIGN_X[side_x], va=_ALIGN_Y[side_y])
        note.set_path_effects([withStroke(linewidth=2, foreground="white")])  # readable across a line
        note.set_in_layout(False)  # a name may never move the axes
        if distance > _NEAR:
            axes.annotate(
                "", note.xy, xytext=note.xyann, textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": "0.65", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3},
            ).set_in_layout(False)  # fmt: skip


def _around(mark: Sequence[float], radius: float) -> Bbox:
    return Bbox.from_extents(mark[0] - radius, mark[1] - radius, mark[0] + radius, mark[1] + radius)


def _box(mark: Sequence[float], size: tuple[float, float], place: tuple[int, tuple[int, int]], pixel: float) -> Bbox:
    """The pixels a name of `size` covers at `place` around `mark`."""
    distance, (side_x, side_y) = place
    x = mark[0] + distance * side_x * pixel + (side_x - 1) / 2 * size[0]
    y = mark[1] + distance * side_y * pixel + (side_y - 1) / 2 * size[1]
    return Bbox.from_bounds(x, y, *size)


def _cost(box: Bbox, obstacles: Sequence[Bbox], frame: Bbox) -> float:
    """Square pixels of the box that cover an obstacle or leave the frame."""
    outside = box.width * box.height - _overlap(box, frame)
    return sum(_overlap(box, other) for other in obstacles) + outside


def _overlap(a: Bbox, b: Bbox) -> float:
    width: float = min(a.x1, b.x1) - max(a.x0, b.x0)
    height: float = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(0.0, width) * max(0.0, height)
