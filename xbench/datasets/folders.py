"""The user's folder with one folder of images or clips per class; files are read when their block is computed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG
from typing import ClassVar

import torch
from torch import Tensor

from xbench.boundary.files import write_atomic
from xbench.datasets.cache import cache_directory, sha256_file
from xbench.datasets.decoding import PIXELS, reading, reason, shown
from xbench.datasets.found import check_options, fingerprint, left_out
from xbench.datasets.record import Dataset, Lazy, Split, mixed_order

log = logging.getLogger("xbench")


@dataclass(frozen=True)
class Folder:
    """Base of data sets with one folder per class, or train/ and val/ (or test/) with one folder per class each.

    path: the folder. name: the name in tables; null = the folder's name.
    bad: how to treat unreadable files: stop, or skip with a warning. To find them, skip decodes every file once.
    test: share of the files to explain if there are no folders train/ and val/.
    max_pixels: upper limit on the pixels of a picture or frame, before and after resizing; larger files are unreadable.
    """

    endings: ClassVar[tuple[str, ...]]
    kind: ClassVar[str]
    modality: ClassVar[str]
    level: ClassVar[float] = 0.0  # the baseline's constant value

    path: str
    name: str | None = None
    bad: str = "stop"
    test: float = 0.2
    max_pixels: int = PIXELS

    def __post_init__(self) -> None:
        check_options(self.bad, self.test)
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels: expected at least 1, got {self.max_pixels}")

    def load(self) -> Dataset:
        """Raises FileNotFoundError, or ValueError that names the file and the problem."""
        root, problems = Path(self.path), list[str]()
        held = next((part for part in ("val", "test") if (root / part).is_dir() and (root / "train").is_dir()), None)
        if held is not None:
            test, train = self._files(root / held, problems), self._files(root / "train", problems)
            test = [test[i] for i in _order(test)]
        else:
            files = self._files(root, problems)
            order = _order(files)
            cut = max(1, round(self.test * len(order)))
            test, train = [files[i] for i in order[:cut]], [files[i] for i in order[cut:]]
        if not train:
            raise ValueError(f"{root}: {len(test)} {self.kind}s are too few to explain some and train on others")
        classes = tuple(sorted({file.label for file in (*test, *train)}))
        content = (f"{file.name} {file.digest}".encode() for file in (*test, *train))
        return Dataset(
            name=self.name or root.name,
            modality=self.modality,
            classes=classes,
            test=self._split(test, classes),
            train=lambda: self._split(train, classes),
            fingerprint=fingerprint(*content, repr((self.kind, self.shape)).encode()),
            origin=f"{len(test) + len(train)} {self.kind}s in {shown(Path(root.name))}/",
            baseline=torch.full((1, *self.shape), self.level),
            features=self.features(),
            value_range=(0.0, 1.0),
            notes=(left_out(problems, len(test) + len(train) + len(problems), f"{self.kind}s"),) if problems else (),
        )

    @abstractmethod
    def features(self) -> Tensor:
        """Feature ids, (1, *shape) int64: values with the same id form one feature."""

    @abstractmethod
    def check(self, path: Path) -> None:
        """Raise an error that says why a file cannot be read; only its header is read."""

    @abstractmethod
    def decode(self, path: Path) -> Tensor:
        """One sample from a file, float in 0..1. A damaged file raises whatever the decoder raises."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""

    def _split(self, files: Sequence[File], classes: tuple[str, ...]) -> Split:
        return Split(
            tuple(file.name for file in files),
            Files(self, files),
            torch.tensor([classes.index(file.label) for file in files]),
        )

    def _files(self, root: Path, problems: list[str]) -> list[File]:
        paths = sorted(path for path in root.glob("*/*") if path.suffix.lower() in self.endings)
        if not paths:
            raise FileNotFoundError(
                f"{root} holds no folders of {self.kind}s ({', '.join(self.endings)}), one folder per class"
            )
        known = _Known(root)
        files = []
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda path: known.of(path, self), paths))
        for path, (digest, problem) in zip(paths, found, strict=True):
            name = shown(_name(path))
            if problem is None:
                files.append(File(path, name, path.parent.name, digest))
            elif self.bad == "stop":
                raise ValueError(f"{shown(path)} cannot be read: {problem}; dataset.bad=skip leaves such files out")
            else:
                log.warning("left out: %s cannot be read: %s", shown(path), problem)
                problems.append(f"{name} cannot be read: {problem}")
        known.keep()
        return files


@dataclass(frozen=True)
class File:
    """A file with its id, its class and the sha256 of its content."""

    path: Path
    name: str
    label: str
    digest: str


class Files(Lazy):
    """The samples of files, read from disk on demand."""

    def __init__(self, folder: Folder, files: Sequence[File]) -> None:
        self.folder, self.files = folder, files
        self.shape = (len(files), *folder.shape)

    @property
    def content(self) -> bytes:
        return "\n".join(file.digest for file in self.files).encode()

    def subset(self, rows: Sequence[int]) -> Files:
        return Files(self.folder, [self.files[row] for row in rows])

    def read(self) -> Tensor:
        with ThreadPoolExecutor() as pool:  # decoders release Python's lock
            samples = list(pool.map(self._one, self.files))
        return torch.stack(samples) if samples else torch.zeros(0, *self.shape[1:])

    def _one(self, file: File) -> Tensor:
        with reading(file.path):
            if sha256_file(file.path) != file.digest:
                raise ValueError("it changed while the command ran; run it again")
            return self.folder.decode(file.path)


class _Known:
    """Cached checksums of files: only files that are new or changed are read again.

    Replacing a file can preserve its size and modification time, but not its inode and change time.
    """

    def __init__(self, root: Path) -> None:
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        self._file = cache_directory() / "folders" / f"{name}.json"
        try:
            self._known: dict[str, list[object]] = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}
        self._changed = False

    def of(self, path: Path, folder: Folder) -> tuple[str, str | None]:
        """The sha256 of a file's content, and the reason if it cannot be read."""
        if shown(_name(path)) != _name(path):
            return "", "its name is not UTF-8; rename it"
        try:
            stat = path.stat()
            if not S_ISREG(stat.st_mode):
                return "", "it is no file"
            of_file = [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
            stamp = [*of_file, repr(replace(folder, path="", name=None))]
            entry = self._known.get(str(path))
            if entry is None or entry[:-2] != stamp:
                entry = [*stamp, sha256_file(path), _problem(path, folder)]
                self._known[str(path)] = entry
                self._changed = True
        except OSError as error:
            return "", reason(error)
        digest, problem = entry[-2:]
        return str(digest), None if problem is None else str(problem)

    def keep(self) -> None:
        if self._changed:
            try:
                write_atomic(self._file, json.dumps(self._known).encode())
            except OSError as error:  # with a read-only cache the files are read again
                log.debug("could not write %s: %s", self._file, error)


def _problem(path: Path, folder: Folder) -> str | None:
    """The reason why a file cannot be read; None if it can."""
    try:
        folder.check(path)
        if folder.bad == "skip":  # decide now which files to skip, not when a block decodes them
            folder.decode(path)
    except ImportError:
        raise
    except Exception as error:  # a decoder may raise anything
        return reason(error)
    return None


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _order(files: Sequence[File]) -> list[int]:
    classes = sorted({file.label for file in files})
    return mixed_order([classes.index(file.label) for file in files], [file.digest for file in files])
