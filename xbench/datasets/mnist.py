"""MNIST and Fashion-MNIST from their published files."""

from __future__ import annotations

import gzip
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xbench.datasets.cache import cache_directory, data_directory
from xbench.datasets.decoding import open_image, reading
from xbench.datasets.found import Wanted
from xbench.datasets.images import image_dataset
from xbench.datasets.record import Dataset, mixed_order

log = logging.getLogger("xbench")

PARTS = ("train", "t10k")
FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


@dataclass(frozen=True)
class MNIST:
    """MNIST or Fashion-MNIST: 28x28 grey images; the published test images are explained.

    The four published gzip files are read from FOLDER/ in the data directory (or FOLDER/raw/, torchvision's layout),
    else downloaded. If only the test images are present (or, for fashion, the authors' picture of 900 images), a fifth
    of these is explained and the others train the model; the data set's name then says so.
    Source: LeCun, Cortes, Burges, http://yann.lecun.com/exdb/mnist; Xiao, Rasul, Vollgraf 2017 (arXiv 1708.07747).

    fashion: Fashion-MNIST. data_dir: holds mnist/ or fashion_mnist/.
    """

    fashion: bool = False
    data_dir: str | None = None

    def load(self) -> Dataset:
        """Raises FileNotFoundError, or ValueError if a file is damaged."""
        folder = self._folder()
        sprite = folder / "fashion-mnist-sprite.png"
        if _complete(folder):
            (images, labels), (train, targets) = _idx(folder, "t10k"), _idx(folder, "train")
            return self._dataset("", images, labels, train, targets)
        if (folder / "t10k-images-idx3-ubyte.gz").is_file():
            return self._part("t10k", *_idx(folder, "t10k"))
        if self.fashion and sprite.is_file():
            return self._part("sprite", *_tiles(sprite))
        raise FileNotFoundError(f"{folder} holds neither the four files of {self._name} nor a part of them")

    @property
    def _name(self) -> str:
        return "fashion_mnist" if self.fashion else "mnist"

    def _folder(self) -> Path:
        roots = [Path(self.data_dir)] if self.data_dir else [data_directory(), cache_directory() / "data"]
        known = ["fashion_mnist", "FashionMNIST/raw"] if self.fashion else ["mnist", "MNIST/raw"]
        places = [root / folder for root in roots for folder in known]
        for place in places:
            if (place / "t10k-images-idx3-ubyte.gz").is_file() or (place / "fashion-mnist-sprite.png").is_file():
                return place
        files = _FASHION_FILES if self.fashion else _MNIST_FILES
        found = [wanted.find(self.data_dir) for wanted in files]
        return found[0].parent

    def _part(self, part: str, images: Tensor, labels: Tensor) -> Dataset:
        log.warning(
            "%s: only %d images were found (%s): a fifth of them is explained, the others are for training",
            self._name, len(images), part,
        )  # fmt: skip
        order = mixed_order(labels.tolist(), [image.numpy().tobytes() for image in images])
        cut = len(order) // 5
        test, train = order[:cut], order[cut:]
        return self._dataset(f"-{part}", images[test], labels[test], images[train], labels[train])

    def _dataset(self, part: str, images: Tensor, labels: Tensor, train: Tensor, targets: Tensor) -> Dataset:
        classes = FASHION if self.fashion else tuple("0123456789")
        origin = "Fashion-MNIST (Xiao et al. 2017)" if self.fashion else "MNIST (LeCun, Cortes, Burges)"
        return image_dataset(self._name + part, classes, images, labels, train, targets, origin)


def _complete(folder: Path) -> bool:
    names = [f"{part}-{kind}" for part in PARTS for kind in ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz")]
    return all((folder / name).is_file() for name in names)


def _idx(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Images (n, 1, rows, columns) uint8 and labels (n,) of one part."""
    images = _read_idx(folder / f"{part}-images-idx3-ubyte.gz", 3)
    labels = _read_idx(folder / f"{part}-labels-idx1-ubyte.gz", 1)
    if len(images) != len(labels):
        raise ValueError(f"{folder}: {len(images)} {part} images, but {len(labels)} labels")
    if labels.max() > 9:
        raise ValueError(f"{folder}: a label of the {part} part is {int(labels.max())}, not 0 to 9")
    return images[:, None], labels.to(torch.int64)


def _read_idx(path: Path, dims: int) -> Tensor:
    """Read an IDX file of bytes: a magic number, the sizes, the values."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    head = np.frombuffer(content[: 4 * (dims + 1)], dtype=">i4")
    if len(head) != dims + 1 or head[0] != 2048 + dims or len(content) != 4 * (dims + 1) + np.prod(head[1:]):
        raise ValueError(f"{path} is no IDX file of {dims} dimensions, or it is cut off")
    return torch.from_numpy(np.frombuffer(content, dtype=np.uint8, offset=4 * (dims + 1)).reshape(head[1:]).copy())


def _tiles(path: Path) -> tuple[Tensor, Tensor]:
    """The 900 images of Fashion-MNIST's picture: 30 x 30 tiles, three rows per class."""
    with reading(path), open_image(path) as image:
        grey = np.asarray(image.convert("RGB"))[..., 0]
    if grey.shape != (840, 840):
        raise ValueError(f"{path} should be 840 x 840 pixels, got {grey.shape}")
    tiles = torch.from_numpy(grey.copy()).reshape(30, 28, 30, 28).transpose(1, 2).reshape(900, 1, 28, 28)
    return tiles.contiguous(), (torch.arange(900) // 30) // 3


def _published(folder: str, site: str, sums: dict[str, str]) -> list[Wanted]:
    return [Wanted(f"{folder}/{name}", "the published gzip file", f"{site}/{name}", sha) for name, sha in sums.items()]


_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist"
_FASHION_SITE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_MNIST_FILES = _published(
    "mnist",
    _MIRROR,
    {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
)
_FASHION_FILES = _published(
    "fashion_mnist",
    _FASHION_SITE,
    {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
)
