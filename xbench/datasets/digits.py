"""Handwritten digits: 1,797 real 8x8 images that come with scikit-learn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xbench.datasets.record import Dataset, Split, mixed_order
from xbench.modalities.parts.groups import patches

TEST_SIZE = 500
SIDE = 8
PATCH = 2  # features are 2x2 patches: 16 of them
HIGHEST = 16.0  # grey levels are 0..16 in the source


@dataclass(frozen=True)
class Digits:
    """Handwritten digits: inputs (n, 1, 8, 8) in [0, 1], 1,297 to train on and 500 to explain.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49 (the 1,797 test images, as scikit-learn bundles them).
    The split depends on the images alone: no random number generator is involved.
    """

    def load(self) -> Dataset:
        images, labels = _images()
        order = mixed_order(labels.tolist(), [image.tobytes() for image in images.numpy()])
        test, train = order[:TEST_SIZE], order[TEST_SIZE:]
        content = hashlib.sha256(b"digits-1")
        for rows in (train, test):
            content.update(images[rows].numpy().tobytes())
            content.update(labels[rows].numpy().tobytes())
        return Dataset(
            name="digits",
            modality="image",
            classes=tuple("0123456789"),
            test=_split("test", images, labels, test),
            train=lambda: _split("train", images, labels, train),
            fingerprint=content.hexdigest(),
            origin="handwritten digits (8x8) bundled with scikit-learn (UCI, Alpaydin and Kaynak 1998)",
            baseline=torch.zeros(1, 1, SIDE, SIDE),
            features=patches(1, SIDE, SIDE, PATCH),
            value_range=(0.0, 1.0),
        )


def _images() -> tuple[Tensor, Tensor]:
    # Importing scikit-learn for a four-line reader would add a second to the start of every command.
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    table = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images = torch.from_numpy(table[:, :-1]).to(torch.float32).div(HIGHEST).reshape(-1, 1, SIDE, SIDE)
    return images.contiguous(), torch.from_numpy(table[:, -1]).to(torch.int64)


def _split(part: str, images: Tensor, labels: Tensor, rows: list[int]) -> Split:
    """The split of these rows; ids are rows of scikit-learn's file, so they survive a change of the split's size."""
    return Split(tuple(f"{part}-{row:05d}" for row in rows), images[rows], labels[rows], None)
