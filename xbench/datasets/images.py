"""Base of data sets of images in memory: builds a `Dataset` from uint8 pixels, with squares as features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xbench.datasets.found import fingerprint
from xbench.datasets.record import Dataset, Split, mixed_order
from xbench.modalities.parts.groups import patches


def image_dataset(
    name: str, classes: Sequence[str], images: Tensor, labels: Tensor, train: Tensor, targets: Tensor, origin: str,
    masks: Tensor | None = None,
) -> Dataset:  # fmt: skip
    """Build from uint8 images (n, C, H, W) to explain and to train on; black baseline, 4x4 patches as features."""
    order = mixed_order(labels.tolist(), [image.numpy().tobytes() for image in images])

    def split(part: str, pixels: Tensor, numbers: Tensor, rows: Sequence[int], marked: Tensor | None = None) -> Split:
        kept = list(rows)
        return Split(
            tuple(f"{part}-{row:05d}" for row in kept), pixels[kept].float() / 255, numbers[kept],
            None if marked is None else marked[kept],
        )  # fmt: skip

    return Dataset(
        name=name,
        modality="image",
        classes=tuple(classes),
        test=split("test", images, labels, order, masks),
        train=lambda: split("train", train, targets, range(len(train))),
        fingerprint=fingerprint(
            *(tensor.contiguous().numpy().tobytes() for tensor in (images, labels, train, targets)),
            b"" if masks is None else masks.numpy().tobytes(),
            repr(name).encode(),
        ),
        origin=origin,
        baseline=torch.zeros(1, *images.shape[1:]),
        features=patches(*images.shape[1:]),
        value_range=(0.0, 1.0),
    )
