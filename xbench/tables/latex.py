"""A comparison as a LaTeX table that needs only booktabs."""

import re
from collections.abc import Sequence
from itertools import groupby

from xbench.tables.columns import TableColumn
from xbench.tables.comparison import Comparison, Grid, Row
from xbench.tables.plain_text import groups, mark, numbers, several, title

_WIDTH = 345.0  # points: the text width of an article, at which tables are split
_DIGIT, _SCRIPT, _GAP = 4.6, 3.5, 7.0  # points at \footnotesize, as measured
_KEY = "Sub- and superscripts are the ends of the intervals; controls in italics."
_COMMANDS = {character: f"\\{character}" for character in "&%$#_{}"}
_COMMANDS |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_COMMANDS |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "…": r"\ldots{}", "–": "--"}
_COMMANDS |= {
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "×": r"$\times$",
}
_COMMANDS |= {"[": "{[}"}  # after the end of a row "[" would begin an option
_COMMANDS |= {"α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "ε": r"$\varepsilon$"}  # in names of LRP rules


def table(grid: Grid) -> str:
    """A `table` that needs only booktabs. A wide table is split into several tabulars, one below the other."""
    tabulars = [_tabular(grid, block) for block in _blocks(grid)]
    notes = [
        r"\par\smallskip",
        r"\begin{minipage}{\linewidth}\scriptsize",
        *(f"{_escape(note)}\\par" for note in grid.notes),
        r"\end{minipage}",
    ]
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering\footnotesize\setlength{\tabcolsep}{2.5pt}\renewcommand{\arraystretch}{1.25}",
            f"\\caption{{{_escape(f'{grid.caption} {_KEY}')}}}\\smallskip",
            "\n\\par\\medskip\n".join(tabulars),
            *(notes if grid.notes else []),
            r"\end{table}",
            "",
        ]
    )


def _escape(text: str) -> str:
    """Escape text for pdflatex; a character missing from standard fonts is written as [U+65E5]."""
    known = (_COMMANDS.get(character, character) for character in text)
    return "".join(f"[U+{ord(part):04X}]" if len(part) == 1 and ord(part) > 0x17F else part for part in known)


def _blocks(grid: Grid) -> list[list[TableColumn]]:
    """Distribute the columns over as few tabulars as fit the text width, by estimated column widths."""
    left = max((len(row.label) for row in grid.rows), default=0) * 4.0
    blocks: list[list[TableColumn]] = [[]]
    used = left
    for column in grid.columns:
        head = _SCRIPT * max(map(len, title(column, column.label).split(" "))) + _GAP
        width = max([head, *(_width(row.entries.get(column.name), column) for row in grid.rows)])
        if blocks[-1] and used + width > _WIDTH:
            blocks.append([])
            used = left
        blocks[-1].append(column)
        used += width
    return blocks


def _width(entry: Comparison | None, column: TableColumn) -> float:
    if entry is None or entry.status != "ok":
        return _GAP + _DIGIT * (2 + len(entry.status) if entry else 0)
    mean, interval = (text.replace("e", "x10") for text in numbers(entry, column))
    ends = max(map(len, interval[1:-1].split(", ")))
    return _GAP + _DIGIT * len(mean + mark(entry)) + _SCRIPT * ends


def _tabular(grid: Grid, columns: Sequence[TableColumn]) -> str:
    heads = [_head(column) for column in columns]
    lines = [f"\\begin{{tabular}}{{@{{}}l{'r' * len(columns)}@{{}}}}", r"\toprule"]
    lines += [" & ".join(["Algorithm", *heads]) + r" \\", r"\midrule"]
    named = any(several(grid))
    for index, ((model, dataset), rows) in enumerate(groups(grid)):
        lines += [r"\midrule"] if index else []
        if named:
            name = _escape(f"{model} on {dataset}")
            lines.append(f"\\multicolumn{{{len(columns) + 1}}}{{@{{}}l}}{{\\emph{{{name}}}}} \\\\")
        for control, members in groupby(rows, key=lambda row: row.control):
            lines += [r"\addlinespace"] if control else []
            lines += [_row(row, columns) for row in members]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _head(column: TableColumn) -> str:
    words = re.sub(r" (?=[↓↑])", "\0", title(column, column.label)).split(" ")  # the arrow stays with the last word
    stacked = r"\\".join(_escape(word).replace("\0", "~") for word in words)
    return f"\\scriptsize\\shortstack[r]{{{stacked}}}"


def _row(row: Row, columns: Sequence[TableColumn]) -> str:
    label = _escape(row.label)
    cells = [f"\\emph{{{label}}}" if row.control else label]
    cells += [_entry(row.entries.get(column.name), column) for column in columns]
    return " & ".join(cells) + r" \\"


def _entry(entry: Comparison | None, column: TableColumn) -> str:
    """The mean with the ends of its interval as subscript and superscript."""
    if entry is None:
        return ""
    sign = _escape(mark(entry))
    if entry.status != "ok":
        return _escape(f"– {entry.status}") + sign
    mean, interval = numbers(entry, column)
    text = re.sub(r"e(-?\d+)", r"$\\times$10\\textsuperscript{\1}", mean).replace("-", "$-$")
    text = f"\\textbf{{{text}}}" if entry.marked else text
    if not interval:
        return text + sign
    low, high = re.sub(r"e(-?\d+)", r"{\\times}10^{\1}", interval[1:-1]).split(", ")
    return f"{text}{sign}\\,$_{{{low}}}^{{{high}}}$"
