"""Base of data sets of images in memory: builds a `Dataset` from uint8 pixels, with squares as features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xbench.datasets.found import fingerprint
from xbench.datasets.record import Dataset, Split, mixed_order


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


def tubes(channels: int, frames: int, height: int, width: int, side: int) -> Tensor:
    """Feature ids, (1, channels, frames, height, width) int64: squares of `side` pixels over two frames."""
    number = patches(1, height, width, side)[0, 0]
    layers = torch.arange(frames) // 2 * (int(number.max()) + 1)
    return (number + layers[:, None, None]).expand(1, channels, frames, height, width).contiguous()


def patches(channels: int, height: int, width: int, side: int = 4) -> Tensor:
    """Feature ids, (1, channels, height, width) int64: squares of `side` pixels."""
    number = (torch.arange(height) // side)[:, None] * -(-width // side) + torch.arange(width) // side
    return number.expand(1, channels, height, width).contiguous()
