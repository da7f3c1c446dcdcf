"""Folders of images and clips: what is read, when, and what is said of files that cannot be."""

import gc
import os
import sys
import threading
import weakref
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from xbench.__main__ import main
from xbench.config.compose import component
from xbench.datasets.folders import Files
from xbench.datasets.image_folder import ImageFolder
from xbench.datasets.record import Dataset
from xbench.engine.rewrites.choice import TRIED
from xbench.run.block import Block
from xbench.run.cells import Cell
from xbench.run.result import CellResult

REAL = os.environ.get("XBENCH_DATA")


def images(root: Path, n: int = 5) -> Path:
    for label, colour in (("cat", (250, 10, 10)), ("dog", (10, 10, 250))):
        (root / label).mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", (40 + i, 30), colour).save(root / label / f"{i}.png")
    return root


def load(root: Path, *more: str, name: str = "image_folder") -> Dataset:
    return component("dataset", name, [f"path={root}", "side=28", *more]).load()


def test_a_folder_per_class(tmp_path: Path) -> None:
    data = load(images(tmp_path / "pets"))
    assert (data.name, data.classes, len(data.test), len(data.train())) == ("pets", ("cat", "dog"), 2, 8)
    assert isinstance(data.test.inputs, Files)
    block = data.test.subset([0, 1])
    assert block.inputs.shape == (2, 3, 28, 28)
    red = block.inputs.read()[:, 0].mean((1, 2)) > 0.5
    assert red.tolist() == (block.targets == 0).tolist()
    assert len(data.features.unique()) == 14 * 14


def test_the_published_split_is_kept(tmp_path: Path) -> None:
    images(tmp_path / "pets" / "train")
    images(tmp_path / "pets" / "val", n=2)
    data = load(tmp_path / "pets")
    assert (len(data.test), len(data.train())) == (4, 10)


def test_files_are_read_when_their_block_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, read = images(tmp_path / "pets"), []
    decode = ImageFolder.decode
    monkeypatch.setattr(ImageFolder, "decode", lambda self, content: read.append(1) or decode(self, content))
    data = load(root)
    assert not read
    block = data.train().subset([0, 1, 2])
    assert not read
    assert block.inputs.read().shape == (3, 3, 28, 28)
    assert len(read) == 3


@pytest.mark.slow
def test_a_command_reads_the_files_of_a_block_when_it_comes_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, most = images(tmp_path / "pets", n=40), []
    read = Files.read
    monkeypatch.setattr(Files, "read", lambda self: most.append(len(self)) or read(self))
    monkeypatch.chdir(tmp_path)
    given = [f"dataset.path={root}", "dataset.side=16", "model.size=32", "run.block=3", "display=none", "metric=[]"]
    common = ["dataset=image_folder", "algorithm=[saliency]", "controls=false", *given]
    monkeypatch.setattr(sys, "argv", ["xbench", *common, "plan=true"])
    assert main() == 0
    planned = len(most)
    monkeypatch.setattr(sys, "argv", ["xbench", *common])
    assert main() == 0
    assert max(most) == TRIED  # of 16 samples in blocks of three: the first, on which rewrites are tried
    assert planned <= 6  # of each block once: the first ones tell what algorithms lack
    read_before = len(most)
    assert main() == 0  # everything is stored
    assert most[read_before:] == [2]  # all is stored: a few samples tell whether data and model fit


@pytest.mark.slow
def test_the_next_block_is_read_while_this_one_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, order, begun = images(tmp_path / "pets", n=20), [], threading.Event()
    read, make = Files.read, Block.make

    def reading(self: Files) -> torch.Tensor:
        order.append(("read", self.files[0].name))
        if len([what for what, _ in order if what == "read"]) == 3:  # the first is the plan's, the second block 1
            begun.set()
        return read(self)

    def making(self: Block, unit: Cell, share: slice | None = None) -> CellResult:
        if unit.kind == "score" and self.split.ids[0] == order[0][1]:
            assert begun.wait(60)
        order.append((unit.kind, self.split.ids[0]))
        return make(self, unit, share)

    monkeypatch.setattr(Files, "read", reading)
    monkeypatch.setattr(Block, "make", making)
    monkeypatch.chdir(tmp_path)
    given = ["dataset=image_folder", f"dataset.path={root}", "dataset.side=16", "model.size=32", "display=none"]
    monkeypatch.setattr(sys, "argv", ["xbench", *given, "algorithm=[saliency]", "metric=infidelity", "run.block=3"])
    assert main() == 0
    firsts = [name for what, name in order if what == "samples"]
    assert len(firsts) == 3
    for name, following in pairwise(firsts):
        assert order.count(("read", following)) == 1
        assert order.index(("attribution", name)) < order.index(("read", following)) < order.index(("score", name))


@pytest.mark.slow
def test_a_block_is_gone_when_the_next_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, make = images(tmp_path / "pets", n=20), Block.make
    alive: dict[str, weakref.ref] = {}

    def making(self: Block, unit: Cell, share: slice | None = None) -> CellResult:
        made = make(self, unit, share)
        others = [ref() for name, ref in alive.items() if name != self.split.ids[0]]
        assert others == [None] * len(others)
        alive[self.split.ids[0]] = weakref.ref(self.prepared.explainer.subject)
        return made

    monkeypatch.setattr(Block, "make", making)
    monkeypatch.chdir(tmp_path)
    given = ["dataset=image_folder", f"dataset.path={root}", "dataset.side=16", "model.size=32", "display=none"]
    methods = "algorithm=[saliency,deeplift,gradcam,feature_ablation]"
    monkeypatch.setattr(sys, "argv", ["xbench", *given, methods, "metric=infidelity", "run.block=3"])
    gc.disable()  # nothing waits for the collector of cycles
    try:
        assert main() == 0
    finally:
        gc.enable()
    assert len(alive) == 3


