"""One damaged, disguised or oversized file: it is named with what is wrong, before it is decoded, or left out."""

import os
import socket
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from scipy.io import wavfile

from xbench.config.compose import component
from xbench.datasets.image_folder import ImageFolder
from xbench.datasets.record import Dataset

GOOD = 6


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size, of a few hundred bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(60_000 * 2), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def encoded(kind: str, **options: object) -> bytes:
    stream = BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, kind, **options)
    return stream.getvalue()


def wav(channels: int = 1, rate: int = 8000, values: np.ndarray | None = None) -> bytes:
    stream = BytesIO()
    wavfile.write(stream, 8000, np.arange(800, dtype=np.int16) if values is None else values)
    content = bytearray(stream.getvalue())
    content[22:24] = struct.pack("<H", channels)
    content[24:32] = struct.pack("<II", rate, rate * struct.unpack("<H", content[32:34])[0])  # and bytes per second
    return bytes(content)


def clip(frames: int = 3, size: int = 16) -> bytes:
    stream = BytesIO()
    with av.open(stream, "w", format="mp4") as file:
        track = file.add_stream("mpeg4", rate=10)
        track.width = track.height = size
        track.pix_fmt = "yuv420p"
        for i in range(frames):
            picture = np.full((size, size, 3), 255 * i // max(1, frames - 1), dtype=np.uint8)
            file.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(track.encode())
    return stream.getvalue()


KINDS: dict[str, tuple[str, Callable[[], bytes], list[str]]] = {
    "image_folder": (".png", lambda: encoded("PNG"), ["side=8"]),
    "wav_folder": (".wav", wav, ["seconds=0.1"]),
    "clip_folder": (".mp4", clip, ["side=8", "frames=2"]),
}


def folder(root: Path, kind: str, name: bytes, content: bytes) -> Path:
    """Good files of two classes, and one more."""
    ending, good, _ = KINDS[kind]
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for i in range(GOOD // 2):
            (root / label / f"{i}{ending}").write_bytes(good())
    (root / "b" / os.fsdecode(name)).write_bytes(content)
    return root


def load(root: Path, kind: str, *more: str) -> Dataset:
    return component("dataset", kind, [f"path={root}", *KINDS[kind][2], *more]).load()


def read_all(data: Dataset) -> None:
    data.test.in_memory()
    data.train().in_memory()


DAMAGED = {
    "a JPEG cut off": ("image_folder", b"x.jpg", encoded("JPEG")[:2000], "truncated"),
    "a PNG cut off": ("image_folder", b"x.png", encoded("PNG")[:2000], ""),
    "900 megapixels": ("image_folder", b"x.png", png(30_000, 30_000), "900000000 pixels"),
    "60 megapixels": ("image_folder", b"x.png", png(10_000, 6_000), "10000 x 6000 pixels, and at most 50,000,000"),
    "1 x 60000": ("image_folder", b"x.png", png(1, 60_000), "resized to 8 on the shorter side are 8 x 480000"),
    "PostScript": ("image_folder", b"x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture in"),
    "no channels": ("wav_folder", b"x.wav", wav(channels=0), ""),
    "no rate": ("wav_folder", b"x.wav", wav(rate=0), "holds no sound"),
    "no numbers": ("wav_folder", b"x.wav", wav(values=np.full(800, np.nan, np.float32)), "no number"),
    "RIFF cut off": ("wav_folder", b"x.wav", wav()[:400], "EOF"),
    "RIFF head cut off": ("wav_folder", b"x.wav", wav()[:30], ""),
    "RIFF of nothing": ("wav_folder", b"x.wav", b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff", ""),
    "one sample a second": ("wav_folder", b"x.wav", wav(rate=1), "lasts 800 s, and at most 600 s are read"),
    "a clip cut off": ("clip_folder", b"x.mp4", clip(30)[:300], ""),
    "a playlist": ("clip_folder", b"x.mp4", b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n#EXT-X-ENDLIST\n", ""),
    "an image's name": ("image_folder", b"\xff\xfe.png", encoded("PNG"), r"b/\\xff\\xfe.png.*name is not UTF-8"),
    "a sound's name": ("wav_folder", b"\xff\xfe.wav", wav(), r"b/\\xff\\xfe.wav.*name is not UTF-8"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_left_out_and_counted_or_stops(tmp_path: Path, case: str) -> None:
    kind, name, content, message = DAMAGED[case]
    root = folder(tmp_path / "data", kind, name, content)
    options = ["resample=true"] if kind == "wav_folder" else []
    if kind == "image_folder":
        options.append("max_pixels=400000" if case == "1 x 60000" else "max_pixels=50000000")
    for _ in range(2):  # the second time what was found is remembered
        data = load(root, kind, "bad=skip", *options)
        assert len(data.test) + len(data.train()) == GOOD
        assert torch.isfinite(data.test.in_memory().inputs).all()
        (note,) = data.notes
        assert note.startswith(f"1 of {GOOD + 1} ")
        note.encode()  # may be written
    with pytest.raises(ValueError, match=message or "x") as error:
        read_all(load(root, kind, *options))  # what the head does not tell is found when the file is read
    str(error.value).encode()


@pytest.mark.parametrize("size", [(30_000, 30_000), (10_000, 6_000), (1, 60_000_000), (20_000_000, 1)])
def test_an_oversized_picture_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    def decoded(*_: object) -> None:
        raise AssertionError("decoded")

    root = folder(tmp_path / "data", "image_folder", b"x.png", png(*size))
    monkeypatch.setattr(ImageFile.ImageFile, "load", decoded)
    with pytest.raises(ValueError, match=r"x.png cannot be read: .* pixels.*; dataset.bad=skip"):
        load(root, "image_folder")


def test_a_limit_may_be_raised(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", "image_folder", b"x.png", png(1, 200))
    with pytest.raises(ValueError, match=r"8 x 1600.*raise dataset.max_pixels"):
        load(root, "image_folder", "max_pixels=10000")
    assert len(load(root, "image_folder", "max_pixels=20000").train()) == GOOD  # what was found is not remembered
    with pytest.raises(ValueError, match="max_pixels: expected at least 1, got 0"):
        load(root, "image_folder", "max_pixels=0")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_left_out(tmp_path: Path, kind: str) -> None:
    """A folder, a link to nothing, and a pipe and a socket, on which one would wait for ever."""
    ending = KINDS[kind][0]
    root = folder(tmp_path / "data", kind, f"0{ending}".encode(), KINDS[kind][1]())
    (root / "a" / f"folder{ending}").mkdir()
    (root / "a" / f"link{ending}").symlink_to("nowhere")
    os.mkfifo(root / "a" / f"pipe{ending}")
    with socket.socket(socket.AF_UNIX) as plug:
        monkeypatched = Path.cwd()
        os.chdir(root / "a")  # a socket's path is short
        try:
            plug.bind(f"s{ending}")
        finally:
            os.chdir(monkeypatched)
        data = load(root, kind, "bad=skip")
    assert len(data.test) + len(data.train()) == GOOD
    assert data.notes[0].startswith(f"4 of {GOOD + 4} ")


def test_a_long_clip_takes_the_memory_of_its_chosen_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "data", "clip_folder", b"x.mp4", clip(400))
    made, frame = [], av.VideoFrame.to_ndarray

    class Counting:
        def __init__(self, inner: object) -> None:
            self.inner = inner

        def to_ndarray(self, **options: object) -> np.ndarray:
            made.append(1)
            return frame(self.inner, **options)

    opened = av.open

    class Container:
        def __init__(self, inner: object) -> None:
            self.inner, self.streams = inner, inner.streams

        def __enter__(self) -> "Container":
            return self

        def __exit__(self, *error: object) -> None:
            self.inner.close()

        def decode(self, video: int) -> object:
            return map(Counting, self.inner.decode(video=video))

    monkeypatch.setattr(av, "open", lambda *given, **options: Container(opened(*given, **options)))
    data = load(root, "clip_folder")
    where = next(s for s in (data.test, data.train()) if "b/x.mp4" in s.ids)
    (values,) = where.subset([where.ids.index("b/x.mp4")]).inputs.read()
    assert len(made) == 2
    assert values[:, 0].mean() < 0.1 < 0.9 < values[:, 1].mean()


def test_a_clip_of_large_frames_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", "clip_folder", b"x.mp4", clip(size=32))
    with pytest.raises(ValueError, match=r"x.mp4 cannot be read: it has 32 x 32 pixels, and at most 300 are decoded"):
        load(root, "clip_folder", "max_pixels=300")


def test_rates_without_a_common_divisor_are_refused(tmp_path: Path) -> None:
    """The filter between them would take 8 GB."""
    root = folder(tmp_path / "data", "wav_folder", b"x.wav", wav(rate=44_101))
    with pytest.raises(ValueError, match=r"x.wav has 44101 samples per second, which have too little in common"):
        load(root, "wav_folder", "rate=44100", "resample=true")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    root = folder(tmp_path / os.fsdecode(b"\xff"), "image_folder", b"x.png", encoded("PNG"))
    with pytest.raises(ValueError, match=r"name: '\\udcff' is no text in UTF-8; give another with dataset.name"):
        ImageFolder(str(root)).load()
    data = ImageFolder(str(root), name="ours").load()
    assert data.origin == r"7 images in \xff/"
    moved = root.rename(tmp_path / "elsewhere")
    assert ImageFolder(str(moved), name="ours").load().fingerprint == data.fingerprint


def graphs(root: Path, **changed: str) -> Path:
    """Four graphs of three nodes in a ring, and files that are changed."""
    pairs = [(3 * g + i + 1, 3 * g + (i + 1) % 3 + 1) for g in range(4) for i in range(3)]
    files = {
        "A": "\n".join(f"{a}, {b}\n{b}, {a}" for a, b in pairs),
        "graph_indicator": "\n".join(str(g + 1) for g in range(4) for _ in range(3)),
        "graph_labels": "0\n1\n0\n1",
        "node_labels": "\n".join("0" for _ in range(12)),
    } | changed
    root.mkdir()
    for kind, content in files.items():
        (root / f"T_{kind}.txt").write_text(content)
    return root


def load_graphs(root: Path, *more: str) -> Dataset:
    return component("dataset", "mutag", ["name=T", f"path={root}", "classes=[]", *more]).load()


def test_a_graph_that_is_torn_is_left_out(tmp_path: Path) -> None:
    """An edge into another graph became an edge within its own."""
    edges = "1, 2\n2, 1\n4, 5\n5, 4\n4, 9\n7, 8\n10, 11\n"
    root = graphs(tmp_path / "t", A=edges)
    with pytest.raises(ValueError, match="graph 2 has an edge to another graph; dataset.bad=skip"):
        load_graphs(root)
    data = load_graphs(root, "bad=skip")
    assert len(data.test) + len(data.train()) == 3
    assert data.notes == ("1 of 4 graphs are left out (bad=skip): graph 2 has an edge to another graph",)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"graph_indicator": "1\n1\n1\n2\n2\n2\n3\n3\n3\n9\n9\n9"}, "T_graph_indicator.txt: the numbers .* 1 to the 4"),
        ({"graph_indicator": "1\n2\n1\n2\n2\n2\n3\n3\n3\n4\n4\n4"}, "T_graph_indicator.txt"),
        ({"graph_indicator": "0\n0\n0\n1\n1\n1\n2\n2\n2\n3\n3\n3"}, "T_graph_indicator.txt"),
        ({"A": "1, 2\n2\n"}, "T_A.txt, line 2: expected 2 whole numbers"),
        ({"A": "1, 2\n2, 1.5\n"}, "T_A.txt, line 2: expected 2 whole numbers"),
        ({"A": "1, 2\n2, inf\n"}, "T_A.txt, line 2: expected 2 whole numbers"),
        ({"A": "1, 2, 3\n"}, "expected 2 numbers per line, got 3"),
        ({"A": "1, 2\n2, 1, 3\n"}, "T_A.txt cannot be read"),
        ({"A": ""}, "T_A.txt cannot be read"),
        ({"node_labels": "carbon\n" * 12}, "T_node_labels.txt cannot be read"),
        ({"edge_gt": "1\n0\n"}, "24 edges, but 2 lines in T_edge_gt.txt"),
    ],
)
def test_files_of_graphs_that_do_not_fit_are_named(tmp_path: Path, changed: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_graphs(graphs(tmp_path / "t", **changed), "bad=skip")
