"""SST-2 read and tokenized by torchtext; for the environment of the extra `torchtext`."""

from __future__ import annotations

import csv
import hashlib
import io
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xbench.boundary.files import write_atomic
from xbench.datasets.cache import cache_directory
from xbench.datasets.found import fingerprint
from xbench.datasets.record import Dataset, Split
from xbench.datasets.sst2 import HEADER, SST2


@dataclass(frozen=True)
class TorchtextSST2:
    """SST-2 read by `torchtext.datasets.SST2`, each sentence tokenized by torchtext.

    The sentences are those of `xbench.datasets.sst2.SST2` (files, download or stand-in), packed into the archive that
    torchtext expects. Tokens take the place of words; a sentence without tokens stays unchanged.

    tokenizer: a name for `torchtext.data.utils.get_tokenizer`.
    source, data_dir: see `xbench.datasets.sst2.SST2`.
    """

    tokenizer: str = "basic_english"
    source: str = "auto"
    data_dir: str | None = None

    def __post_init__(self) -> None:
        SST2(self.source, self.data_dir)  # checks the options

    def load(self) -> Dataset:
        """Raises ModuleNotFoundError without torchtext, and what `SST2.load` and the tokenizer raise."""
        tokenize = _tokenizer(self.tokenizer)
        given = SST2(self.source, self.data_dir).load()
        test = _cut(_read(given.test, "dev"), tokenize)
        return replace(
            given,
            name=given.name.replace("sst2", "sst2_torchtext"),
            test=test,
            train=lambda: _cut(_read(given.train(), "train"), tokenize),
            fingerprint=fingerprint(given.fingerprint.encode(), self.tokenizer.encode(), repr(test.inputs).encode()),
            origin=f"{given.origin}; read and cut into tokens ({self.tokenizer}) by torchtext",
        )


def _tokenizer(name: str) -> Callable[[str], list[str]]:
    try:
        import torchtext
    except ImportError as error:
        raise ModuleNotFoundError(
            "this needs torchtext 0.18, which loads with torch 2.3 only and so lives in an environment of its own: "
            "`make test-torchtext` sets up .venv-torchtext, or pip install 'xbench[torchtext]' in a fresh one"
        ) from error
    torchtext.disable_torchtext_deprecation_warning()
    from torchtext.data.utils import get_tokenizer

    tokenizer: Callable[[str], list[str]] = get_tokenizer(name)
    return tokenizer


def _read(split: Split, part: str) -> Split:
    """The split as read back by torchtext's data set. Raises ValueError if the sentences or labels differ."""
    from torchtext.datasets import SST2 as published
    from torchtext.datasets import sst2 as module

    warnings.filterwarnings("ignore", message="\\s*#*\\s*WARNING!\\s*The 'datapipes'")  # from torchdata, also archived
    assert isinstance(split.inputs, tuple)
    archive = _archive(part, list(zip(split.inputs, split.targets.tolist(), strict=True)))
    name = hashlib.sha256(archive).hexdigest()[:16]
    root = cache_directory() / "torchtext" / name
    path = root / "datasets" / "SST2" / Path(module.URL).name
    if not path.is_file():
        write_atomic(path, archive)
    known = module.MD5  # the checksum of GLUE's own archive; this archive is packed here
    try:
        module.MD5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        rows = list(published(root=str(root), split=part))
    finally:
        module.MD5 = known
    if [label for _, label in rows] != split.targets.tolist():
        raise ValueError(f"torchtext reads {len(rows)} of {len(split)} sentences from {path}, or other labels")
    return replace(split, inputs=tuple(text for text, _ in rows))


def _archive(part: str, rows: Sequence[tuple[str, int]]) -> bytes:
    """GLUE's zip with this part; its bytes depend on the sentences only."""
    table, content = io.StringIO(newline=""), io.BytesIO()
    csv.writer(table, delimiter="\t", lineterminator="\n").writerows([HEADER, *rows])
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(f"SST-2/{part}.tsv", (1980, 1, 1, 0, 0, 0)), table.getvalue().encode())
    return content.getvalue()


def _cut(split: Split, tokenize: Callable[[str], list[str]]) -> Split:
    """Replace every word by its tokens; each token inherits the word's evidence."""
    assert isinstance(split.inputs, tuple)
    texts: list[str] = []
    masks: list[tuple[bool, ...]] = []
    for row, text in enumerate(split.inputs):
        words = [tokenize(word) for word in text.split()]
        if not any(words):
            words = [[word] for word in text.split()]
        texts.append(" ".join(token for tokens in words for token in tokens))
        if isinstance(split.masks, tuple):
            marked = zip(words, split.masks[row], strict=True)
            masks.append(tuple(bool(mark) for tokens, mark in marked for _ in tokens))
    return replace(split, inputs=tuple(texts), masks=tuple(masks) if split.masks is not None else None)
