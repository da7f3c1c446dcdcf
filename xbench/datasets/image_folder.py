"""A folder of images per class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xbench.datasets.decoding import open_image
from xbench.datasets.folders import Folder
from xbench.modalities.parts.groups import patches


@dataclass(frozen=True)
class ImageFolder(Folder):
    """Images in a folder per class (ImageNet's layout): the shorter side is resized to `side`, the centre is cropped.

    Grey images are converted to three channels; transparent images get a white background. The baseline is black; the
    features are squares of a fourteenth of the side.
    """

    endings: ClassVar[tuple[str, ...]] = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
    kind: ClassVar[str] = "image"
    modality: ClassVar[str] = "image"

    side: int = 224

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, self.side, self.side)

    def check(self, path: Path) -> None:
        if not path.stat().st_size:
            raise ValueError("it is empty")
        with open_image(path, self.max_pixels) as image:
            self._resized(image)
            image.verify()

    def decode(self, path: Path) -> Tensor:
        with open_image(path, self.max_pixels) as image:
            size = self._resized(image)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                shown = image.convert("RGBA")
                ground = Image.new("RGBA", shown.size, "white")
                picture = Image.alpha_composite(ground, shown).convert("RGB")
            else:
                picture = image.convert("RGB")
        picture = picture.resize(size, Image.Resampling.BILINEAR)
        left, top = (size[0] - self.side) // 2, (size[1] - self.side) // 2
        picture = picture.crop((left, top, left + self.side, top + self.side))
        return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255

    def _resized(self, image: Any) -> tuple[int, int]:  # noqa: ANN401  (an image of Pillow)
        """The size after resizing the shorter side to `side`. Raises ValueError if that gives too many pixels."""
        scale = self.side / min(image.size)
        width, height = (max(self.side, round(length * scale)) for length in image.size)
        if width * height > self.max_pixels:
            raise ValueError(
                f"it has {image.width} x {image.height} pixels, which resized to {self.side} on the shorter side are "
                f"{width} x {height}, and at most {self.max_pixels:,} are made; cut it, or raise dataset.max_pixels"
            )
        return width, height

    def features(self) -> Tensor:
        return patches(3, self.side, self.side, -(-self.side // 14))
