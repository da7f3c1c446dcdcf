"""Weights drawn anew: the evidence of all model parameter randomisation tests."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from xbench.core.case import Case
from xbench.metrics.evidence import Change, Changed, Explained
from xbench.metrics.maps import Maps
from xbench.metrics.randomisation.similarity import SimilarityUnderChange, compared
from xbench.metrics.ranks import spearman

Order = Literal["top_down", "bottom_up"]


@dataclass(frozen=True)
class FullyRandom(Changed):
    """The map of the model with all weights drawn anew: its rank correlation with the map, and its entropy, (n, 2).

    Each tensor's values come from the normal distribution of its own mean and standard deviation, so tensors whose
    values are all equal stay. `n_bins` are those of the entropy, see `histogram_entropy`.
    """

    n_bins: int = 100

    def changes(self, case: Case, explained: Explained) -> Iterator[Change]:
        yield Change(model=redrawn(explained.model, case.draws.seed))

    def reduce(self, case: Case, maps: Maps, others: Iterator[Tensor]) -> Tensor:
        own, other = compared(case, maps.values), next(others)
        return torch.stack([spearman(maps.values, other, own), histogram_entropy(other, own, self.n_bins)], dim=1)


@dataclass(frozen=True)
class PartlyRandom(SimilarityUnderChange):
    """Weights drawn anew in cascades: in some modules from the last (or the first) on, but never in all of them.

    The rank correlation of the map and of those of `cascades` - 1 such models, (n, ...); evenly many modules are added
    each time, and with `cascades` there would be all. The weights are those of `FullyRandom`.
    """

    cascades: int
    order: Order

    def changes(self, case: Case, explained: Explained) -> Iterator[Change]:
        stages = cascade(explained.model, case.draws.seed, self.cascades, self.order)
        yield from (Change(model=model) for model, last in stages if not last)


def cascade(model: nn.Module, seed: int, cascades: int, order: Order) -> Iterator[tuple[nn.Module, bool]]:
    """A model with more and more weights drawn anew, and whether these are all; it is the same one each time."""
    drawn, made = weighted(redrawn(model, seed)), copy.deepcopy(model)
    layers = weighted(made)
    count = min(cascades, len(layers))
    stops = {len(layers) * (i + 1) // count for i in range(count)}
    pairs = list(zip(layers, drawn, strict=True))
    for done, (layer, source) in enumerate(reversed(pairs) if order == "top_down" else pairs, start=1):
        with torch.no_grad():
            for old, new in zip(layer.parameters(recurse=False), source.parameters(recurse=False), strict=True):
                old.copy_(new)
        if done in stops:
            yield made, done == len(layers)


@torch.no_grad()
def redrawn(model: nn.Module, seed: int) -> nn.Module:
    """A copy of the model with all weights drawn anew, from the last module on."""
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for layer in reversed(weighted(model)):
        for weight in layer.parameters(recurse=False):
            values = weight.detach().double()
            drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(values.device)
            weight.copy_(values.mean() + values.std(correction=0) * drawn)
    return model


def weighted(model: nn.Module) -> list[nn.Module]:
    """The modules with parameters of their own, in the order in which the model defines them."""
    return [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]


def histogram_entropy(maps: Tensor, own: Tensor, n_bins: int) -> Tensor:
    """Entropy of the histogram of each map's own values, in bins of equal width from its least to its greatest, (n,).

    0 where all values are equal; NaN where one is.
    """
    values = maps.double()
    low = values.masked_fill(~own, torch.inf).amin(1, keepdim=True)
    span = values.masked_fill(~own, -torch.inf).amax(1, keepdim=True) - low
    places = ((values - low) / torch.where(span > 0, span, 1) * n_bins).nan_to_num().long().clamp(0, n_bins - 1)
    counts = values.new_zeros(len(values), n_bins).scatter_add_(1, places, own.double().expand_as(values))
    shares = counts / counts.sum(1, keepdim=True)
    entropy: Tensor = torch.special.entr(shares).sum(1).masked_fill((values.isnan() & own).any(1), torch.nan)
    return entropy


def check_cascades(cascades: int, order: str) -> None:
    """ValueError for settings that no cascade has."""
    if cascades < 1:
        raise ValueError(f"cascades: expected at least 1, got {cascades}")
    if order not in get_args(Order):
        raise ValueError(f"order: expected {' or '.join(get_args(Order))}, got {order!r}")
