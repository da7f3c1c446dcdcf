"""Well-known images in their published files: MNIST, Fashion-MNIST, CIFAR-10, and blood cells with boxes."""

from __future__ import annotations

import gzip
import io
import logging
import tarfile
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xbench.datasets.cache import cache_directory, data_directory
from xbench.datasets.found import Wanted, fingerprint
from xbench.datasets.record import Dataset, Split, mixed_order

log = logging.getLogger("xbench")

PARTS = ("train", "t10k")
FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class MNIST:
    """MNIST or Fashion-MNIST: 28x28 grey images; the published test images are explained.

    The four published gzip files are taken from FOLDER/ below the data directory (also FOLDER/raw/, torchvision's
    layout), else downloaded. Where only the test images are (or for fashion the picture of 900 of them that its
    authors show), a fifth of these is explained and the others are for training; the name then says so.
    Source: LeCun, Cortes, Burges, http://yann.lecun.com/exdb/mnist; Xiao, Rasul, Vollgraf 2017 (arXiv 1708.07747).

    fashion: Fashion-MNIST. data_dir: holds mnist/ or fashion_mnist/.
    """

    fashion: bool = False
    data_dir: str | None = None

    def load(self) -> Dataset:
        """Raises FileNotFoundError, or ValueError when a file is damaged."""
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


def image_dataset(
    name: str, classes: Sequence[str], images: Tensor, labels: Tensor, train: Tensor, targets: Tensor, origin: str,
    masks: Tensor | None = None,
) -> Dataset:  # fmt: skip
    """From uint8 images (n, C, H, W) to explain and to train on; black is the baseline, 4x4 patches are features."""
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
            *(tensor.contiguous().numpy().tobytes() for tensor in (images, labels, train, targets)), repr(name).encode()
        ),
        origin=origin,
        baseline=torch.zeros(1, *images.shape[1:]),
        features=patches(*images.shape[1:]),
        value_range=(0.0, 1.0),
    )


def patches(channels: int, height: int, width: int, side: int = 4) -> Tensor:
    """(1, channels, height, width) int64: the number of the square of `side` pixels that a pixel lies in."""
    number = (torch.arange(height) // side)[:, None] * -(-width // side) + torch.arange(width) // side
    return number.expand(1, channels, height, width).contiguous()


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
    """An IDX file of bytes: a magic number, the sizes, the values."""
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
    from PIL import Image

    grey = np.asarray(Image.open(path).convert("RGB"))[..., 0]
    if grey.shape != (840, 840):
        raise ValueError(f"{path} should be 840 x 840 pixels, got {grey.shape}")
    tiles = torch.from_numpy(grey.copy()).reshape(30, 28, 30, 28).transpose(1, 2).reshape(900, 1, 28, 28)
    return tiles.contiguous(), (torch.arange(900) // 30) // 3


@dataclass(frozen=True)
class CIFAR10:
    """CIFAR-10: 32x32 colour images; the 10,000 test images are explained.

    Takes the published binary files (cifar-10-batches-bin/, no pickles) from cifar10/ below the data directory, else
    downloads them. Where only test_200_per_class_jpg.zip (JPEGs in a folder per class) is, a fifth of these is
    explained and the others are for training; the name then says so.
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
        with tarfile.open(path) as archive:
            content = {Path(m.name).name: _member(archive, m) for m in archive.getmembers() if m.name.endswith(".bin")}
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
        from PIL import Image

        images, labels = [], []
        with zipfile.ZipFile(path) as archive:
            for name in sorted(name for name in archive.namelist() if name.endswith(".jpg")):
                images.append(np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")))
                labels.append(CIFAR.index(name.split("/")[-2]))
        log.warning("cifar10: only %d images were found (%s): a fifth of them is explained", len(images), path.name)
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        numbers = torch.tensor(labels)
        order = mixed_order(labels, [image.numpy().tobytes() for image in pixels])
        test, train = order[: len(order) // 5], order[len(order) // 5 :]
        return image_dataset(
            "cifar10-jpeg", CIFAR, pixels[test], numbers[test], pixels[train], numbers[train], f"{origin}, 2,000 JPEGs"
        )


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def _batch(content: bytes, place: Path) -> tuple[Tensor, Tensor]:
    """Rows of a label and 3 x 32 x 32 values."""
    if len(content) % 3073:
        raise ValueError(f"{place}: a batch of CIFAR-10 is cut off ({len(content)} bytes)")
    rows = torch.from_numpy(np.frombuffer(content, dtype=np.uint8).reshape(-1, 3073).copy())
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].to(torch.int64)


@dataclass(frozen=True)
class BCCD:
    """BCCD: photographs of blood with boxes around cells; does one show platelets? The mask is their boxes.

    Source: Shenggan et al., "BCCD Dataset", https://github.com/Shenggan/BCCD_Dataset (Pascal VOC layout); its test
    and validation lists are explained, its training list is for training.

    height: rows that the photographs of 480 x 640 are reduced to. data_dir: holds bccd/bccd_voc.zip.
    """

    height: int = 96
    data_dir: str | None = None

    def load(self) -> Dataset:
        path = _BCCD_FILE.find(self.data_dir)
        with zipfile.ZipFile(path) as archive:
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
            picture = Image.open(io.BytesIO(archive.read(f"BCCD/JPEGImages/{name}.jpg"))).convert("RGB")
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


_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist"
_FASHION_SITE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_WHAT = "the published gzip file"
_MNIST_FILES = [
    Wanted(f"mnist/{name}", _WHAT, f"{_MIRROR}/{name}", sha256)
    for name, sha256 in {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    }.items()
]
_FASHION_FILES = [
    Wanted(f"fashion_mnist/{name}", _WHAT, f"{_FASHION_SITE}/{name}", sha256)
    for name, sha256 in {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    }.items()
]
_CIFAR_FILE = Wanted(
    "cifar10/cifar-10-binary.tar.gz",
    "the published archive of binary files",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
_BCCD_FILE = Wanted("bccd/bccd_voc.zip", "a zip of BCCD/JPEGImages, BCCD/Annotations and BCCD/ImageSets")
