"""Networks for an image and a sentence, both explained at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import ClassVar

import torch
import torchvision
from torch import Tensor, nn

from xbench.boundary import libraries
from xbench.models.torchvision import ImageNetInput, Preprocessing, Torchvision
from xbench.models.vocabulary import PAD
from xbench.models.weights import fit_weights


class LateFusion(nn.Module):
    """Images (n, 3, H, W) in [0, 1] and a sentence -> logits (n, classes).

    The sentence is given as token ids (n, T), padded with PAD, or as word vectors (n, T, dimension), so that image and
    words can be explained together; padding has the zero vector, which changes no result. Convolutions encode the
    image, a sum of word vectors the sentence; the two are multiplied at every position, and the maximum over positions
    is classified.

    shape: {"image": (3, H, W)}. vocabulary: number of token ids. classes: number of logits.
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
            self.embedding.weight.mul_(0.3)  # torch's default of 1.0 outweighs what training adds to a word vector
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

    def forward(self, images: Tensor, sentence: Tensor, real: Tensor | None = None) -> Tensor:
        vectors, _ = _words(self.embedding, sentence, real)
        asked = self.words(vectors.sum(1))[:, :, None, None]
        found = self.fused(self.image(2 * images - 1) * asked)
        logits: Tensor = self.classifier(found.amax((2, 3)))
        return logits


class PretrainedFusion(nn.Module):
    """Images (n, 3, H, W) in [0, 1] and a sentence -> logits (n, classes), by published networks.

    The first stages of a torchvision network encode the image, an encoder of transformers (BERT's) the sentence; both
    are fused as in `LateFusion`, and the sentence has the same form as there.

    shape: {"image": (3, H, W)}. vocabulary: number of token ids. classes: number of logits.
    arch: a torchvision network with stages layer1 to layer4 (resnet, resnext, wide_resnet). stages: number of stages
        kept.
    weights: initial weights of `arch`: null, a name such as DEFAULT (downloaded when needed), or a file.
    size: side of the square that images are resized to. dimension: of a word vector. layers, heads: of the encoder.
    Raises ValueError for a network without such stages.
    """

    modality: ClassVar[str] = "multimodal"

    def __init__(
        self,
        shape: Mapping[str, tuple[int, int, int]],
        vocabulary: int,
        classes: int,
        arch: str = "resnet18",
        stages: int = 1,
        weights: str | None = None,
        size: int = 48,
        dimension: int = 64,
        layers: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__()
        with libraries.for_transformers():
            from transformers import BertConfig, BertModel  # only needed here, and slow to load

        whole = torchvision.models.get_model(arch, weights=None)
        if weights is not None:
            fit_weights(whole, Torchvision(arch, weights).state(), f"weights {weights}")
        if not hasattr(whole, f"layer{stages}"):
            raise ValueError(f"arch: {arch} has no layer{stages}; stages are those of a resnet, layer1 to layer4")
        names = ["conv1", "bn1", "relu", "maxpool", *(f"layer{i + 1}" for i in range(stages))]
        trunk = nn.Sequential(OrderedDict((name, getattr(whole, name)) for name in names))
        self.image = ImageNetInput(trunk, Preprocessing(size))
        config = BertConfig(
            vocab_size=1, hidden_size=dimension, num_hidden_layers=layers, num_attention_heads=heads,
            intermediate_size=2 * dimension, pad_token_id=0, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        self.embedding = nn.Embedding(vocabulary, dimension, padding_idx=PAD)
        self.text = BertModel(config, add_pooling_layer=False)
        with torch.no_grad():
            width = trunk(torch.zeros(1, 3, size, size)).shape[1]
        self.words = nn.Linear(dimension, width)
        self.fused = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: Tensor, sentence: Tensor, real: Tensor | None = None) -> Tensor:
        vectors, there = _words(self.embedding, sentence, real)
        states = self.text(inputs_embeds=vectors, attention_mask=there).last_hidden_state
        asked = self.words((states * there.unsqueeze(2)).sum(1))[:, :, None, None]
        found = self.fused(self.image(images) * asked)
        logits: Tensor = self.classifier(found.amax((2, 3)))
        return logits


def _words(embedding: nn.Embedding, sentence: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
    """Word vectors (n, T, D) from token ids or vectors, zero at padding, and the mask of words, (n, T)."""
    if not sentence.is_floating_point():
        vectors, there = embedding(sentence), (sentence != PAD).to(embedding.weight.dtype)
    else:
        vectors, there = sentence, sentence.new_ones(sentence.shape[:2]) if real is None else real.to(sentence.dtype)
    return vectors * there.unsqueeze(2), there
