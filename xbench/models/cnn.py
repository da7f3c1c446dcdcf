"""A small convolutional network for small images."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Images (n, channels, height, width) in [0, 1] -> logits (n, classes).

    Two 3x3 convolutions, max-pool, one more, max-pool, two linear layers. Normalisation to [-1, 1] is
    inside, so that a black baseline is the tensor of zeros.

    shape: (channels, height, width), height and width at least 4.
    classes: number of logits.
    width: channels of the first convolution; the others have twice as many.
    """

    modality: ClassVar[str] = "image"

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int = 32) -> None:
        super().__init__()
        channels, height, side = shape
        if height < 4 or side < 4:
            raise ValueError(f"images must be at least 4x4 for two poolings, got {height}x{side}")
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(2 * width * (height // 4) * (side // 4), 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(2.0 * images - 1.0))
        return logits


class PooledCNN(nn.Module):
    """Images (n, channels, height, width) of any size from 8x8 on, in [0, 1] -> logits (n, classes).

    Four convolutions with batch norm and two max-pools, the mean over all positions and a linear layer. A position's
    contribution does not depend on where it is, so mosaics of training images can be explained.

    shape: (channels, height, width); only the channels matter. classes: number of logits. width: of the first layer.
    """

    modality: ClassVar[str] = "image"

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int = 24) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        widths = [shape[0], width, 2 * width, 2 * width, 4 * width]
        for place, (given, made) in enumerate(pairwise(widths)):
            kernel = 5 if place == 0 else 3
            layers += [nn.Conv2d(given, made, kernel, padding=kernel // 2), nn.BatchNorm2d(made), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if place < 2 else []
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(4 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(2.0 * images - 1.0).mean((2, 3)))
        return logits
