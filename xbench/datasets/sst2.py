"""SST-2, the movie review sentences of GLUE, with a stand-in for machines without the files."""

from __future__ import annotations

import hashlib
import io
import logging
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from xbench.boundary.files import write_atomic
from xbench.datasets.cache import cache_directory, data_directory
from xbench.datasets.download import DownloadError, download
from xbench.datasets.record import Dataset, Split, mixed_order
from xbench.datasets.sst2_standin import Sentence, sentences

log = logging.getLogger("xbench")

SOURCES = ("auto", "original", "standin")
FOLDERS = ("sst2", "SST-2")  # the second is the folder inside GLUE's zip
FILES = ("train.tsv", "dev.tsv")
CLASSES = ("negative", "positive")
HEADER = ["sentence", "label"]

URL = "https://dl.fbaipublicfiles.com/glue/data/SST-2.zip"
# The sha256 that two independent users of this file publish (Hugging Face's dataset_infos.json of glue; JuliaText).
URL_SHA256 = "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa"
# sha256 of the sorted lines "sentence<TAB>label", sentences stripped: the same for every copy of GLUE's
# sentences, however its lines are ordered or ended (a file's own sha256 is not).
CONTENT_SHA256 = {
    "train.tsv": "ca824966e1ed7c49b849e1fa103221b0ceaf9cefe96ee59ed2d3ebdc6db6dec0",  # 67,349 rows
    "dev.tsv": "05afe7d8f50f80d4c1d5299936a7b90e67c3c7e73c998de31b70e33350299154",  # 872 rows
}

STANDIN_TRAIN, STANDIN_DEV, STANDIN_SEED = 4000, 400, 20130

_warned: set[str] = set()  # warnings that this process has already given


@dataclass(frozen=True)
class SST2:
    """SST-2: one sentence per sample, label 1 = positive.

    Source: R. Socher et al., "Recursive Deep Models for Semantic Compositionality Over a Sentiment
    Treebank", EMNLP 2013, https://aclanthology.org/D13-1170; the split of A. Wang et al., "GLUE", ICLR
    2019, https://gluebenchmark.com. Samples to explain are GLUE's dev set, since its test set has no labels.

    source: "auto" uses the files in the data directory, else downloads them, else uses the stand-in of
        `xbench.datasets.sst2_standin` (name "sst2-standin", with a ground-truth mask) and warns once.
        "original" refuses the stand-in. "standin" uses the stand-in only.
    data_dir: folder that holds `sst2/train.tsv` and `sst2/dev.tsv` (or `SST-2/...`); by default `$XBENCH_DATA`, else
        `data` in the cache directory. Downloads are put into the latter.
    """

    source: str = "auto"
    data_dir: str | None = None

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"source must be one of {SOURCES}, got {self.source!r}")
        if self.data_dir is not None and not isinstance(self.data_dir, str | Path):
            raise TypeError(f"data_dir must be a path or null, got {self.data_dir!r}")

    def load(self) -> Dataset:
        """Raises FileNotFoundError (source="original" and no files) or ValueError (a file is corrupt)."""
        if self.source == "standin":
            return _standin()
        places = self._places()
        folder = _find(places)
        if folder is not None:
            return _from_files(folder)
        try:
            return _from_files(_download(patience=self.source == "original"))
        except DownloadError as error:
            if self.source == "original":
                raise FileNotFoundError(_missing(places, error)) from error
            _warn_once(
                f"SST-2 was not found ({_looked(places)}) and {error}. Using the stand-in: every row says "
                "sst2-standin. For the real sentences put train.tsv and dev.tsv there, or set XBENCH_DATA."
            )
            return _standin()

    def _places(self) -> list[Path]:
        """Roots to search, in order; the cache is last, because downloads always go there."""
        chosen = Path(self.data_dir) if self.data_dir is not None else data_directory()
        return list(dict.fromkeys((chosen, cache_directory() / "data")))


