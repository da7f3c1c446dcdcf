"""What a run leaves: a Markdown table on the screen and, with --write, in the file beside the script."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parents[1]


def hardware(threads: int) -> str:
    """The machine and the versions, in words."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:  # not Linux
        pass
    versions = f"torch {torch.__version__}"
    try:
        import captum

        versions += f", captum {captum.__version__}"
    except ImportError:
        pass
    return f"{name}, {os.cpu_count()} cores, {threads} threads; Python {platform.python_version()}, {versions}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(header), "| " + " | ".join(rule) + " |", *(line(row) for row in rows)])


def number(value: float | None, digits: int = 2) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def geometric_mean(values: Sequence[float]) -> float:
    """NaN of none."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def finish(name: str, about: str, command: str, hardware_line: str, body: str, write: bool) -> None:
    """Print the result; with `write` also into experiments/NAME.md, below the question and the command."""
    print(f"\n{hardware_line}\n\n{body}")
    if write:
        text = f"# {name}\n\n{about.strip()}\n\n    {command}\n\n{hardware_line}\n\n{body}\n"
        (HERE / f"{name}.md").write_text(text)
