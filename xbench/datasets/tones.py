"""Tones in noise; the time of the event is known."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from xbench.datasets.generated import Generated
from xbench.datasets.record import Dataset
from xbench.modalities.parts.groups import windows

WINDOWS = 32  # features are this many windows in time
CLASSES = ("low tone", "high tone", "rising", "falling")
EVENT = 0.25  # seconds


@dataclass(frozen=True)
class Tones:
    """One second of noise with an event of a quarter second: a low, high, rising or falling tone.

    Waveforms (n, 1, rate); the mask marks the time of the event.

    rate: samples per second. n (to explain), train, seed.
    """

    rate: int = 4000
    n: int = 120
    train: int = 1200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rate < 4000:
            raise ValueError(f"rate: tones of up to 1,400 Hz need at least 4000 samples per second, got {self.rate}")

    def load(self) -> Dataset:
        random = torch.Generator().manual_seed(self.seed)
        count = self.n + self.train
        labels = torch.arange(count) % len(CLASSES)
        waves = 0.05 * torch.randn(count, 1, self.rate, generator=random)
        masks = torch.zeros(waves.shape, dtype=torch.bool)
        length = int(EVENT * self.rate)
        time = torch.arange(length) / self.rate
        start = torch.randint(self.rate - length, (count,), generator=random)
        low = 300 + 200 * torch.rand(count, generator=random)
        high = 900 + 500 * torch.rand(count, generator=random)
        pairs = torch.stack([low, low, high, high, low, high, high, low], dim=1).reshape(count, 4, 2)
        begin, end = pairs[torch.arange(count), labels].unbind(1)
        phase = 2 * torch.pi * (begin[:, None] * time + (end - begin)[:, None] * time**2 / (2 * EVENT))
        loud = 0.2 + 0.3 * torch.rand(count, 1, generator=random)
        events = loud * phase.sin() * torch.hann_window(length, periodic=False).sqrt()
        for row in range(count):
            span = slice(int(start[row]), int(start[row]) + length)
            waves[row, 0, span] += events[row]
            masks[row, 0, span] = True
        return Generated(
            name="tones",
            modality="audio",
            classes=CLASSES,
            inputs=waves,
            labels=labels,
            n=self.n,
            origin="tones in noise, made by xbench",
            masks=masks,
            further={
                "baseline": torch.zeros(1, 1, self.rate),
                "features": windows(self.rate, WINDOWS)[None, None],
                "value_range": (-1.0, 1.0),
                "rate": self.rate,
            },
        ).dataset()
