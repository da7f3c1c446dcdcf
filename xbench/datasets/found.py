"""Finds the files of a data set: in the data directory, in the cache, or by a checked download."""

from __future__ import annotations

import hashlib
import logging
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xbench.boundary.files import write_atomic
from xbench.datasets.cache import cache_directory, data_directory
from xbench.datasets.download import DownloadError, download

log = logging.getLogger("xbench")


@dataclass(frozen=True)
class Wanted:
    """One file of a data set.

    path: relative to the data directory, e.g. "adult/adult.data".
    url, sha256: source and checksum of the download; None = no download.
    what: one sentence that describes the file to a user who must provide it.
    """

    path: str
    what: str
    url: str | None = None
    sha256: str = ""

    def find(self, data_dir: str | None = None) -> Path:
        """The path of the file. Raises FileNotFoundError that says which file to put where."""
        chosen = Path(data_dir) if data_dir is not None else data_directory()
        places = [root / self.path for root in dict.fromkeys((chosen, cache_directory() / "data"))]
        for place in places:
            if place.is_file():
                return place
        failed = "it cannot be downloaded"
        if self.url is not None:
            try:
                content = download(self.url, self.sha256)
                write_atomic(places[-1], content)
                log.info("downloaded %s to %s", self.url, places[-1])
                return places[-1]
            except DownloadError as error:
                failed = f"the download failed: {error}"
        raise FileNotFoundError(
            f"{self.path} is missing: put it at {places[0]} ({self.what}), or set XBENCH_DATA to the folder that "
            f"holds {self.path}. Looked at {', '.join(map(str, places))}; {failed}"
        )


def fingerprint(*contents: bytes) -> str:
    """sha256 of the contents, in order."""
    total = hashlib.sha256()
    for content in contents:
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()


def check_options(bad: str, test: float = 0.5) -> None:
    """Raise ValueError unless `bad` is stop or skip and `test` is a share of the samples."""
    if bad not in ("stop", "skip"):
        raise ValueError(f"bad: expected stop or skip, got {bad!r}")
    if not 0 < test < 1:
        raise ValueError(f"test: expected a share between 0 and 1, got {test}")


def left_out(reasons: Sequence[str], whole: int, what: str) -> str:
    """A note on the number of items (`what`, such as files) that `bad=skip` left out, with the first reason."""
    more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return f"{len(reasons)} of {whole} {what} are left out (bad=skip): {reasons[0]}{more}"


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip. Raises ValueError naming the file if it is damaged."""
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def read_tar(path: Path) -> dict[str, bytes]:
    """Read all files of an archive by name in one pass; reading them one by one would decompress it repeatedly.

    Raises ValueError naming the archive if it is damaged.
    """
    try:
        with tarfile.open(path) as archive:
            members = ((member.name, archive.extractfile(member)) for member in archive if member.isfile())
            return {name: file.read() for name, file in members if file is not None}
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
