"""Samples of unequal length in one tensor: their lengths, and batches of samples of similar length."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

_SHORTER = 0.65  # share of a batch's longest row below which a separate batch saves more than it costs


@dataclass(frozen=True)
class Padded:
    """One input, (n, T, ...), whose samples end in padding.

    Attributes:
        input: the index of the input.
        width: T.
        lengths: (n,) int64 on the CPU, the positions of each sample before the padding, at least 1.
    """

    input: int
    width: int
    lengths: Tensor

    def longest(self, samples: Tensor) -> int:
        """The length of the longest of the samples."""
        return int(self.lengths[samples.cpu()].max())

    def batch(self, samples: Tensor, most: int) -> int:
        """The number of samples in the next batch, at most `most`; `samples` are ordered by falling length."""
        lengths = self.lengths[samples[:most].cpu()]
        shorter = (lengths <= _SHORTER * lengths[0]).nonzero()
        first = int(shorter[0]) if len(shorter) else len(lengths)
        return max(first, min(len(lengths), math.ceil(most / 4)))

    def falling(self, samples: Tensor) -> Tensor:
        """The samples ordered by falling length."""
        return self.lengths[samples.cpu()].argsort(descending=True, stable=True)
