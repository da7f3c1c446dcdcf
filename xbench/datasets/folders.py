"""A folder of yours with a folder of images or clips per class; files are read when their block is computed."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from xbench.datasets.cache import cache_directory
from xbench.datasets.found import fingerprint
from xbench.datasets.images import patches
from xbench.datasets.record import Dataset, Lazy, Split, mixed_order
from xbench.files import write_atomic

log = logging.getLogger("xbench")


@dataclass(frozen=True)
class Folder:
    """Base of data sets that are a folder per class, or train/ and val/ (or test/) with a folder per class each.

    path: the folder. name: what rows say; null = the folder's name.
    bad: what to do about a file that cannot be read: stop, or skip it with a warning.
    test: share of the files that is explained where there are no folders train/ and val/.
    """

    endings: ClassVar[tuple[str, ...]]
    kind: ClassVar[str]

    path: str
    name: str | None = None
    bad: str = "stop"
    test: float = 0.2

    def __post_init__(self) -> None:
        if self.bad not in ("stop", "skip"):
            raise ValueError(f"bad: expected stop or skip, got {self.bad!r}")
        if not 0 < self.test < 1:
            raise ValueError(f"test: expected a share between 0 and 1, got {self.test}")

    def load(self) -> Dataset:
        """Raises FileNotFoundError, or ValueError that names the file and what is wrong with it."""
        root = Path(self.path)
        held = next((part for part in ("val", "test") if (root / part).is_dir() and (root / "train").is_dir()), None)
        if held is not None:
            test, train = self._files(root / held), self._files(root / "train")
            test = [test[i] for i in _order(test)]
        else:
            files = self._files(root)
            order = _order(files)
            cut = max(1, round(self.test * len(order)))
            test, train = [files[i] for i in order[:cut]], [files[i] for i in order[cut:]]
        if not train:
            raise ValueError(f"{root}: {len(test)} {self.kind}s are too few to explain some and train on others")
        classes = tuple(sorted({file.label for file in (*test, *train)}))
        return self.dataset(
            self.name or root.name, classes, self._split(test, classes), self._split(train, classes),
            fingerprint(*(f"{file.name} {file.digest}".encode() for file in (*test, *train)), repr(self).encode()),
            f"{len(test) + len(train)} {self.kind}s in {root.name}/",
        )  # fmt: skip

    @abstractmethod
    def dataset(
        self, name: str, classes: tuple[str, ...], test: Split, train: Split, content: str, origin: str
    ) -> Dataset:
        """The data set of these splits."""

    @abstractmethod
    def check(self, content: bytes) -> None:
        """Raises an error that says why a file cannot be read; a glance at its head is enough."""

    @abstractmethod
    def decode(self, content: bytes) -> Tensor:
        """One sample from a file's bytes, float in 0..1."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""

    def _split(self, files: Sequence[File], classes: tuple[str, ...]) -> Split:
        return Split(
            tuple(file.name for file in files),
            Files(self, files),
            torch.tensor([classes.index(file.label) for file in files]),
        )

    def _files(self, root: Path) -> list[File]:
        paths = sorted(path for path in root.glob("*/*") if path.suffix.lower() in self.endings)
        if not paths:
            raise FileNotFoundError(
                f"{root} holds no folders of {self.kind}s ({', '.join(self.endings)}), one folder per class"
            )
        known = _Known(root)
        files = []
        for path in paths:
            digest, problem = known.of(path, self)
            if problem is None:
                files.append(File(path, f"{path.parent.name}/{path.name}", path.parent.name, digest))
            elif self.bad == "stop":
                raise ValueError(f"{path} cannot be read: {problem}; dataset.bad=skip leaves such files out")
            else:
                log.warning("left out: %s cannot be read: %s", path, problem)
        known.keep()
        return files


@dataclass(frozen=True)
class File:
    """A file, what names it, its class, and the sha256 of its content."""

    path: Path
    name: str
    label: str
    digest: str


class Files(Lazy):
    """The samples of files, read from disk when they are asked for."""

    def __init__(self, folder: Folder, files: Sequence[File]) -> None:
        self.folder, self.files = folder, files
        self.shape = (len(files), *folder.shape)

    def read(self, rows: Sequence[int]) -> Tensor:
        samples = []
        for row in rows:
            file = self.files[row]
            try:
                samples.append(self.folder.decode(file.path.read_bytes()))
            except (OSError, ValueError) as error:
                raise ValueError(f"{file.path} cannot be read: {error}") from error
        return torch.stack(samples) if samples else torch.zeros(0, *self.shape[1:])


