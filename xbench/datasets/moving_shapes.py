"""Clips of one moving and one still shape: the class is the direction, the evidence the moving shape."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from xbench.datasets.generated import Generated
from xbench.datasets.record import Dataset
from xbench.datasets.shapes import CLASSES as SHAPES
from xbench.datasets.shapes import single
from xbench.modalities.parts.groups import tubes

CLASSES = ("left", "right", "up", "down")
_STEP = torch.tensor([[0, -1], [0, 1], [-1, 0], [1, 0]])  # rows, columns
TUBE = 4  # features are tubes of 4x4 pixels over two frames


@dataclass(frozen=True)
class MovingShapes:
    """Clips (n, 1, frames, side, side) in [0, 1]: one shape moves left, right, up or down, another stays.

    Only the order of the frames is informative, not a single frame. The mask is the moving shape in every frame.

    frames, side: size of a clip. n (to explain), train, seed.
    """

    frames: int = 8
    side: int = 24
    n: int = 120
    train: int = 1200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.frames < 2 or self.side < 16 or self.side % TUBE:
            raise ValueError(
                f"frames, side: expected at least 2 frames and a multiple of {TUBE} from 16 on, got {self.frames} "
                f"frames of side {self.side}"
            )

    def load(self) -> Dataset:
        random = torch.Generator().manual_seed(self.seed)
        count = self.n + self.train
        labels = torch.arange(count) % len(CLASSES)
        kinds = torch.randint(len(SHAPES), (2, count), generator=random)
        _, mover = single(kinds[0], self.side, random)
        _, still = single(kinds[1], self.side, random)
        light = 0.5 + 0.5 * torch.rand(2, count, 1, 1, 1, generator=random)
        frames, masks = [], []
        for time in range(self.frames):
            shift = _STEP[labels] * round(time - self.frames / 2)
            here = torch.stack([m.roll(tuple(s), (1, 2)) for m, s in zip(mover, shift.tolist(), strict=True)])
            frames.append(torch.where(here, light[0], torch.where(still, light[1], 0.1)))
            masks.append(here)
        clips = torch.stack(frames, dim=2)
        clips = (clips + 0.05 * torch.randn(clips.shape, generator=random)).clamp(0, 1)
        return Generated(
            name="moving_shapes",
            modality="video",
            classes=CLASSES,
            inputs=clips,
            labels=labels,
            n=self.n,
            origin="a moving shape beside a still one, drawn by xbench",
            masks=torch.stack(masks, dim=2),
            further={
                "baseline": torch.full((1, 1, self.frames, self.side, self.side), 0.1),
                "features": tubes(1, self.frames, self.side, self.side, TUBE),
                "value_range": (0.0, 1.0),
            },
        ).dataset()
