"""Well-known images: their published files, what is made of a part of them, and what is said of damaged ones."""

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xbench.config.compose import component
from xbench.datasets.record import Dataset

REAL = os.environ.get("XBENCH_DATA")
NUMBERS = np.random.default_rng(0)


def idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = np.array([2048 + values.ndim, *values.shape], dtype=">i4").tobytes()
    path.write_bytes(gzip.compress(head + values.astype(np.uint8).tobytes()))


def mnist(folder: Path, parts: dict[str, int]) -> None:
    for part, n in parts.items():
        idx(folder / f"{part}-images-idx3-ubyte.gz", NUMBERS.integers(0, 256, (n, 28, 28)))
        idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(n) % 10)


def load(name: str, root: Path, *more: str) -> Dataset:
    return component("dataset", name, [f"data_dir={root}", *more]).load()


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "mnist"), ("mnist", "MNIST/raw"), ("fashion_mnist", "fashion_mnist")]
)
def test_the_four_published_files(name: str, folder: str, tmp_path: Path) -> None:
    mnist(tmp_path / folder, {"train": 30, "t10k": 20})
    data = load(name, tmp_path)
    assert (data.name, len(data.test), len(data.train()), len(data.classes)) == (name, 20, 30, 10)
    assert data.test.inputs.shape == (20, 1, 28, 28)
    assert data.test.inputs.max() <= 1
    assert len(data.features.unique()) == 49


def test_test_images_alone_are_split_and_named_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mnist(tmp_path / "mnist", {"t10k": 50})
    data = load("mnist", tmp_path)
    assert (data.name, len(data.test), len(data.train())) == ("mnist-t10k", 10, 40)
    assert "only 50 images were found" in caplog.text


def test_the_picture_of_fashion(tmp_path: Path) -> None:
    (tmp_path / "fashion_mnist").mkdir()
    rows = np.arange(30).repeat(28)[:, None].repeat(840, axis=1)  # every tile has its row's number
    Image.fromarray(rows.astype(np.uint8)).convert("RGBA").save(tmp_path / "fashion_mnist" / "fashion-mnist-sprite.png")
    data = load("fashion_mnist", tmp_path)
    assert (data.name, len(data.test), len(data.train())) == ("fashion_mnist-sprite", 180, 720)
    rows_of = (data.test.inputs[:, 0, 0, 0] * 255).round().long()
    assert torch.equal(rows_of // 3, data.test.targets)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip", "is damaged"),
        (gzip.compress(b"\0" * 40), "is no IDX file of 3 dimensions, or it is cut off"),
    ],
    ids=["no gzip", "cut off"],  # gzip writes the time of day, and every test process must know a test by one name
)
def test_damaged_files_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    mnist(tmp_path / "mnist", {"t10k": 5})
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(ValueError, match=f"t10k-images-idx3-ubyte.gz {message}"):
        load("mnist", tmp_path)


def test_images_and_labels_must_be_as_many(tmp_path: Path) -> None:
    mnist(tmp_path / "mnist", {"t10k": 5})
    idx(tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz", np.arange(4))
    with pytest.raises(ValueError, match="5 t10k images, but 4 labels"):
        load("mnist", tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "bccd", "eraser_movies"])
def test_missing_files_say_what_to_put_where(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{name}/.* is missing: put it at {tmp_path}"):
        load(name, tmp_path)


def _batch(n: int) -> bytes:
    rows = np.concatenate([np.arange(n)[:, None] % 10, NUMBERS.integers(0, 256, (n, 3072))], axis=1)
    return rows.astype(np.uint8).tobytes()


@pytest.mark.parametrize("packed", [False, True])
def test_cifar_in_its_binary_files(packed: bool, tmp_path: Path) -> None:
    folder = tmp_path / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name in ["test_batch", *(f"data_batch_{i}" for i in range(1, 6))]:
        (folder / f"{name}.bin").write_bytes(_batch(10))
    if packed:
        with tarfile.open(folder.parent / "cifar-10-binary.tar.gz", "w:gz") as archive:
            archive.add(folder, "cifar-10-batches-bin")
        for path in folder.iterdir():
            path.unlink()
    data = load("cifar10", tmp_path)
    assert (data.name, len(data.test), len(data.train())) == ("cifar10", 10, 50)
    assert data.test.inputs.shape == (10, 3, 32, 32)


def test_a_batch_that_is_cut_off_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "test_batch.bin").write_bytes(b"1234")
    with pytest.raises(ValueError, match="has no data_batch_1.bin, data_batch_2.bin"):
        load("cifar10", tmp_path)
    for i in range(1, 6):
        (folder / f"data_batch_{i}.bin").write_bytes(_batch(2))
    with pytest.raises(ValueError, match=r"a batch of CIFAR-10 is cut off \(4 bytes\)"):
        load("cifar10", tmp_path)


def _photograph(archive: zipfile.ZipFile, name: str, boxes: list[tuple[str, int]]) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (640, 480), "pink").save(picture, "JPEG")
    archive.writestr(f"BCCD/JPEGImages/{name}.jpg", picture.getvalue())
    corners = "<xmin>{1}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{2}</ymax>"
    box = f"<object><name>{{0}}</name><bndbox>{corners}</bndbox></object>"
    things = "".join(box.format(kind, at, at + 50) for kind, at in boxes)
    archive.writestr(f"BCCD/Annotations/{name}.xml", f"<annotation>{things}</annotation>")


def test_platelets_are_known_by_their_boxes(tmp_path: Path) -> None:
    (tmp_path / "bccd").mkdir()
    with zipfile.ZipFile(tmp_path / "bccd" / "bccd_voc.zip", "w") as archive:
        for part, names in {"test": ["a"], "val": ["b"], "train": ["c", "d"]}.items():
            archive.writestr(f"BCCD/ImageSets/Main/{part}.txt", "\n".join(names) + "\n")
        for name in "abcd":
            _photograph(archive, name, [("RBC", 300), *([("Platelets", 100)] if name in "ac" else [])])
    data = load("bccd", tmp_path, "height=48")
    assert sorted(data.test.targets.tolist()) == [0, 1]
    with_platelets = int(data.test.targets.argmax())
    marked = data.test.masks[with_platelets, 0]
    assert marked[10:16, 10:16].all()  # 100 to 150 of 480 rows, a tenth as large
    assert marked.sum() == 36
    assert not data.test.masks[1 - with_platelets].any()


@pytest.mark.skipif(REAL is None, reason="XBENCH_DATA names no folder of real data")
@pytest.mark.parametrize(
    ("name", "called", "n"),
    [
        ("mnist", "mnist-t10k", 2000),
        ("fashion_mnist", "fashion_mnist-sprite", 180),
        ("cifar10", "cifar10-jpeg", 400),
        ("bccd", "bccd", 159),
    ],
)
def test_the_real_files(name: str, called: str, n: int) -> None:
    data = load(name, Path(str(REAL)))
    assert (data.name, len(data.test)) == (called, n)
