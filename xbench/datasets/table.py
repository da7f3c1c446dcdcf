"""Tables: numeric columns unchanged, each category as a group of 0/1 columns that form one feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xbench.datasets.delimited import read, require
from xbench.datasets.found import fingerprint
from xbench.datasets.record import Dataset, Split, mixed_order

TEST = 500  # maximum number of rows to explain; a fifth of a smaller table
_NAMED = 6  # maximum number of columns that a note lists
MANY = 20  # a numeric target with more values than this is a quantity, not a class


@dataclass(frozen=True)
class Table:
    """The user's CSV file, one sample per row.

    path: the file, with a header line.
    target: the column to predict. Text or up to 20 different numbers are classes, otherwise it is a regression.
    name: the name in tables; null = the file's name.
    drop: columns to leave out, such as row numbers or copies of the target.
    task: auto, classification or regression.
    separator: between columns, one character, or \\s+ for white space.
    missing: markers of missing values, besides an empty cell.

    A missing number becomes the median of the training rows; a missing category becomes a category of its own. The
    baseline is the mean of the training rows. The number of imputed cells is reported in the terminal and below the
    table.
    """

    path: str
    target: str
    name: str | None = None
    drop: tuple[str, ...] = ()
    task: str = "auto"
    separator: str = ","
    missing: tuple[str, ...] = ("?",)

    def __post_init__(self) -> None:
        if self.task not in ("auto", "classification", "regression"):
            raise ValueError(f"task: expected auto, classification or regression, got {self.task!r}")

    def load(self) -> Dataset:
        """Raises FileNotFoundError, or ValueError that names the file and the problem."""
        path = Path(self.path)
        frame = read(path, self.separator, self.missing)
        require(path, frame, [self.target, *self.drop])
        return build(
            self.name or path.stem,
            frame.drop(columns=list(self.drop)),
            self.target,
            task=self.task,
            origin=f"{path.name}, a table of {len(frame)} rows",
            source=str(path),
        )


def build(
    name: str,
    frame: pd.DataFrame,
    target: str,
    *,
    origin: str,
    task: str = "auto",
    classes: Sequence[str] | None = None,
    source: str = "the table",
) -> Dataset:
    """Build a data set from a frame whose column `target` is predicted from all others.

    classes: names of the target's values 0, 1, ...; None = the values themselves, sorted.
    """
    lacking = frame.index[frame[target].isna()]
    if len(lacking):
        raise ValueError(f"{source}, row {int(lacking[0]) + 2}: no value in the target column {target!r}")
    labels, named = _labels(frame[target], task, classes, source)
    features = frame.drop(columns=[target])
    keys = [tuple(row) for row in features.itertuples(index=False)]
    order = mixed_order(labels.tolist() if named else [0] * len(labels), keys)
    held = min(TEST, max(1, len(order) // 5))
    if len(order) - held < 1:
        raise ValueError(f"{source}: {len(order)} rows are too few to train on some and explain others")
    test, train = order[:held], order[held:]
    columns, values, groups = _encoded(features, train, source)
    notes = _notes(features)
    target_values = torch.from_numpy(labels)

    def split(part: str, rows: list[int]) -> Split:
        return Split(tuple(f"{part}-{row:05d}" for row in rows), values[rows], target_values[rows])

    return Dataset(
        name=name,
        modality="tabular",
        classes=tuple(named),
        test=split("test", test),
        train=lambda: split("train", train),
        fingerprint=fingerprint(
            values.numpy().tobytes(), labels.tobytes(), repr((columns, groups, named, test)).encode()
        ),
        origin=origin,
        baseline=values[train].mean(0, keepdim=True),
        features=torch.tensor([groups]),
        columns=tuple(columns),
        notes=tuple(notes),
    )


def _labels(
    given: pd.Series, task: str, classes: Sequence[str] | None, source: str
) -> tuple[np.ndarray, Sequence[str]]:
    """Targets and the names of the classes; a regression has no names."""
    numeric = pd.api.types.is_numeric_dtype(given) and not pd.api.types.is_bool_dtype(given)
    if task == "regression" or (task == "auto" and numeric and given.nunique() > MANY):
        if not numeric:
            raise ValueError(f"{source}: a regression needs numbers, column {given.name!r} holds {given.iloc[0]!r}")
        return given.to_numpy(np.float32), ()
    kinds = sorted(given.unique(), key=lambda value: (str(type(value)), value))
    if len(kinds) < 2:
        raise ValueError(f"{source}: every row has the target {kinds[0]}; there is nothing to tell apart")
    names = [str(kind) for kind in kinds] if classes is None else list(classes)
    if len(names) != len(kinds):
        raise ValueError(f"{source}: expected {len(names)} classes ({', '.join(names)}), found {kinds}")
    number = {kind: place for place, kind in enumerate(kinds)}
    return np.array([number[value] for value in given], dtype=np.int64), names


def _notes(frame: pd.DataFrame) -> list[str]:
    """Notes on the values that replace missing cells."""
    lacking = {str(name): int(frame[name].isna().sum()) for name in frame.columns}
    numbers = [str(name) for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]
    notes = []
    for filled, what in (
        ([name for name in lacking if name in numbers], "their column's median over the rows to train on"),
        ([name for name in lacking if name not in numbers], 'a category of their own, "missing"'),
    ):
        counts = {name: lacking[name] for name in filled if lacking[name]}
        if counts:
            total, named = sum(counts.values()), [f"{name} {count}" for name, count in counts.items()]
            listed = ", ".join(named[:_NAMED]) + (f" and {len(named) - _NAMED} more" if len(named) > _NAMED else "")
            notes.append(f"cells without a value, {total} of {frame.size}, count as {what} ({listed})")
    return notes


def _encoded(frame: pd.DataFrame, train: Sequence[int], source: str) -> tuple[list[str], Tensor, list[int]]:
    """Names, values (rows, d) and feature ids of the encoded columns."""
    names: list[str] = []
    parts: list[np.ndarray] = []
    groups: list[int] = []
    for group, column in enumerate(frame.columns):
        values = frame[column]
        if pd.api.types.is_bool_dtype(values):
            values = values.astype(int)
        if pd.api.types.is_numeric_dtype(values):
            numbers = values.astype(float)
            if not np.isfinite(numbers.dropna()).all():
                raise ValueError(f"{source}: column {column!r} holds an infinite number")
            known = numbers.iloc[list(train)].dropna()
            if known.empty:
                raise ValueError(
                    f"{source}: column {column!r} has no value in any of the {len(train)} rows to train on; leave it "
                    "out with drop"
                )
            parts.append(numbers.fillna(known.median()).to_numpy(np.float32)[:, None])
            names.append(str(column))
            groups.append(group)
            continue
        texts = values.fillna("missing").astype(str)
        kinds = sorted(texts.unique())
        if len(kinds) > max(MANY, len(texts) // 2):
            raise ValueError(
                f"{source}: column {column!r} has {len(kinds)} different texts in {len(texts)} rows, so it names rows "
                "and is no category; leave it out with drop"
            )
        parts.append((texts.to_numpy()[:, None] == np.array(kinds)[None, :]).astype(np.float32))
        names += [f"{column}={kind}" for kind in kinds]
        groups += [group] * len(kinds)
    return names, torch.from_numpy(np.concatenate(parts, axis=1)), groups
