"""The vocabulary of a text model: words and their ids."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

PAD, UNKNOWN, MASK = 0, 1, 2  # ids of padding, of an unknown word, and of a hidden word (the baseline)
SPECIAL = ("<pad>", "<unk>", "<mask>")


@dataclass(frozen=True)
class Vocabulary:
    """The words of a text model; `words[i]` has id i, and the first three are SPECIAL."""

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[: len(SPECIAL)] != SPECIAL:
            raise ValueError(f"a vocabulary starts with {SPECIAL}, got {self.words[: len(SPECIAL)]}")

    @classmethod
    def build(cls, texts: Iterable[str], size: int, min_count: int) -> Vocabulary:
        """Build from the `size` most frequent words, in lower case, that occur at least `min_count` times."""
        counts = Counter(word for text in texts for word in text.lower().split())
        ranked = sorted((-count, word) for word, count in counts.items() if count >= min_count)
        return cls(SPECIAL + tuple(word for _, word in ranked[: size - len(SPECIAL)] if word not in SPECIAL))

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        return cls(tuple(json.loads(text)))

    def to_json(self) -> str:
        return json.dumps(self.words, ensure_ascii=False)

    def ids(self, texts: Sequence[str]) -> Tensor:
        """(n, T) int64, T the words of the longest text (at least 1), padded on the right with PAD."""
        rows = [[self._id.get(word, UNKNOWN) for word in text.lower().split()] for text in texts]
        table = torch.full((len(rows), max(1, *map(len, rows))), PAD, dtype=torch.int64)
        for row, ids in enumerate(rows):
            table[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
        return table

    @cached_property
    def _id(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words) if word not in SPECIAL}
