"""In which order the rows of a chunk are sent, and how many at once: those of similar length together."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from xbench.core.padding import Padded
from xbench.core.plan import Answer

AHEAD = 4  # number of evaluations whose rows are sorted by length together


def by_length(padded: Padded | None, flat: Tensor, samples: Tensor, send: Callable[[Tensor, Tensor], Answer]) -> Answer:
    """What `send` answers to columns (g, u, d) of these samples (u,), sent in the order in which their lengths fall.

    The answer has g x u rows, in the order in which the columns came.
    """
    g, units, _ = flat.shape
    if padded is None or units < 2:
        return send(flat, samples)
    order = padded.falling(samples).to(flat.device)
    answer = send(flat[:, order], samples[order])
    return answer.part(torch.cat([order.argsort() + member * units for member in range(g)]))


def batch_size(padded: Padded | None, samples: Tensor, most: int) -> int:
    """The samples in the next piece: those of one length, or an equal share, which avoids a single last row."""
    if padded is not None:
        return padded.batch(samples, most)
    return share(len(samples), most)


def share(count: int, most: int) -> int:
    """An equal share of a count, at most `most`."""
    return math.ceil(count / math.ceil(count / most))
