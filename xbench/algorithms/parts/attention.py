"""The base of the two attention rollouts: reads the weights of all layers and maps one position's row to the sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm
from xbench.algorithms.parts.positions import channels, onto_samples, require_positions
from xbench.core.case import Case
from xbench.core.needs import NotApplicable
from xbench.rules.attention import AttentionWeights

WEIGHTS = AttentionWeights()


@dataclass(frozen=True)
class Rollout(Algorithm):
    """Base of the algorithms that multiply attention weights through the layers.

    Args:
        query: the position whose row is the map, or `mean` over all positions, for models that average. None: the first
            position, a class token; if no position attends to a later one, as in a decoder, the last position that any
            attends to (the others are padding).
    """

    query: int | Literal["mean"] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.query, str) and self.query != "mean":
            raise ValueError(f"query: expected a position or 'mean', got {self.query!r}")

    def check(self, case: Case) -> None:
        length = _length(case)
        if isinstance(self.query, int) and not -length <= self.query < length:
            raise ValueError(f"query: expected one of {length} positions, got {self.query}")
        require_positions(case, [length], "the attention")

    def density(self, case: Case, maps: Tensor) -> Tensor:
        return maps / channels(case, [_length(case)], maps)

    def rolled(self, case: Case, layers: list[Tensor], step: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Apply `step` for each layer, first to last, starting at the identity: (n, T, T)."""
        length = _length(case)
        rolled = torch.eye(length, dtype=layers[0].dtype, device=layers[0].device).expand(len(layers[0]), -1, -1)
        for layer in layers:
            rolled = step(layer, rolled)
        return rolled

    def finished(self, case: Case, rolled: Tensor, layers: list[Tensor]) -> Tensor:
        """The row of the query, as a map (n, d)."""
        if self.query == "mean":
            return onto_samples(case, rolled.mean(1))
        if self.query is None:
            rows = torch.arange(len(rolled), device=rolled.device)
            causal = all(not bool(layer.triu(1).any()) for layer in layers)
            return onto_samples(case, rolled[rows, _ends(layers) if causal else 0])
        return onto_samples(case, rolled[:, self.query])


def weights(case: Case, flat: Tensor) -> list[Tensor]:
    """The attention weights that were read, (n, heads, T, T) for each layer."""
    return list(case.places.layout(WEIGHTS).unflatten(flat, cast=False))


def _ends(layers: list[Tensor]) -> Tensor:
    """The last position of each sample that any position attends to, (n,); later positions are padding."""
    attended = torch.stack([layer.amax((1, 2)) > 0 for layer in layers]).any(0)
    return (attended * torch.arange(attended.shape[1], device=attended.device)).amax(1)


def _length(case: Case) -> int:
    """The number of positions T, which must be the same in all layers."""
    shapes = case.places.layout(WEIGHTS).shapes
    if len({shape[1:] for shape in shapes}) != 1 or shapes[0][1] != shapes[0][2]:
        found = ", ".join(str(tuple(shape)) for shape in shapes)
        raise NotApplicable(f"needs self-attention among the same positions in all layers: weights are {found}")
    return shapes[0][1]
