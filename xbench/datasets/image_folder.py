"""A folder of images per class."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from xbench.datasets.folders import Folder
from xbench.datasets.images import patches


@dataclass(frozen=True)
class ImageFolder(Folder):
    """Images in a folder per class (ImageNet's layout): the shorter side resized to `side`, the middle cut out.

    Grey images get three channels and transparent ones a white ground. Black is the baseline; squares of a fourteenth
    of the side are features.
    """

    endings: ClassVar[tuple[str, ...]] = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
    kind: ClassVar[str] = "image"
    modality: ClassVar[str] = "image"

    side: int = 224

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, self.side, self.side)

    def check(self, content: bytes) -> None:
        try:
            with Image.open(io.BytesIO(content)) as image:
                image.verify()
        except UnidentifiedImageError as error:
            raise ValueError("it is no image that Pillow knows" if content else "it is empty") from error

    def decode(self, content: bytes) -> Tensor:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                shown = image.convert("RGBA")
                ground = Image.new("RGBA", shown.size, "white")
                picture = Image.alpha_composite(ground, shown).convert("RGB")
            else:
                picture = image.convert("RGB")
        scale = self.side / min(picture.size)
        size = [max(self.side, round(length * scale)) for length in picture.size]
        picture = picture.resize((size[0], size[1]), Image.Resampling.BILINEAR)
        left, top = (size[0] - self.side) // 2, (size[1] - self.side) // 2
        picture = picture.crop((left, top, left + self.side, top + self.side))
        return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255

    def features(self) -> Tensor:
        return patches(3, self.side, self.side, -(-self.side // 14))
