"""A comparison as text: Markdown, and plain text for a terminal (`latex` has the table for a paper).

Units are readable ones (ms, MiB); numbers have three significant digits.
"""

import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from xbench.tables.columns import TableColumn, shown_unit
from xbench.tables.comparison import MARKED, Comparison, Grid, Row

_ARROWS = {"lower": "↓", "higher": "↑"}


def number(value: float) -> str:
    """Three significant digits: 0.0123, 1.20, 12.3, 1234; outside [0.001, 100000) as 1.23e-5."""
    rounded = float(f"{value:.2e}")  # 0.9996 becomes 1.00, not 1.000
    if not math.isfinite(rounded) or rounded == 0:
        return f"{rounded:.3g}".replace("-0", "0")
    exponent = math.floor(math.log10(abs(rounded)))
    if -3 <= exponent < 5:
        return f"{value:.{max(0, 2 - exponent)}f}"
    mantissa, power = f"{rounded:.2e}".split("e")
    return f"{mantissa}e{int(power)}"


def title(column: TableColumn, label: str) -> str:
    """The heading of a column: its label or short label, its unit if any, and an arrow in the better direction."""
    unit = shown_unit(column.unit)[1]
    parts = [label, f"({unit})" if unit else "", _ARROWS.get(column.direction, "")]
    return " ".join(part for part in parts if part)


def numbers(entry: Comparison, column: TableColumn) -> tuple[str, str]:
    """Mean and interval in the displayed unit; the interval is "" if its width is zero."""
    mean, low, high = (_text(value, column) for value in (entry.mean, entry.low, entry.high))
    return mean, "" if entry.low == entry.high else f"[{low}, {high}]"


def _text(value: float, column: TableColumn) -> str:
    if column.unit.startswith("rows") and value.is_integer() and abs(value) < 1e5:
        return str(int(value))  # a count: 50, not 50.0
    return number(value * shown_unit(column.unit)[0])


def mark(entry: Comparison) -> str:
    """† some samples undefined, ‡ some not measured: explained in the notes."""
    return ("†" if entry.n_undefined else "") + ("‡" if entry.status == "ok" and entry.n_absent else "")


def markdown(grid: Grid) -> str:
    """A pipe table, a caption above it and the notes below."""
    shown = several(grid)
    head = [name for name, wanted in zip(("model", "dataset"), shown, strict=True) if wanted]
    lines = [
        _markdown_line(
            [*head, "algorithm", *(_markdown_escape(title(column, column.label)) for column in grid.columns)]
        )
    ]
    lines.append("|" + "---|" * (len(head) + 1) + "---:|" * len(grid.columns))
    for row in grid.rows:
        names = [name for name, wanted in zip((row.model, row.dataset), shown, strict=True) if wanted]
        label = _markdown_escape(row.label)
        cells = [_markdown_entry(row.entries.get(column.name), column) for column in grid.columns]
        lines.append(
            _markdown_line([*map(_markdown_escape, names), f"*{label}* (control)" if row.control else label, *cells])
        )
    notes = [f"\n{_markdown_escape(note)}" for note in grid.notes]
    return "\n".join([_markdown_escape(grid.caption), "", *lines, *notes]) + "\n"


def terminal(grid: Grid, width: int = 100) -> str:
    """Means only, marked ones with `*`; columns beyond `width` continue in another block.

    Columns of detail are left out of a table that is wider than `width`, and a note names them.
    """
    lines: list[str] = []
    left_out: dict[str, None] = {}
    for pair, rows in groups(grid):
        found = list(rows)
        lines += textwrap.wrap(grid.subjects[pair], width)
        names = [f"{row.label} (control)" if row.control else row.label for row in found]
        first = max(map(len, names), default=0)
        columns = [_terminal_column(found, column) for column in grid.columns]
        if first + sum(2 + len(column[-1]) for column in columns) > width:
            left_out |= dict.fromkeys(column.label for column in grid.columns if column.detail)
            columns = [each for each, column in zip(columns, grid.columns, strict=True) if not column.detail]
        while columns:
            fits = 1
            while fits < len(columns) and first + sum(2 + len(c[-1]) for c in columns[: fits + 1]) <= width:
                fits += 1
            block, columns = columns[:fits], columns[fits:]
            height = max(len(column) for column in block)
            padded = [[" " * len(column[-1])] * (height - len(column)) + column for column in block]
            left = [""] * (height - len(names)) + names
            lines += [
                "  ".join([name.ljust(first), *(column[index] for column in padded)]).rstrip()
                for index, name in enumerate(left)
            ]
            lines.append("")
    notes = [f"* {MARKED}. Runtime and rows are per sample.", *grid.notes]
    if left_out:
        notes.append(f"In the report and its tables, not here: {'; '.join(left_out)}.")
    return "\n".join([*lines, *(line for note in notes for line in textwrap.wrap(note, width))]) + "\n"


def several(grid: Grid) -> tuple[bool, bool]:
    """Whether the rows are of more than one model, and of more than one dataset."""
    return len({row.model for row in grid.rows}) > 1, len({row.dataset for row in grid.rows}) > 1


def groups(grid: Grid) -> Iterator[tuple[tuple[str, str], Iterator[Row]]]:
    """The rows of each (model, dataset), in order."""
    return groupby(grid.rows, key=lambda row: (row.model, row.dataset))


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_escape(text: str) -> str:
    return re.sub(r"([\\|*`<\[\]])", r"\\\1", text)


def _markdown_entry(entry: Comparison | None, column: TableColumn) -> str:
    if entry is None:
        return ""
    if entry.status != "ok":
        return f"– {entry.status}{mark(entry)}"
    mean, interval = numbers(entry, column)
    bold = f"**{mean}**" if entry.marked else mean
    return f"{bold}{mark(entry)} {interval}".rstrip()


def _terminal_column(rows: Sequence[Row], column: TableColumn) -> list[str]:
    """Heading (a line per word) and cells of one column, all of one width, with marks right of the numbers."""
    texts: list[tuple[str, str]] = []
    for row in rows:
        entry = row.entries.get(column.name)
        if entry is None:
            texts.append(("", ""))
        elif entry.status != "ok":
            texts.append((entry.status, mark(entry)))
        else:
            texts.append((numbers(entry, column)[0], ("*" if entry.marked else "") + mark(entry)))
    marks = max((len(sign) for _, sign in texts), default=0)
    digits = max((len(text) for text, _ in texts), default=0)
    cells = [f"{text:>{digits}}{sign:<{marks}}" for text, sign in texts]
    head = [
        word.rjust(digits) + " " * marks for word in re.sub(r" (?=[↓↑])", "\0", title(column, column.short)).split(" ")
    ]
    lines = [line.replace("\0", " ") for line in [*head, *cells]]
    width = max(len(line.rstrip()) for line in lines)
    return [line.rjust(width) if len(line) < width else line for line in lines]
