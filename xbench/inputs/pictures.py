"""Samples and maps as the report shows them, drawn as their modality has it."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from xbench.datasets.record import Dataset, Split, SplitPart, by_part, tensors
from xbench.modalities import MODALITIES


def picture(dataset: Dataset, split: Split) -> np.ndarray | None:
    """The samples as pictures (n, H, W, 1 or 3) in 0..1; None for data shown as words or columns."""
    draw = MODALITIES[dataset.modality].picture
    return None if draw is None else draw(tensors(split.inputs), dataset.value_range)


def heats(dataset: Dataset, split: Split, maps: tuple[Tensor, ...]) -> dict[str, np.ndarray]:
    """Maps (n, ...) for the eye, float32: "heat" in the frame of the picture, or one value per word or column.

    Maps at a layer that has not the form of the samples are shown as one row of units.
    """
    maps = tuple(m.float().cpu() for m in maps)
    parts: dict[str, SplitPart] = dict(by_part(split.inputs))
    numbers = {name: part for name, part in parts.items() if not isinstance(part, tuple)}
    found = MODALITIES[dataset.modality].heat(numbers, maps)
    return found or {"heat": np.ascontiguousarray(maps[0].flatten(1).unsqueeze(1).numpy())}
