"""Time series: motifs planted in noise, and the user's CSV file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from xbench.datasets.delimited import read, require
from xbench.datasets.generated import Generated
from xbench.datasets.record import Dataset, Split
from xbench.datasets.table import build
from xbench.modalities.parts.groups import windows

CLASSES = ("hump", "saw", "burst")
WINDOWS = 16  # features are this many windows of each channel


@dataclass(frozen=True)
class PlantedMotifs:
    """Series (n, channels, steps) of smooth noise with one hidden motif: a hump, a saw tooth or a burst.

    The class is the kind of motif; its position and channel are random; the mask marks its position.

    channels, steps: size of a series. motif: steps of a motif. n (to explain), train, seed.
    """

    channels: int = 2
    steps: int = 128
    motif: int = 24
    n: int = 200
    train: int = 2400
    seed: int = 0

    def __post_init__(self) -> None:
        if not 8 <= self.motif < self.steps:
            raise ValueError(
                f"motif: expected from 8 to fewer steps than the {self.steps} of a series, got {self.motif}"
            )

    def load(self) -> Dataset:
        random = torch.Generator().manual_seed(self.seed)
        count = self.n + self.train
        labels = torch.arange(count) % len(CLASSES)
        noise = torch.randn(count, self.channels, self.steps + 4, generator=random)
        series = noise.unfold(2, 5, 1).mean(3) * 5**0.5 * 0.5  # standard deviation one half, smooth over 5 steps
        start = torch.randint(self.steps - self.motif, (count,), generator=random)
        channel = torch.randint(self.channels, (count,), generator=random)
        time = torch.linspace(0, 1, self.motif)
        forms = torch.stack([(torch.pi * time).sin(), 2 * time - 1, (8 * torch.pi * time).sin()])
        masks = torch.zeros(series.shape, dtype=torch.bool)
        for row in range(count):
            span = slice(int(start[row]), int(start[row]) + self.motif)
            series[row, channel[row], span] += 2 * forms[labels[row]]
            masks[row, channel[row], span] = True
        return Generated(
            name="planted_motifs",
            modality="series",
            classes=CLASSES,
            inputs=series,
            labels=labels,
            n=self.n,
            origin="motifs planted in smooth noise by xbench",
            masks=masks,
            further={"baseline": torch.zeros(1, *series.shape[1:]), "features": _windows(self.channels, self.steps)},
        ).dataset()


@dataclass(frozen=True)
class SeriesTable:
    """The user's CSV file, one series of one channel per row: its steps in order, and a column with the class.

    path: the file, with a header line. target: the column to predict; all others are steps.
    name: the name in tables; null = the file's name. drop: columns to leave out. task: auto, classification,
        regression.
    """

    path: str
    target: str
    name: str | None = None
    drop: tuple[str, ...] = ()
    task: str = "auto"
    separator: str = ","

    def load(self) -> Dataset:
        """Raises FileNotFoundError, or ValueError that names the file and the problem."""
        path = Path(self.path)
        frame = read(path, self.separator)
        require(path, frame, [self.target, *self.drop])
        steps = frame.drop(columns=[self.target, *self.drop])
        texts = [str(name) for name in steps.columns if steps[name].dtype.kind not in "fiu"]
        if texts:
            raise ValueError(f"{path}: the steps of a series must be numbers, column {texts[0]!r} holds texts")
        lacking = steps.index[steps.isna().any(axis=1)]
        if len(lacking):
            raise ValueError(f"{path}, row {int(lacking[0]) + 2}: a step has no value")
        table = build(
            self.name or path.stem, frame.drop(columns=list(self.drop)), self.target, task=self.task,
            origin=f"{path.name}, {len(frame)} series of {steps.shape[1]} steps", source=str(path),
        )  # fmt: skip
        assert isinstance(table.baseline, Tensor)
        return Dataset(
            **{
                **vars(table),
                "modality": "series",
                "test": _as_series(table.test),
                "train": lambda: _as_series(table.train()),
                "baseline": table.baseline[:, None],
                "features": _windows(1, steps.shape[1]),
                "columns": None,
            }
        )


def _as_series(split: Split) -> Split:
    assert isinstance(split.inputs, Tensor)
    return Split(split.ids, split.inputs[:, None], split.targets)


def _windows(channels: int, steps: int) -> Tensor:
    """Feature ids, (1, channels, steps): windows in time, separate for each channel."""
    count = min(WINDOWS, steps)
    return (windows(steps, count)[None] + count * torch.arange(channels)[:, None])[None]
