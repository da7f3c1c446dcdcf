"""Base of the evidence for randomisation metrics: the similarity of maps under a change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.evidence import Changed
from xbench.metrics.maps import Maps
from xbench.metrics.ranks import spearman


@dataclass(frozen=True)
class SimilarityUnderChange(Changed):
    """Spearman's correlation between the map and the map under each change, (n, changes)."""

    def reduce(self, case: Case, maps: Maps, others: Iterator[Tensor]) -> Tensor:
        own = compared(case, maps.values)
        found = [spearman(maps.values, other, own) for other in others]
        return torch.stack(found, dim=1) if found else maps.values.new_zeros(len(maps.values), 0).double()


def compared(case: Case, maps: Tensor) -> Tensor:
    """The mask of compared elements, (n, d) bool: all elements except those outside any feature (padding)."""
    own = torch.ones_like(maps, dtype=torch.bool)
    return own if case.read_apart else own & (case.features >= 0)
