"""A folder of yours with a folder of images or clips per class; files are read when their block is computed."""

from __future__ import annotations

import hashlib
import json
import logging
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from xbench.datasets.cache import cache_directory
from xbench.datasets.found import check_options, fingerprint
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
    modality: ClassVar[str]
    level: ClassVar[float] = 0.0  # of the baseline, everywhere

    path: str
    name: str | None = None
    bad: str = "stop"
    test: float = 0.2

    def __post_init__(self) -> None:
        check_options(self.bad, self.test)

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
        content = (f"{file.name} {file.digest}".encode() for file in (*test, *train))
        return Dataset(
            name=self.name or root.name,
            modality=self.modality,
            classes=classes,
            test=self._split(test, classes),
            train=lambda: self._split(train, classes),
            fingerprint=fingerprint(*content, repr(self).encode()),
            origin=f"{len(test) + len(train)} {self.kind}s in {root.name}/",
            baseline=torch.full((1, *self.shape), self.level),
            features=self.features(),
            value_range=(0.0, 1.0),
        )

    @abstractmethod
    def features(self) -> Tensor:
        """(1, *shape) int64: which values form one feature."""

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

    def subset(self, rows: Sequence[int]) -> Files:
        return Files(self.folder, [self.files[row] for row in rows])

    def read(self) -> Tensor:
        with ThreadPoolExecutor() as pool:  # decoders do their work without Python's lock
            samples = list(pool.map(self._one, self.files))
        return torch.stack(samples) if samples else torch.zeros(0, *self.shape[1:])

    def _one(self, file: File) -> Tensor:
        try:
            return self.folder.decode(file.path.read_bytes())
        except (OSError, ValueError) as error:
            raise ValueError(f"{file.path} cannot be read: {error}") from error


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
