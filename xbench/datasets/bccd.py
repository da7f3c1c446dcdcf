"""BCCD: photographs of blood with bounding boxes of the cells."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xbench.datasets.decoding import open_image, reading
from xbench.datasets.found import Wanted, open_zip
from xbench.datasets.images import image_dataset
from xbench.datasets.record import Dataset


@dataclass(frozen=True)
class BCCD:
    """BCCD: photographs of blood; the class says whether platelets are visible, the mask is their bounding boxes.

    Source: Shenggan et al., "BCCD Dataset", https://github.com/Shenggan/BCCD_Dataset (Pascal VOC layout); the samples
    of its test and validation lists are explained, those of its training list train the model.

    height: rows of the photographs after resizing, from 480 x 640. data_dir: holds bccd/bccd_voc.zip.
    """

    height: int = 96
    data_dir: str | None = None

    def load(self) -> Dataset:
        path = _BCCD_FILE.find(self.data_dir)
        with open_zip(path) as archive:
            sets = "BCCD/ImageSets/Main"
            test = [n for part in ("test", "val") for n in archive.read(f"{sets}/{part}.txt").decode().split()]
            train = archive.read(f"{sets}/train.txt").decode().split()
            (images, masks), (further, others) = (self._read(archive, names) for names in (test, train))
        labels, targets = (m.flatten(1).any(1).to(torch.int64) for m in (masks, others))
        return image_dataset(
            "bccd", ("no platelets", "platelets"), images, labels, further, targets, "BCCD, photographs of blood", masks
        )

    def _read(self, archive: zipfile.ZipFile, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        from PIL import Image

        width = self.height * 4 // 3
        images, masks = [], torch.zeros(len(names), 1, self.height, width, dtype=torch.bool)
        for row, name in enumerate(names):
            file = f"BCCD/JPEGImages/{name}.jpg"
            with reading(f"{archive.filename}, {file}"), open_image(io.BytesIO(archive.read(file))) as image:
                picture = image.convert("RGB")
            scale = self.height / picture.height
            images.append(np.asarray(picture.resize((width, self.height), Image.Resampling.BOX)))
            for thing in ElementTree.fromstring(archive.read(f"BCCD/Annotations/{name}.xml")).iter("object"):
                if thing.findtext("name") == "Platelets":
                    left, top, right, bottom = (
                        int(float(thing.findtext(f"bndbox/{side}") or 0) * scale)
                        for side in ("xmin", "ymin", "xmax", "ymax")
                    )
                    masks[row, 0, top : bottom + 1, left : right + 1] = True
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), masks


_BCCD_FILE = Wanted("bccd/bccd_voc.zip", "a zip of BCCD/JPEGImages, BCCD/Annotations and BCCD/ImageSets")
