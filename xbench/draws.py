"""Keyed randomness: every draw is a function of (seed, sample id, purpose, index), never of a global state.

So the same sample sees the same noise whatever the chunk size, the batch-mates, the device, the order of the
algorithms or the number of times a run was resumed. Draws are made on the CPU, hence bitwise equal everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=65536)
def _key(seed: int, sample: str, purpose: str) -> int:
    digest = hashlib.sha256(f"{seed}\0{sample}\0{purpose}".encode()).digest()
    return int.from_bytes(digest[:16], "little")


@dataclass(frozen=True)
class Draws:
    """Random numbers of the samples `ids` under the run's `seed`.

    `scope` separates repetitions of the same purpose, for example the k-th re-explanation of sensitivity-max.
    """

    seed: int
    ids: tuple[str, ...]
    scope: str = ""

    def generator(self, row: int, purpose: str, index: int = 0) -> np.random.Generator:
        """The generator of one sample's draw `index`; a counter-based one, so any draw is reached at once."""
        key = _key(self.seed, self.ids[row], f"{self.scope}/{purpose}")
        return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, index, 0]))

    def normal(self, purpose: str, index: int, like: Tensor) -> Tensor:
        """Standard normal numbers in the shape, type and place of `like`: (n, ...)."""
        return self._fill(purpose, index, like, lambda g, size, dtype: g.standard_normal(size, dtype=dtype))

    def uniform(self, purpose: str, index: int, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) in the shape, type and place of `like`: (n, ...)."""
        return self._fill(purpose, index, like, lambda g, size, dtype: g.random(size, dtype=dtype))

    def within(self, scope: str) -> Draws:
        """The same samples with numbers of their own, named by `scope`."""
        return replace(self, scope=f"{self.scope}/{scope}")

    def _fill(
        self,
        purpose: str,
        index: int,
        like: Tensor,
        draw: Callable[[np.random.Generator, int, type], np.ndarray],
    ) -> Tensor:
        # One flat vector per sample: padding a sample on the right does not change the numbers before it.
        size = like[0].numel() if len(like) else 0
        dtype = np.float32 if like.dtype in (torch.float32, torch.float16, torch.bfloat16) else np.float64
        rows = [draw(self.generator(row, purpose, index), size, dtype) for row in range(len(self.ids))]
        flat = torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, size)
        return flat.reshape(like.shape).to(like.device, like.dtype)
