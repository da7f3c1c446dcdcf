"""A small convolutional network for sentences."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.models.vocabulary import PAD


class TextCNN(nn.Module):
    """Token ids (n, T), any T >= 1, padded on the right with PAD -> logits (n, classes).

    Convolutions of several lengths over word vectors, maximum over time, one linear layer.
    Source: Y. Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014,
    https://aclanthology.org/D14-1181. Differences from the paper: the vectors are trained from scratch,
    and windows start at every word and run past the end of the sentence into zeros.

    Padding is found from the ids, not the vectors, and changes no result: padded vectors become zero, as past the end
    of an unpadded sentence, and no window starts at padding. This also holds when a hook replaces the output of
    `embedding`.

    vocabulary: number of token ids. classes: number of logits. dimension: size of a word vector.
    width: filters per window length. windows: window lengths in words. dropout: before the last layer.
    """

    modality: ClassVar[str] = "text"

    def __init__(
        self,
        vocabulary: int,
        classes: int,
        dimension: int = 128,
        width: int = 100,
        windows: tuple[int, ...] = (1, 3, 5),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if not windows or min(windows) < 1:
            raise ValueError(f"windows must be lengths >= 1, got {list(windows)}")
        self.windows = tuple(windows)
        self.embedding = nn.Embedding(vocabulary, dimension)
        nn.init.normal_(self.embedding.weight, std=0.1)  # torch's default of 1.0 hides what rare words learn
        self.convolutions = nn.ModuleList(nn.Conv1d(dimension, width, window) for window in windows)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width * len(windows), classes)

    def forward(self, ids: Tensor) -> Tensor:
        vectors = self.embedding(ids)  # (n, T, dimension)
        real = (ids != PAD).to(vectors.dtype).unsqueeze(1)  # (n, 1, T)
        channels = vectors.transpose(1, 2) * real
        maxima = []
        for window, convolution in zip(self.windows, self.convolutions, strict=True):
            found = F.relu(convolution(F.pad(channels, (0, window - 1))))  # (n, width, T)
            # Values after the ReLU are not negative, so zeros at padded starts do not change the maximum.
            maxima.append(F.max_pool1d(found * real, ids.shape[1]).flatten(1))
        logits: Tensor = self.classifier(self.dropout(torch.cat(maxima, dim=1)))
        return logits
