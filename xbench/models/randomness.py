"""Places where torch draws and adds numbers the same way every time, without touching anybody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch's CPU generator starts from `seed`; outside, its state is as it was, also on error.

    Layers initialise themselves and drop units from the process-wide generator and take no other.
    `torch.manual_seed` would also reseed every accelerator, hence the generator's own method.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes with one thread; outside, with as many as before, also on error.

    The order of a sum depends on the number of threads, so weights trained here are the same whatever
    OMP_NUM_THREADS says. Small layers gain little from a second thread, and where another process keeps
    a core busy they wait for it at every step (measured: 15 times slower).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