class _Known:
    """What is known of files from before, by size and time of change: only new ones are read when it is opened."""

    def __init__(self, root: Path) -> None:
        name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
        self._file = cache_directory() / "folders" / f"{name}.json"
        try:
            self._known: dict[str, list[object]] = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}
        self._changed = False

    def of(self, path: Path, folder: Folder) -> tuple[str, str | None]:
        """The sha256 of a file's content, and why it cannot be read."""
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns, folder.kind]
        entry = self._known.get(str(path))
        if entry is None or entry[:3] != stamp:
            content, problem = path.read_bytes(), None
            try:
                folder.check(content)
            except (OSError, ValueError, SyntaxError) as error:
                problem = str(error) or type(error).__name__
            entry = [*stamp, hashlib.sha256(content).hexdigest(), problem]
            self._known[str(path)] = entry
            self._changed = True
        return str(entry[3]), None if entry[4] is None else str(entry[4])

    def keep(self) -> None:
        if self._changed:
            try:
                write_atomic(self._file, json.dumps(self._known).encode())
            except OSError as error:  # a read-only cache only costs reading the files again
                log.debug("could not write %s: %s", self._file, error)


def _order(files: Sequence[File]) -> list[int]:
    classes = sorted({file.label for file in files})
    return mixed_order([classes.index(file.label) for file in files], [file.digest for file in files])


@dataclass(frozen=True)
class ImageFolder(Folder):
    """Images in a folder per class (ImageNet's layout): the shorter side resized to `side`, the middle cut out.

    Grey images get three channels and transparent ones a white ground. Black is the baseline; squares of a fourteenth
    of the side are features.
    """

    endings: ClassVar[tuple[str, ...]] = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
    kind: ClassVar[str] = "image"

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

    def dataset(
        self, name: str, classes: tuple[str, ...], test: Split, train: Split, content: str, origin: str
    ) -> Dataset:
        return Dataset(
            name=name,
            modality="image",
            classes=classes,
            test=test,
            train=lambda: train,
            fingerprint=content,
            origin=origin,
            baseline=torch.zeros(1, *self.shape),
            features=patches(3, self.side, self.side, -(-self.side // 14)),
            value_range=(0.0, 1.0),
        )


@dataclass(frozen=True)
class ClipFolder(Folder):
    """Video clips in a folder per class: `frames` frames spread evenly over each clip, resized to side x side.

    Clips may have any length from one frame on; a frame is used twice where there are too few. Needs PyAV:
    `pip install 'xbench[video]'`. Grey is the baseline; tubes of a seventh of the side over two frames are features.
    """

    endings: ClassVar[tuple[str, ...]] = (".mp4", ".avi", ".mov", ".mkv", ".webm")
    kind: ClassVar[str] = "clip"

    frames: int = 16
    side: int = 112

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, self.frames, self.side, self.side)

    def check(self, content: bytes) -> None:
        av = _decoder()
        with av.open(io.BytesIO(content)) as clip:
            if not clip.streams.video:
                raise ValueError("it has no pictures, only sound")

    def decode(self, content: bytes) -> Tensor:
        av = _decoder()
        size = {"width": self.side, "height": self.side}
        with av.open(io.BytesIO(content)) as clip:
            pictures = [frame.to_ndarray(format="rgb24", **size) for frame in clip.decode(video=0)]
        if not pictures:
            raise ValueError("it has no frames")
        chosen = np.linspace(0, len(pictures) - 1, self.frames).round().astype(int)
        clip_values = torch.from_numpy(np.stack([pictures[i] for i in chosen]))
        return clip_values.permute(3, 0, 1, 2).float() / 255

    def dataset(
        self, name: str, classes: tuple[str, ...], test: Split, train: Split, content: str, origin: str
    ) -> Dataset:
        tile = -(-self.side // 7)
        number = patches(1, self.side, self.side, tile)[0, 0]
        layers = torch.arange(self.frames) // 2 * (int(number.max()) + 1)
        return Dataset(
            name=name,
            modality="video",
            classes=classes,
            test=test,
            train=lambda: train,
            fingerprint=content,
            origin=origin,
            baseline=torch.full((1, *self.shape), 0.5),
            features=(number + layers[:, None, None]).expand(1, *self.shape).contiguous(),
            value_range=(0.0, 1.0),
        )


def _decoder() -> Any:  # noqa: ANN401  (a module that may be absent)
    try:
        import av
    except ImportError as error:
        raise ModuleNotFoundError("video files need PyAV: pip install 'xbench[video]'") from error
    return av
