"""Images of one coloured shape on a distracting texture, with known evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.datasets.generated import Generated
from xbench.datasets.record import Dataset, Split
from xbench.modalities.parts.groups import patches

CLASSES = ("circle", "square", "triangle", "cross")
PATCH = 4  # features are 4x4 patches


@dataclass(frozen=True)
class Shapes:
    """Images (n, 3, side, side) in [0, 1]: a circle, square, triangle or cross of any colour, size and place.

    The background is a texture of coloured stripes, so colour and contrast alone are not informative. The mask is the
    shape. With `grid` 2 or more the images to explain are mosaics of grid x grid images: one cell shows the labelled
    class, all others show other classes, and the mask is the labelled cell. This is the grid pointing game; explain it
    with target=label. The model still trains on single images, so it must accept images of any size.

    side: side of a single image. grid: images along a side of a mosaic; 1 = no mosaic. n (to explain), train, seed.
    """

    side: int = 32
    grid: int = 1
    n: int = 200
    train: int = 1600
    seed: int = 0

    def __post_init__(self) -> None:
        if self.side < 16 or self.side % PATCH:
            raise ValueError(f"side: expected a multiple of {PATCH} from 16 on, got {self.side}")
        if self.grid < 1:
            raise ValueError(f"grid: expected 1 or more images along a side, got {self.grid}")

    def load(self) -> Dataset:
        random = torch.Generator().manual_seed(self.seed)
        labels = torch.arange(self.n + self.train) % len(CLASSES)
        images, masks = single(labels, self.side, random)
        data = self._made("shapes", images, masks, labels).dataset()
        if self.grid == 1:
            return data
        mosaics, cells = self._mosaics(labels[: self.n], random)
        return self._made(f"shapes_grid{self.grid}", mosaics, cells, labels[: self.n], data.train).dataset()

    def _made(
        self, name: str, images: Tensor, masks: Tensor, labels: Tensor, learned: Callable[[], Split] | None = None
    ) -> Generated:
        side = images.shape[-1]
        return Generated(
            name=name,
            modality="image",
            classes=CLASSES,
            inputs=images,
            labels=labels,
            n=self.n,
            origin="coloured shapes on striped textures, drawn by xbench",
            masks=masks,
            learned=learned,
            further={
                "baseline": torch.full((1, 3, side, side), 0.5),
                "features": patches(3, side, side, PATCH),
                "value_range": (0.0, 1.0),
            },
        )

    def _mosaics(self, labels: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mosaics (n, 3, S, S) and the masks of the labels' cells (n, 1, S, S)."""
        cells = self.grid**2
        place = torch.randint(cells, (len(labels),), generator=random)
        other = torch.randint(1, len(CLASSES), (len(labels), cells), generator=random)
        kinds = (labels[:, None] + other) % len(CLASSES)  # any class but the label's
        kinds.scatter_(1, place[:, None], labels[:, None])
        images, _ = single(kinds.flatten(), self.side, random)
        mask = torch.zeros(len(labels), cells, 1, self.side, self.side, dtype=torch.bool)
        mask[torch.arange(len(labels)), place] = True
        return self._joined(images.unflatten(0, (-1, cells))), self._joined(mask)

    def _joined(self, tiles: Tensor) -> Tensor:
        """(n, grid * grid, C, side, side) as (n, C, grid * side, grid * side)."""
        n, _, channels = tiles.shape[:3]
        rows: Tensor = tiles.unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 4, 2, 5)
        return rows.reshape(n, channels, self.grid * self.side, self.grid * self.side)


def single(labels: Tensor, side: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (n, 3, side, side) of the labels' shapes, and masks (n, 1, side, side) of the shapes' pixels."""
    n = len(labels)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *shape, 1, 1, generator=random)

    y, x = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    angle, wave = uniform(0, torch.pi, 3), uniform(0.3, 1.2, 3)
    stripes = (x * angle.cos() + y * angle.sin()) * wave + uniform(0, 6, 3)
    texture = uniform(0.2, 0.8, 3) + 0.2 * stripes.sin()
    radius = uniform(0.15, 0.28) * side
    centre_y, centre_x = (radius + torch.rand(radius.shape, generator=random) * (side - 2 * radius) for _ in range(2))
    right, down = (x - centre_x) / radius, (y - centre_y) / radius
    mask = torch.stack(forms(right, down, arm=0.3), dim=1)[torch.arange(n), labels].unsqueeze(1)  # (n, 1, side, side)
    images = torch.where(mask, uniform(0, 1, 3), texture) + 0.03 * torch.randn(n, 3, side, side, generator=random)
    return images.clamp(0, 1), mask


def forms(right: Tensor, down: Tensor, arm: float) -> list[Tensor]:
    """The masks of CLASSES, from distances to the centre in units of the size; `arm`: half the width of a cross."""
    return [
        right**2 + down**2 <= 1,
        (right.abs() <= 0.85) & (down.abs() <= 0.85),
        (down <= 0.8) & (down >= 2 * right.abs() - 1),
        ((right.abs() <= arm) | (down.abs() <= arm)) & (right.abs() <= 1) & (down.abs() <= 1),
    ]
