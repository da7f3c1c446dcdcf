"""A place where torch layers may draw random numbers without touching anybody else's."""

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
