"""Encodes texts as subword tokens of a transformers tokenizer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from xbench.datasets.record import Dataset, Split
from xbench.models.record import Encoded

log = logging.getLogger("xbench")


@dataclass(frozen=True)
class TokenEncoder:
    """Texts -> token ids (n, T) padded on the right, with the attention mask in `extra`.

    too_long: how to treat a text with more than `max_length` tokens: cut, with one warning, or stop.
    """

    tokenizer: Any
    group: str
    max_length: int | None
    too_long: str = "cut"
    _told: set[str] = field(default_factory=set, compare=False)  # data sets whose cut texts have been reported

    def __call__(self, dataset: Dataset, split: Split) -> Encoded:
        if not isinstance(split.inputs, tuple):
            raise ValueError(f"this model takes texts, but data set {dataset.name!r} holds {dataset.modality}s")
        texts = list(split.inputs)
        coded = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        self._check_lengths(dataset, split, [bool(one.overflowing) for one in coded.encodings])
        ids, special = (
            coded["input_ids"],
            coded["special_tokens_mask"].bool() | (coded["attention_mask"] == 0),
        )
        words = torch.stack(
            [_words(text, spans, row) for text, spans, row in zip(texts, coded["offset_mapping"], special, strict=True)]
        )
        features = words if self.group == "word" else torch.where(special, -1, (~special).cumsum(dim=1) - 1)
        return Encoded(
            inputs=(ids,),
            baseline=(torch.where(special, ids, self._neutral()),),
            features=(features,),
            extra=(coded["attention_mask"],),
            tokens=tuple(
                self._strings(row, real) for row, real in zip(ids, coded["attention_mask"].bool(), strict=True)
            ),
            called=f"{self.group}s",
            special={name: number for name, number in self._special().items() if number is not None},
            masks=None if split.masks is None else (_token_masks(split.masks, words),),
        )

    def _check_lengths(self, dataset: Dataset, split: Split, cut: list[bool]) -> None:
        if not any(cut) or (self.too_long == "cut" and dataset.name in self._told):
            return
        limit = self.tokenizer.model_max_length if self.max_length is None else self.max_length
        which = f"{dataset.name}: {split.ids[cut.index(True)]} has more than the {limit} tokens this model takes"
        if self.too_long == "stop":
            raise ValueError(f"{which}; model.too_long=cut leaves away what is behind them")
        self._told.add(dataset.name)
        log.warning("%s; it and others like it are cut (model.too_long=stop ends the job instead)", which)

    def _special(self) -> dict[str, int | None]:
        return {"mask": self.tokenizer.mask_token_id, "pad": self.tokenizer.pad_token_id}

    def _neutral(self) -> int:
        mask: int | None = self.tokenizer.mask_token_id
        return self.tokenizer.pad_token_id if mask is None else mask

    def _strings(self, ids: Tensor, real: Tensor) -> tuple[str, ...]:
        names = self.tokenizer.convert_ids_to_tokens(ids.tolist())
        return tuple(name if kept else "" for name, kept in zip(names, real.tolist(), strict=True))


def _words(text: str, spans: Tensor, special: Tensor) -> Tensor:
    """The number of the whitespace word of each token, (T,) int64; -1 for special tokens."""
    word_at, word = [], -1
    for place, character in enumerate(text):
        if not character.isspace() and (place == 0 or text[place - 1].isspace()):
            word += 1
        word_at.append(word)
    # A token's last character lies in its word; its first may be the preceding space.
    numbers = [
        -1 if skip or end <= start else word_at[end - 1]
        for (start, end), skip in zip(spans.tolist(), special.tolist(), strict=True)
    ]
    return torch.tensor(numbers, dtype=torch.int64)


def _token_masks(masks: object, words: Tensor) -> Tensor:
    """Masks of tokens, (n, T) bool: a token is evidence if its word is."""
    assert isinstance(masks, Sequence)  # texts have tuples of words' masks; Split checks it
    rows = [[word >= 0 and bool(mask[word]) for word in row] for mask, row in zip(masks, words.tolist(), strict=True)]
    return torch.tensor(rows, dtype=torch.bool)
