"""Texts: the user's file, and film reviews with human-annotated evidence."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from xbench.datasets.delimited import read, require
from xbench.datasets.found import Wanted, check_options, fingerprint, read_tar
from xbench.datasets.record import Dataset, Split, mixed_order

TEST = 500


@dataclass(frozen=True)
class TextTable:
    """The user's CSV, TSV or JSON-lines file, one text per row.

    path: the file; its ending (.csv, .tsv, .jsonl) decides the format; csv and tsv have a header line.
    text, label: the columns with the text and its class. name: the name in tables; null = the file's name.
    classes: all classes in order; null = those found. A label outside the classes is a `bad` row.
    bad: how to treat an empty text, a text without a label, or a label outside the classes: stop or skip.
    max_words, too_long: how to treat a text of more words: cut, stop or skip.

    The numbers of skipped and cut rows are reported in the terminal and below the table.
    """

    path: str
    text: str = "text"
    label: str = "label"
    name: str | None = None
    classes: tuple[str, ...] | None = None
    bad: str = "stop"
    max_words: int = 512
    too_long: str = "cut"

    def __post_init__(self) -> None:
        check_options(self.bad)
        if self.too_long not in ("cut", "stop", "skip"):
            raise ValueError(f"too_long: expected cut, stop or skip, got {self.too_long!r}")
        if self.max_words < 1:
            raise ValueError(f"max_words: expected at least 1, got {self.max_words}")

    def load(self) -> Dataset:
        """Raises FileNotFoundError, or ValueError that names the file, the row and the problem."""
        path = Path(self.path)
        frame = self._read(path)
        require(path, frame, [self.text, self.label])
        rows, left_out, cut = [], 0, 0
        for number, (text, label) in enumerate(zip(frame[self.text], frame[self.label], strict=True), start=2):
            words = [] if pd.isna(text) else str(text).split()
            option, reason = self._problem(words, label)
            if option is None:
                cut += len(words) > self.max_words
                rows.append((" ".join(words[: self.max_words]), str(label).strip()))
            elif getattr(self, option) == "stop":
                raise ValueError(f"{path}, row {number}: {reason}; dataset.{option}=skip leaves such rows out")
            else:
                left_out += 1
        classes = self.classes or tuple(sorted({label for _, label in rows}))
        if len(rows) < 2 or len(classes) < 2:
            raise ValueError(f"{path}: {len(rows)} good rows of {len(classes)} classes are nothing to tell apart")
        name = self.name or path.stem
        origin = f"{path.name}, {len(rows)} texts" + (f", {left_out} rows left out" if left_out else "")
        texts, labels = [text for text, _ in rows], [classes.index(label) for _, label in rows]
        order = mixed_order(labels, texts)
        held = min(TEST, max(1, len(order) // 5))
        return text_dataset(
            name,
            classes,
            _split("test", texts, labels, order[:held]),
            _split("train", texts, labels, order[held:]),
            origin,
            self._notes(len(rows), left_out, cut),
        )

    def _notes(self, good: int, left_out: int, cut: int) -> tuple[str, ...]:
        notes = []
        if left_out:
            notes.append(
                f"{left_out} of {good + left_out} rows are left out (bad={self.bad}, too_long={self.too_long})"
            )
        if cut:
            notes.append(f"{cut} of {good} texts are cut to their first {self.max_words} words")
        return tuple(notes)

    def _problem(self, words: Sequence[str], label: str | float) -> tuple[str | None, str]:
        """The option that decides about a problematic row, and the problem; the option is None for a good row."""
        if not words:
            return "bad", "the text is empty"
        if pd.isna(label):
            return "bad", "there is no label"
        if self.classes is not None and str(label).strip() not in self.classes:
            return "bad", f"the label {label!r} is none of {self.classes}"
        if len(words) > self.max_words and self.too_long != "cut":
            return "too_long", f"the text has {len(words)} words, and max_words is {self.max_words}"
        return None, ""

    def _read(self, path: Path) -> pd.DataFrame:
        if path.suffix != ".jsonl":
            return read(path, "\t" if path.suffix == ".tsv" else ",", texts=True)
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no text in UTF-8: {error}") from error
        entries = []
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line) if line.strip() else None
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            if isinstance(entry, dict):
                entries.append(entry)
            elif entry is not None:
                raise ValueError(f"{path}, line {number}: expected an object, got {line[:60]!r}")
        return pd.DataFrame(entries, dtype=object)  # otherwise a missing label turns the others' 1 into 1.0


@dataclass(frozen=True)
class EraserMovies:
    """ERASER Movie Reviews: film reviews with human annotations of the words that show praise or criticism.

    The validation part is explained, with its rationales as masks. Reviews are cut to their first `max_words` words.
    Source: Zaidan, Eisner, Piatko 2007, "Using Annotator Rationales"; DeYoung et al. 2020, "ERASER" (arXiv
    1911.03429).

    data_dir: holds eraser_movies/movies.tar.gz.
    """

    max_words: int = 256
    data_dir: str | None = None

    def load(self) -> Dataset:
        path = _MOVIES.find(self.data_dir)
        files = read_tar(path)

        def content(name: str) -> str:
            if f"movies/{name}" not in files:
                raise ValueError(f"{path} has no movies/{name}")
            return files[f"movies/{name}"].decode("utf-8")

        test, train = (self._part(content, part) for part in ("val", "train"))
        origin = f"ERASER Movie Reviews, cut to their first {self.max_words} words"
        return text_dataset("eraser_movies", ("negative", "positive"), test, train, origin)

    def _part(self, content: Callable[[str], str], part: str) -> Split:
        entries = [json.loads(line) for line in content(f"{part}.jsonl").splitlines() if line]
        texts, labels, masks = [], [], []
        for entry in entries:
            words = content(f"docs/{entry['annotation_id']}").split()
            marked = [False] * len(words)
            for evidence in (one for group in entry["evidences"] for one in group):
                for place in range(evidence["start_token"], min(evidence["end_token"], len(words))):
                    marked[place] = True
            texts.append(" ".join(words[: self.max_words]))
            masks.append(tuple(marked[: self.max_words]))
            labels.append(int(entry["classification"] == "POS"))
        order = mixed_order(labels, texts) if part == "val" else range(len(texts))
        ids = [f"{part}-{entry['annotation_id']}" for entry in entries]
        return _split(part, texts, labels, order, masks, ids)


def text_dataset(
    name: str, classes: Sequence[str], test: Split, train: Split, origin: str, notes: tuple[str, ...] = ()
) -> Dataset:
    """Build a `Dataset` from the texts to explain and those to train on."""
    contents = [repr((split.inputs, split.targets.tolist(), split.masks)).encode() for split in (test, train)]
    return Dataset(
        name=name,
        modality="text",
        classes=tuple(classes),
        test=test,
        train=lambda: train,
        fingerprint=fingerprint(repr((name, tuple(classes))).encode(), *contents),
        origin=origin,
        notes=notes,
    )


def _split(
    part: str,
    texts: Sequence[str],
    labels: Sequence[int],
    rows: Sequence[int],
    masks: Sequence[tuple[bool, ...]] | None = None,
    ids: Sequence[str] | None = None,
) -> Split:
    return Split(
        ids=tuple(f"{part}-{row:05d}" if ids is None else ids[row] for row in rows),
        inputs=tuple(texts[row] for row in rows),
        targets=torch.tensor([labels[row] for row in rows]),
        masks=None if masks is None else tuple(masks[row] for row in rows),
    )


_MOVIES = Wanted("eraser_movies/movies.tar.gz", "the archive of ERASER with movies/val.jsonl and movies/docs/")
