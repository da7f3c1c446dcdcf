"""Random draws of several algorithms: noise on the sample, rows of a distribution of baselines."""

from __future__ import annotations

import torch
from torch import Tensor

from xbench.algorithms.base import at_least
from xbench.core.case import Case


def check_stdevs(stdevs: float | tuple[float, ...]) -> None:
    """Raise ValueError if a standard deviation is negative."""
    for stdev in stdevs if isinstance(stdevs, (tuple, list)) else (stdevs,):
        at_least("stdevs", stdev, 0.0)


def random_baselines(case: Case, draw: int, x: Tensor) -> Tensor:
    """A random row of the baseline distribution for every sample, (n, d)."""
    which = case.draws.uniform("baseline", draw, torch.empty(len(x), 1, dtype=torch.float64))
    return case.drawn((which.squeeze(1) * len(case.distribution)).long().to(x.device))
