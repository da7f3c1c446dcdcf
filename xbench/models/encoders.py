"""Encodes a split for a model: tensors unchanged, words through a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from xbench.datasets.record import Dataset, Split, by_part
from xbench.datasets.record import tensors as numbers
from xbench.modalities import MODALITIES
from xbench.models.record import Encoded
from xbench.models.vocabulary import MASK, PAD, Vocabulary

Item = TypeVar("Item")


def encode_tensors(dataset: Dataset, split: Split) -> Encoded:
    """Tensor inputs unchanged, in the order of their parts, with the data set's baseline and feature groups.

    The baseline is zero if the data set has none.
    """
    tensors = numbers(split.inputs)
    if len(tensors) != len(by_part(split.inputs)):
        raise ValueError(f"this model takes tensors, but data set {dataset.name!r} holds {dataset.modality}s")
    modality = MODALITIES[dataset.modality]
    given = {} if dataset.baseline is None else by_part(dataset.baseline)
    features = dataset.features(split) if callable(dataset.features) else dataset.features
    groups = None if features is None else by_part(features)
    masks = {name: mask for name, mask in by_part(split.masks).items() if isinstance(mask, Tensor)}
    return Encoded(
        inputs=tuple(tensors.values()),
        baseline=tuple(given[name] if name in given else torch.zeros_like(part[:1]) for name, part in tensors.items()),
        features=None if groups is None else tuple(groups[name] for name in tensors),
        masks=tuple(masks[name] for name in tensors) if masks else None,
        tokens=_cells(dataset, tensors) if modality.view == "bars" else None,
        extra=split.extra,
        called="values" if groups is None else modality.called,
    )


def _cells(dataset: Dataset, tensors: Mapping[str, Tensor]) -> tuple[tuple[str, ...], ...]:
    """The columns of a table with each sample's values; unnamed columns are called x0, x1, ..."""
    (values,) = tensors.values()
    names = dataset.columns or tuple(f"x{number}" for number in range(values.shape[1]))
    return tuple(
        tuple(f"{name} = {value:.4g}" for name, value in zip(names, row, strict=True)) for row in values.tolist()
    )


@dataclass(frozen=True)
class WordEncoder:
    """Texts -> ids (n, T), T the longest text of the split; one feature per word.

    The baseline has the neutral token MASK in place of every word, and PAD elsewhere. The model was trained with words
    hidden behind MASK, so it has seen such inputs.
    """

    vocabulary: Vocabulary

    def __call__(self, dataset: Dataset, split: Split) -> Encoded:
        if not isinstance(split.inputs, tuple):
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
            special={"mask": MASK, "pad": PAD},
            called="words",
        )


def _word_masks(split: Split, width: int) -> tuple[Tensor] | None:
    if split.masks is None or not isinstance(split.masks, tuple):
        return None
    return (torch.tensor([_padded(list(map(bool, mask)), width, False) for mask in split.masks]),)


def _padded(row: Sequence[Item], width: int, filler: Item) -> list[Item]:
    return [*row, *[filler] * (width - len(row))]


@dataclass(frozen=True)
class FusionEncoder:
    """An image and the word vectors of a sentence, with one feature per word after the features of the image.

    The baseline of a word is the zero vector, i.e. the sentence without the word. The mask of real words is passed to
    the model as a further argument.
    """

    vocabulary: Vocabulary
    embedding: nn.Embedding

    def __call__(self, dataset: Dataset, split: Split) -> Encoded:
        assert isinstance(split.inputs, Mapping)
        image, text = split.inputs["image"], split.inputs["text"]
        assert isinstance(image, Tensor)
        masks = split.masks if isinstance(split.masks, Mapping) else {}
        words = WordEncoder(self.vocabulary)(dataset, Split(split.ids, text, split.targets, masks.get("text")))
        with torch.no_grad():
            vectors = self.embedding(words.inputs[0])
        assert isinstance(dataset.baseline, Mapping)
        assert isinstance(dataset.features, Mapping)
        groups = dataset.features["image"]
        assert words.features is not None
        own = words.features[0]
        number = torch.where(own >= 0, own + int(groups.max()) + 1, -1)[..., None].expand_as(vectors)
        seen = masks.get("image")
        return Encoded(
            inputs=(image, vectors),
            baseline=(dataset.baseline["image"], torch.zeros_like(vectors[:1])),
            features=(groups.expand(len(image), *groups.shape[1:]), number),
            extra=((own >= 0).to(vectors.dtype),),
            tokens=words.tokens,
            called="patches and words",
            masks=(seen, words.masks[0][..., None]) if isinstance(seen, Tensor) and words.masks is not None else None,
        )
