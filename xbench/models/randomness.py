"""Blocks in which torch draws and sums reproducibly, without a change to global state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside the block, torch's CPU generator starts from `seed`; its state is restored afterwards.

    Layers use the process-wide generator for initialisation and dropout and accept no other. `torch.manual_seed` would
    also reseed every accelerator, so the generator's own method is used.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside the block, torch computes with one thread; the number of threads is restored afterwards.

    The order of a sum depends on the number of threads, so one thread makes trained weights independent of
    OMP_NUM_THREADS. Small layers gain little from a second thread, and wait for it at every step if another process
    keeps a core busy (measured: 15 times slower).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
