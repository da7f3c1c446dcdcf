"""The bare model as the physical limit: the most rows per second that it does, with or without a backward pass."""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor, nn


def seconds_per_row(model: nn.Module, x: Tensor, backward: bool, rows: int, rounds: int = 3) -> float:
    """Median seconds per row of passes of `rows` rows; parameters are frozen, one backward per pass."""
    batch = x[torch.arange(rows) % len(x)].clone()
    frozen = [(p, p.requires_grad) for p in model.parameters()]
    found = []
    try:
        for p, _ in frozen:
            p.requires_grad_(False)
        for turn in range(rounds + 1):
            start = time.perf_counter()
            if backward:
                batch.requires_grad_()
                torch.autograd.grad(model(batch)[:, 0].sum(), batch)
            else:
                with torch.inference_mode():
                    model(batch)
            _wait(x)
            if turn:
                found.append((time.perf_counter() - start) / rows)
    finally:
        for p, wanted in frozen:
            p.requires_grad_(wanted)
    return statistics.median(found)


def best(model: nn.Module, x: Tensor, backward: bool, most: int) -> tuple[float, int]:
    """Fewest seconds per row over batch sizes 1, 2, 4, ... up to `most`, and that batch size."""
    sizes = [2**i for i in range(most.bit_length()) if 2**i <= most]
    return min((seconds_per_row(model, x, backward, size), size) for size in sizes)


def _wait(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