def parse(path: Path) -> list[Sentence]:
    """The sentences of a GLUE file, without evidence. Raises ValueError naming the file and the line."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: not UTF-8 text ({error.reason})") from error
    # Split on newlines only: str.splitlines would also split inside sentences, at rare control characters.
    lines = [line.rstrip("\r") for line in text.split("\n")]
    if lines[0].lstrip("\ufeff").split("\t") != HEADER:
        raise ValueError(f"{path}, line 1: expected the header 'sentence<TAB>label', got {lines[0][:80]!r}")
    rows = [_row(path, number, line) for number, line in enumerate(lines[1:], start=2) if line]
    if not rows:
        raise ValueError(f"{path}, line 2: no sentences after the header")
    return rows


def _row(path: Path, number: int, line: str) -> Sentence:
    columns = line.split("\t")
    if len(columns) != 2:
        found = f"{len(columns)}: {line[:80]!r}"
        raise ValueError(f"{path}, line {number}: expected 2 tab-separated columns, got {found}")
    sentence, label = " ".join(columns[0].split()), columns[1].strip()
    if label not in ("0", "1"):
        raise ValueError(f"{path}, line {number}: label must be 0 or 1, got {label!r}")
    if not sentence:
        raise ValueError(f"{path}, line {number}: the sentence is empty")
    return sentence, int(label), None


def _from_files(folder: Path) -> Dataset:
    dev = parse(folder / "dev.tsv")
    _check_content(folder / "dev.tsv", dev)

    def train() -> Split:
        rows = parse(folder / "train.tsv")
        _check_content(folder / "train.tsv", rows)
        return _split("train", rows, range(len(rows)))

    fingerprint = hashlib.sha256(b"sst2-1")
    for name in FILES:
        fingerprint.update(hashlib.sha256((folder / name).read_bytes()).digest())
    order = mixed_order([label for _, label, _ in dev], [sentence for sentence, _, _ in dev])
    return Dataset(
        name="sst2",
        modality="text",
        classes=CLASSES,
        test=_split("dev", dev, order),
        train=train,
        fingerprint=fingerprint.hexdigest(),
        origin=f"SST-2 (Socher et al. 2013) in GLUE's layout, from {folder}",
    )


def _split(part: str, rows: Sequence[Sentence], order: Iterable[int]) -> Split:
    """The rows in this order; ids name the row of the file, counted from 0."""
    kept = [(number, *rows[number]) for number in order]
    masks = tuple(mask for _, _, _, mask in kept if mask is not None)
    return Split(
        ids=tuple(f"{part}-{number}" for number, _, _, _ in kept),
        inputs=tuple(text for _, text, _, _ in kept),
        targets=torch.tensor([label for _, _, label, _ in kept], dtype=torch.int64),
        masks=masks or None,
    )


def _check_content(path: Path, rows: list[Sentence]) -> None:
    """Warn if a well-formed file differs from GLUE's: a subset is legitimate but must not go unnoticed."""
    lines = sorted(f"{sentence}\t{label}" for sentence, label, _ in rows)
    found = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    if found != CONTENT_SHA256[path.name]:
        _warn_once(f"{path} ({len(rows)} sentences) is well formed, but it is not GLUE's {path.name}")


def _find(places: list[Path]) -> Path | None:
    folders = (root / folder for root in places for folder in FOLDERS)
    return next((folder for folder in folders if all((folder / name).is_file() for name in FILES)), None)


def _download(patience: bool) -> Path:
    """Download GLUE's zip and put its two labelled files in the cache. Raises DownloadError."""
    content = download(URL, URL_SHA256, patience=patience)
    folder = cache_directory() / "data" / FOLDERS[0]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in FILES:
            write_atomic(folder / name, archive.read(f"SST-2/{name}"))
    log.info("downloaded SST-2 to %s", folder)
    return folder


def _standin() -> Dataset:
    train, dev = sentences(STANDIN_TRAIN, STANDIN_DEV, STANDIN_SEED)
    order = mixed_order([label for _, label, _ in dev], [text for text, _, _ in dev])
    return Dataset(
        name="sst2-standin",
        modality="text",
        classes=CLASSES,
        test=_split("dev", dev, order),
        train=lambda: _split("train", train, range(len(train))),
        fingerprint=hashlib.sha256(repr(("sst2-standin", train, dev)).encode()).hexdigest(),
        origin=f"stand-in for SST-2: {len(train)} + {len(dev)} sentences from a small grammar of xbench",
        standin=True,
    )


def _looked(places: list[Path]) -> str:
    return "looked for " + ", ".join(str(root / FOLDERS[0] / "{train,dev}.tsv") for root in places)


def _missing(places: list[Path], error: Exception) -> str:
    files = " and ".join(str(places[0] / FOLDERS[0] / name) for name in FILES)
    return (
        f"SST-2 is missing: put {files} in place (GLUE's tab-separated files with the header "
        f"'sentence<TAB>label', from {URL}), or set XBENCH_DATA to the folder that holds {FOLDERS[0]}/. "
        f"{_looked(places).capitalize()}; the download failed: {error}"
    )


def _warn_once(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        log.warning(message)
