"""Trains a small classifier, with one loop for all kinds of data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.datasets.record import Lazy
from xbench.models.vocabulary import MASK, PAD

POOL = 50  # number of batches sorted by length together: little padding, yet random batches

Batches = Callable[[torch.Generator], Iterator[tuple[tuple[Tensor, ...], Tensor]]]  # an epoch of (arguments, targets)


def fit(module: nn.Module, batches: Batches, steps: int, epochs: int, lr: float, generator: torch.Generator) -> None:
    """Train in place with Adam and a learning rate that falls from `lr` to 0 along a cosine.

    The loss is cross-entropy for classes and the squared error for float targets.
    batches: yields the `steps` batches of one epoch, in an order drawn from `generator`.
    Dropout draws from the global CPU generator: call this inside `randomness.seeded`.
    """
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=lr, total_steps=steps * epochs, pct_start=0.1, cycle_momentum=False
    )
    module.train()
    for _ in range(epochs):
        for inputs, targets in batches(generator):
            optimizer.zero_grad(set_to_none=True)
            _loss(module(*inputs), targets).backward()
            optimizer.step()
            schedule.step()
    module.eval()


def _loss(output: Tensor, targets: Tensor) -> Tensor:
    if targets.is_floating_point():
        return F.mse_loss(output.squeeze(1), targets)
    return F.cross_entropy(output, targets)


def tensor_batches(inputs: Sequence[Tensor | Lazy], targets: Tensor, size: int) -> Batches:
    """Batches of `size` rows in random order."""

    def epoch(generator: torch.Generator) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        for rows in torch.randperm(len(targets), generator=generator).split(size):
            yield tuple(tensor[rows] for tensor in inputs), targets[rows]

    return epoch


def word_batches(ids: Tensor, targets: Tensor, size: int, mask_rate: float) -> Batches:
    """Batches of sentences of similar length, cut to the longest, with some words hidden behind MASK.

    ids: (n, T) int64, padded on the right.
    mask_rate: mean share of hidden words. Each sentence draws its own share, from none to nearly all, so
        that the model has seen any part of a sentence, as baselines, ablations and coalitions produce.
    """
    lengths = (ids != PAD).sum(dim=1)

    def epoch(generator: torch.Generator) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        order = torch.randperm(len(ids), generator=generator)
        batches = [batch for pool in order.split(size * POOL) for batch in pool[lengths[pool].argsort()].split(size)]
        for place in torch.randperm(len(batches), generator=generator).tolist():
            rows = batches[place]
            yield (hide_words(ids[rows, : int(lengths[rows].max())], mask_rate, generator),), targets[rows]

    return epoch


def hide_words(ids: Tensor, mask_rate: float, generator: torch.Generator) -> Tensor:
    """`ids` (n, T) with words replaced by MASK at a rate u ** (1 / mask_rate - 1), u uniform per sentence."""
    if mask_rate == 0.0:
        return ids
    rate = torch.rand(len(ids), 1, generator=generator) ** (1.0 / mask_rate - 1.0)  # its mean is mask_rate
    hidden = torch.rand(ids.shape, generator=generator) < rate
    return torch.where(hidden & (ids != PAD), MASK, ids)
