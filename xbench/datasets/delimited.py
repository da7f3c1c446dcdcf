"""Reads files of separated columns (CSV, TSV) and checks row lengths and column names."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import pandas as pd

SPACES = r"\s+"  # the only separator longer than one character
_LONG = 2**31 - 1  # characters per value; the csv module's default limit is too small for long texts


def read(
    path: Path,
    separator: str = ",",
    missing: Sequence[str] = (),
    header: Sequence[str] | None = None,
    *,
    texts: bool = False,
) -> pd.DataFrame:
    """Read a file with a header line, or one with the columns `header`, as text and numbers; with `texts` as text only.

    Quoted values may contain separators and line breaks. A byte order mark and blank lines are ignored.
    With `texts` only an empty value is missing; otherwise `missing` and pandas' markers, such as NA, are missing too.

    Raises FileNotFoundError, or ValueError naming the file, the line and the problem: a row longer or shorter than the
    header, a column without a name, or two columns of one name.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if len(separator) != 1 and separator != SPACES:
        raise ValueError(f"separator: expected one character, or {SPACES} for white space, got {separator!r}")
    try:
        rows = _count(path, separator, header)
        frame = pd.read_csv(
            path,
            sep=separator,
            names=None if header is None else list(header),
            header=0 if header is None else None,
            na_values=["", *missing] if texts else list(missing),
            keep_default_na=not texts,
            dtype=str if texts else None,
            skipinitialspace=True,
            index_col=False,  # otherwise pandas shifts the columns if the first row is longer than the header
        )
    except (csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no table of columns separated by {separator!r}: {error}") from error
    if len(frame) != rows:
        raise ValueError(f"{path}: its quotes can be read in two ways, as {rows} rows or as {len(frame)}")
    if frame.empty:
        raise ValueError(f"{path}: no rows after the header")
    return frame


def require(path: Path, frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise ValueError naming the columns that the file lacks."""
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise ValueError(f"{path} has no column {', '.join(absent)}; it has {', '.join(map(str, frame.columns))}")


def _count(path: Path, separator: str, header: Sequence[str] | None) -> int:
    """Count the rows and check that each is as long as the header."""
    limit = csv.field_size_limit(_LONG)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = _rows(file, separator)
            names = next((names for _, names in rows), []) if header is None else header
            _check_names(path, names)
            count = 0
            for count, (line, row) in enumerate(rows, start=1):  # noqa: B007  (the last count is the result)
                if len(row) != len(names):
                    raise csv.Error(f"line {line} has {len(row)} values, and there are {len(names)} columns")
    finally:
        csv.field_size_limit(limit)
    return count


def _rows(file: TextIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    """For each row the number of its last line, and its values; blank lines are skipped."""
    lines = (" ".join(line.split()) for line in file) if separator == SPACES else file
    rows = csv.reader(lines, delimiter=" " if separator == SPACES else separator, skipinitialspace=True)
    for row in rows:
        if any(value.strip() for value in row) or len(row) > 1:
            yield rows.line_num, row


def _check_names(path: Path, names: Sequence[str]) -> None:
    nameless = [place for place, name in enumerate(names) if not name.strip()]
    if nameless and len(names) > 1:
        raise ValueError(
            f"{path}: column {nameless[0] + 1} of {len(names)} has no name in the header; give it one (a column of "
            "row numbers can then be left out with drop)"
        )
    name, times = Counter(names).most_common(1)[0] if names else ("", 1)
    if times > 1:
        raise ValueError(f"{path}: {times} columns have the name {name!r}; give each a name of its own")
