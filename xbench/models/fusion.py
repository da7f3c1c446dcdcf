"""An image and a sentence in one network, both explained at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from xbench.datasets.record import Dataset, Split
from xbench.models.encoders import WordEncoder
from xbench.models.record import Encoded
from xbench.models.vocabulary import PAD, Vocabulary


class LateFusion(nn.Module):
    """Images (n, 3, H, W) in [0, 1] and a sentence -> logits (n, classes).

    The sentence is given as token ids (n, T), padded with PAD, or as their word vectors (n, T, dimension), so that
    image and words can be explained together: padding has the zero vector, which changes no result. Convolutions on
    one side, the sum of the word vectors on the other, fused late: by their product at every place of the image, of
    which the strongest place decides.

    shape: {"image": (3, H, W)}. vocabulary: number of token ids. classes: how many logits.
    dimension: of a word vector. width: channels of the first convolution.
    """

    modality: ClassVar[str] = "multimodal"

    def __init__(
        self,
        shape: Mapping[str, tuple[int, int, int]],
        vocabulary: int,
        classes: int,
        dimension: int = 32,
        width: int = 24,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dimension, padding_idx=PAD)
        with torch.no_grad():
            self.embedding.weight.mul_(0.3)  # torch's 1.0 drowns what is learned about a word
        self.image = nn.Sequential(
            nn.Conv2d(shape["image"][0], width, 5, padding=2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        self.words = nn.Linear(dimension, 2 * width)
        self.fused = nn.Sequential(nn.Conv2d(2 * width, 2 * width, 1), nn.BatchNorm2d(2 * width), nn.ReLU())
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, images: Tensor, sentence: Tensor) -> Tensor:
        vectors = sentence if sentence.is_floating_point() else self.embedding(sentence)
        asked = self.words(vectors.sum(1))[:, :, None, None]
        found = self.fused(self.image(2 * images - 1) * asked)
        logits: Tensor = self.classifier(found.amax((2, 3)))
        return logits


@dataclass(frozen=True)
class FusionEncoder:
    """An image and the word vectors of a sentence, one feature per word behind those of the image.

    The baseline of a word is the zero vector: the sentence without it.
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
            tokens=words.tokens,
            called="patches and words",
            masks=(seen, words.masks[0][..., None]) if isinstance(seen, Tensor) and words.masks is not None else None,
        )
