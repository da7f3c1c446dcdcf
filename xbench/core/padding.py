"""Samples of unequal length in one tensor: how long each is, and how to send those of similar length together."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

_SHORTER = 0.65  # of the longest row of a batch: from here on a batch of its own saves more than it costs


@dataclass(frozen=True)
class Padded:
    """One input, (n, T, ...), whose samples end in padding.

    Attributes:
        input: which one.
        width: T.
        lengths: (n,) int64 on the CPU, the positions of each sample before the padding, at least 1.
    """

    input: int
    width: int
    lengths: Tensor

    def longest(self, samples: Tensor) -> int:
        """The positions that the longest of the samples has."""
        return int(self.lengths[samples.cpu()].max())

    def batch(self, samples: Tensor, most: int) -> int:
        """How many of the samples, whose lengths fall, go through a model together, at most `most`."""
        lengths = self.lengths[samples[:most].cpu()]
        shorter = (lengths <= _SHORTER * lengths[0]).nonzero()
        first = int(shorter[0]) if len(shorter) else len(lengths)
        return max(first, min(len(lengths), math.ceil(most / 4)))

    def falling(self, samples: Tensor) -> Tensor:
        """The order in which the samples' lengths fall."""
        return self.lengths[samples.cpu()].argsort(descending=True, stable=True)
