"""How a split becomes what a model takes: tensors as they are, words through a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from xbench.datasets.record import Dataset, Split
from xbench.models.record import Encoded
from xbench.models.vocabulary import MASK, PAD, Vocabulary

Item = TypeVar("Item")


def encode_tensors(dataset: Dataset, split: Split) -> Encoded:
    """Tensor inputs as they are, with the data set's baseline (zeros if it has none) and feature groups."""
    if not isinstance(split.inputs, Tensor):
        raise ValueError(f"this model takes tensors, but data set {dataset.name!r} holds {dataset.modality}s")
    baseline = torch.zeros_like(split.inputs[:1]) if dataset.baseline is None else dataset.baseline
    return Encoded(
        inputs=(split.inputs,),
        baseline=(baseline,),
        features=None if dataset.features is None else (dataset.features,),
        masks=(split.masks,) if isinstance(split.masks, Tensor) else None,
    )


@dataclass(frozen=True)
class WordEncoder:
    """Texts -> ids (n, T), T the longest text of the split; one feature per word.

    The baseline has the neutral token MASK in place of every word, and PAD where there is none: the
    model was trained with words hidden behind MASK, so it has seen such inputs.
    """

    vocabulary: Vocabulary

    def __call__(self, dataset: Dataset, split: Split) -> Encoded:
        if isinstance(split.inputs, Tensor):
            raise ValueError(f"this model takes texts, but data set {dataset.name!r} holds {dataset.modality}s")
        ids = self.vocabulary.ids(split.inputs)
        real = ids != PAD
        position = torch.arange(ids.shape[1]).expand_as(ids)
        width = ids.shape[1]
        return Encoded(
            inputs=(ids,),
            baseline=(torch.where(real, MASK, PAD),),
            features=(torch.where(real, position, -1),),
            tokens=tuple(tuple(_padded(text.split(), width, "")) for text in split.inputs),
            masks=_word_masks(split, width),
        )


def _word_masks(split: Split, width: int) -> tuple[Tensor] | None:
    if split.masks is None:
        return None
    return (torch.tensor([_padded(list(map(bool, mask)), width, False) for mask in split.masks]),)


def _padded(row: Sequence[Item], width: int, filler: Item) -> list[Item]:
    return [*row, *[filler] * (width - len(row))]
