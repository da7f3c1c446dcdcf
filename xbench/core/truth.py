"""Ground truth about where the evidence lies, in the cells of its mask (pixels, words, columns)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from xbench.core.layout import Layout
from xbench.core.positions import from_left


@dataclass(frozen=True)
class Truth:
    """Ground truth of n samples. Maps are summed over dimensions that the masks lack, such as channels.

    Attributes:
        cells: (d,) int64, the cell of every element at the place where points enter.
        evidence: (n, m) bool, the cells that hold the evidence.
        inside: (n, m) bool, the cells that belong to the sample, without padding and special tokens.
        shapes: shapes of one sample's masks, whose cells are concatenated.
    """

    cells: Tensor
    evidence: Tensor
    inside: Tensor
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, masks: Sequence[Tensor], layout: Layout, features: Tensor, inputs: Sequence[torch.Size]) -> Truth:
        """Build from one mask (n, ...) per tensor of the layout, aligned by `from_left`.

        A mask of size 1 in a dimension covers that dimension as a whole: (n, 1, H, W) for images of three channels.

        Raises:
            ValueError: a mask does not fit.
        """
        if len(masks) != len(layout.shapes):
            raise ValueError(f"masks: expected {len(layout.shapes)} tensors like the inputs, got {len(masks)}")
        parts, start = [], 0
        for mask, shape in zip(masks, layout.shapes, strict=True):
            padded = from_left("masks", mask, len(mask), shape, inputs)
            own = torch.arange(start, start + mask[0].numel()).reshape(padded.shape[1:])
            parts.append(own.expand(shape).flatten())
            start += own.numel()
        cells = torch.cat(parts).to(features.device)
        evidence = torch.cat([mask.flatten(1) for mask in masks], dim=1).to(features.device, torch.bool)
        present = torch.zeros(len(features), start, device=features.device)
        present.index_add_(1, cells, (features >= 0).float())
        shapes = tuple(tuple(mask.shape[1:]) for mask in masks)
        return cls(cells, evidence, (present > 0).expand_as(evidence), shapes)

    def relevance(self, maps: Tensor) -> Tensor:
        """Maps (n, d) summed within each cell, (n, m) in double precision."""
        maps = maps.double()
        return maps.new_zeros(self.evidence.shape).index_add_(1, self.cells, maps)

    def part(self, rows: slice | Tensor) -> Truth:
        """The ground truth of some of the samples."""
        return replace(self, evidence=self.evidence[rows], inside=self.inside[rows])


@dataclass(frozen=True)
class Planted:
    """What is known of a function that was written down, not learnt, whatever is read of its outputs.

    Attributes:
        dummies: (d,) bool, the elements of a sample that no output depends on.
        partners: (p, 2) int64, elements of which the function sees the product alone.
    """

    dummies: Tensor
    partners: Tensor

    @classmethod
    def of(cls, model: nn.Module) -> Planted | None:
        """What the model says of itself as `known_dummies` and `known_partners`; None where it says nothing."""
        dummies, partners = getattr(model, "known_dummies", None), getattr(model, "known_partners", None)
        return cls(dummies, partners) if isinstance(dummies, Tensor) and isinstance(partners, Tensor) else None