def test_grey_and_transparent_images_are_shown_as_a_reader_sees_them(tmp_path: Path) -> None:
    root = images(tmp_path / "pets")
    Image.new("L", (30, 30), 128).save(root / "cat" / "grey.png")
    Image.new("RGBA", (30, 30), (255, 0, 0, 0)).save(root / "cat" / "glass.png")
    data = load(root)
    whole = {sample: (split, row) for split in (data.test, data.train()) for row, sample in enumerate(split.ids)}
    values = {}
    for name in ("grey", "glass"):
        split, row = whole[f"cat/{name}.png"]
        values[name] = split.subset([row]).inputs.read()
    torch.testing.assert_close(values["grey"], torch.full((1, 3, 28, 28), 128 / 255))
    assert (values["glass"] == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"), [(b"", "it is empty"), (b"GIF89a?", ""), (b"text", "no picture in JPEG, PNG")]
)
def test_an_unreadable_image_stops_or_is_left_out(
    content: bytes, message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = images(tmp_path / "pets")
    (root / "dog" / "torn.png").write_bytes(content)
    for _ in range(2):  # the second time what was found is remembered
        with pytest.raises(ValueError, match=f"torn.png cannot be read: .*{message}.*bad=skip"):
            load(root)
    data = load(root, "bad=skip")
    assert len(data.test) + len(data.train()) == 10
    assert "left out" in caplog.text


def test_a_changed_file_is_another_data_set(tmp_path: Path) -> None:
    root = images(tmp_path / "pets")
    before = load(root).fingerprint
    assert load(root).fingerprint == before
    Image.new("RGB", (44, 44), "green").save(root / "dog" / "0.png")
    assert load(root).fingerprint != before


def test_a_file_that_keeps_its_size_and_time_is_another_when_its_content_is(tmp_path: Path) -> None:
    root = images(tmp_path / "pets")
    path = root / "dog" / "bitmap.bmp"
    Image.new("RGB", (9, 9), "red").save(path)
    for colour, replaced in (("green", False), ("blue", True)):  # written to, and another file moved to its place
        before, old = load(root).fingerprint, path.stat()
        if replaced:
            path.unlink()
        Image.new("RGB", (9, 9), colour).save(path)
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (old.st_size, old.st_mtime_ns)
        assert load(root).fingerprint != before


def test_a_file_that_changes_after_it_was_hashed_is_refused(tmp_path: Path) -> None:
    data = load(images(tmp_path / "pets"))
    first = data.test.subset([0]).inputs
    first.read()
    Image.new("RGB", (44, 44), "green").save(tmp_path / "pets" / data.test.ids[0])
    with pytest.raises(ValueError, match=f"{data.test.ids[0]}.* changed while the command ran; run it again"):
        first.read()
    assert load(tmp_path / "pets").fingerprint != data.fingerprint


def test_a_file_that_went_bad_meanwhile_is_named(tmp_path: Path) -> None:
    data = load(images(tmp_path / "pets"))
    (tmp_path / "pets" / data.test.ids[0]).write_bytes(b"")
    with pytest.raises(ValueError, match=f"{data.test.ids[0]} cannot be read"):
        data.test.subset([0]).inputs.read()


def test_no_files_too_few_and_wrong_options(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no folders of images"):
        load(tmp_path)
    (tmp_path / "one" / "cat").mkdir(parents=True)
    Image.new("RGB", (30, 30)).save(tmp_path / "one" / "cat" / "a.png")
    with pytest.raises(ValueError, match="too few to explain some and train on others"):
        load(tmp_path / "one")
    for change, message in (("bad=x", "bad: expected"), ("test=0", "test: expected")):
        with pytest.raises(ValueError, match=message):
            load(tmp_path, change)


def clip(path: Path, frames: int, rate: int = 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(frames):
            picture = np.full((48, 64, 3), 255 * i // max(1, frames - 1), dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


def test_clips_of_unequal_length(tmp_path: Path) -> None:
    for label, lengths in (("short", (1, 3, 5)), ("long", (20, 30, 40))):
        for frames in lengths:
            clip(tmp_path / "clips" / label / f"{frames}.mp4", frames)
    data = load(tmp_path / "clips", "frames=6", name="clip_folder")
    assert (data.modality, data.classes) == ("video", ("long", "short"))
    train = data.train().subset(range(len(data.train())))
    assert train.inputs.shape == (5, 3, 6, 28, 28)
    long = train.inputs.read()[next(row for row, sample in enumerate(train.ids) if sample.startswith("long"))]
    light = long.mean((0, 2, 3))
    assert light[0] < 0.1
    assert light[-1] > 0.9
    assert (light.diff() > 0).all()  # frames in their order, from black to white
    assert len(data.features.unique()) == 3 * 49


def test_a_torn_clip_is_named(tmp_path: Path) -> None:
    clip(tmp_path / "clips" / "a" / "one.mp4", 3)
    clip(tmp_path / "clips" / "b" / "two.mp4", 3)
    (tmp_path / "clips" / "b" / "torn.mp4").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"torn.mp4 cannot be read.*bad=skip"):
        load(tmp_path / "clips", name="clip_folder")


@pytest.mark.skipif(REAL is None, reason="XBENCH_DATA names no folder of real data")
def test_a_real_clip(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "clips" / label).mkdir(parents=True)
        (tmp_path / "clips" / label / "clip.mp4").symlink_to(Path(str(REAL)).resolve() / "video" / "nasa_13013.mp4")
    data = load(tmp_path / "clips", "test=0.5", name="clip_folder")
    (values,) = data.test.subset([0]).inputs.read()
    assert values.shape == (3, 16, 28, 28)
    assert values.std() > 0.05
