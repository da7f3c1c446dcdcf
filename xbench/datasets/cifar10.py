"""CIFAR-10 from its published binary files."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xbench.datasets.cache import cache_directory, data_directory
from xbench.datasets.decoding import open_image, reading
from xbench.datasets.found import Wanted, open_zip, read_tar
from xbench.datasets.images import image_dataset
from xbench.datasets.record import Dataset, mixed_order

log = logging.getLogger("xbench")

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class CIFAR10:
    """CIFAR-10: 32x32 colour images; the 10,000 test images are explained.

    Reads the published binary files (cifar-10-batches-bin/, no pickles) from cifar10/ in the data directory, else
    downloads them. If only test_200_per_class_jpg.zip (JPEGs in a folder per class) is present, a fifth of these images
    is explained and the others train the model; the data set's name then says so.
    Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
    """

    data_dir: str | None = None

    def load(self) -> Dataset:
        origin = "CIFAR-10 (Krizhevsky 2009)"
        roots = [Path(self.data_dir)] if self.data_dir else [data_directory(), cache_directory() / "data"]
        for folder in (root / "cifar10" for root in roots):
            if (folder / "cifar-10-batches-bin" / "test_batch.bin").is_file():
                inside = folder / "cifar-10-batches-bin"
                return self._batches({path.name: path.read_bytes() for path in inside.glob("*.bin")}, inside, origin)
            if (folder / "test_200_per_class_jpg.zip").is_file():
                return self._jpegs(folder / "test_200_per_class_jpg.zip", origin)
        path = _CIFAR_FILE.find(self.data_dir)
        content = {Path(name).name: values for name, values in read_tar(path).items()}
        return self._batches(content, path, origin)

    def _batches(self, content: Mapping[str, bytes], place: Path, origin: str) -> Dataset:
        names = ["test_batch.bin", *(f"data_batch_{i}.bin" for i in range(1, 6))]
        absent = [name for name in names if name not in content]
        if absent:
            raise ValueError(f"{place} has no {', '.join(absent)}")
        test, *train = (_batch(content[name], place) for name in names)
        images, labels = (torch.cat(parts) for parts in zip(*train, strict=True))
        return image_dataset("cifar10", CIFAR, test[0], test[1], images, labels, origin)

    def _jpegs(self, path: Path, origin: str) -> Dataset:
        images, labels = [], []
        with open_zip(path) as archive:
            for name in sorted(name for name in archive.namelist() if name.endswith(".jpg")):
                with reading(f"{path}, {name}"), open_image(io.BytesIO(archive.read(name))) as image:
                    images.append(np.asarray(image.convert("RGB")))
                labels.append(CIFAR.index(name.split("/")[-2]))
        log.warning("cifar10: only %d images were found (%s): a fifth of them is explained", len(images), path.name)
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        numbers = torch.tensor(labels)
        order = mixed_order(labels, [image.numpy().tobytes() for image in pixels])
        test, train = order[: len(order) // 5], order[len(order) // 5 :]
        return image_dataset(
            "cifar10-jpeg", CIFAR, pixels[test], numbers[test], pixels[train], numbers[train], f"{origin}, 2,000 JPEGs"
        )


def _batch(content: bytes, place: Path) -> tuple[Tensor, Tensor]:
    """Images and labels from rows of one label and 3 x 32 x 32 values."""
    if len(content) % 3073:
        raise ValueError(f"{place}: a batch of CIFAR-10 is cut off ({len(content)} bytes)")
    rows = torch.from_numpy(np.frombuffer(content, dtype=np.uint8).reshape(-1, 3073).copy())
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].to(torch.int64)


_CIFAR_FILE = Wanted(
    "cifar10/cifar-10-binary.tar.gz",
    "the published archive of binary files",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
