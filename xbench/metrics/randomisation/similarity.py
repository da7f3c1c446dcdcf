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
        own = torch.ones_like(maps.values, dtype=torch.bool)
        if not case.read_apart:
            own &= case.features >= 0
        return torch.stack([spearman(maps.values, other, own) for other in others], dim=1)
