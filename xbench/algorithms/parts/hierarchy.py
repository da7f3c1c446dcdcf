"""A binary tree of features by position: neighbours are separated last."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import torch

from xbench.core.case import Case


def places(case: Case, row: int) -> np.ndarray:
    """Mean position of each feature of one sample, (K, p).

    The first coordinate is the input tensor; then the height and width of an image (C, H, W), the position along a
    sequence (T, D) or a vector (T,).
    """
    ids = case.features[row if len(case.features) > 1 else 0].cpu()
    coordinates = []
    for number, shape in enumerate(case.layout.shapes):
        sides = shape[-2:] if len(shape) >= 3 else shape[:1] or (1,)  # one number per sample: one position
        grid = torch.stack(
            torch.meshgrid(*(torch.arange(side, device="cpu") for side in sides), indexing="ij"), -1
        ).double()
        if len(shape) >= 3:
            grid = grid.expand(*shape[:-2], *grid.shape)
        elif len(shape) == 2:
            grid = grid[:, None].expand(*shape, 1)
        flat = grid.reshape(shape.numel(), -1)
        own = torch.zeros(shape.numel(), 3, dtype=torch.float64, device="cpu")
        own[:, 0] = 1e6 * number  # separates tensors first
        own[:, 1 : 1 + flat.shape[1]] = flat
        coordinates.append(own)
    where = torch.cat(coordinates)
    count = int(ids.max()) + 1
    kept = ids >= 0
    sums = torch.zeros(count, 3, dtype=torch.float64, device="cpu").index_add_(0, ids[kept], where[kept])
    return (sums / torch.bincount(ids[kept], minlength=count)[:, None]).numpy()


def halves(members: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut a group of features into two halves across its longer extent."""
    spread = where[members].max(0) - where[members].min(0)
    order = members[np.argsort(where[members, int(spread.argmax())], kind="stable")]
    return order[: (len(order) + 1) // 2], order[(len(order) + 1) // 2 :]


@dataclass(order=True)
class Group:
    """A group of features that join together in one context, with the outputs before and after, and a weight."""

    priority: float
    number: int
    members: np.ndarray = field(compare=False)
    context: np.ndarray = field(compare=False)  # (K,) bool: the other features that are present
    before: float = field(compare=False)
    after: float = field(compare=False)
    weight: float = field(compare=False)


class Tree:
    """One sample's groups: those that can still be cut, the largest share first, and the final values."""

    def __init__(self, where: np.ndarray, k_max: int, empty: float, full: float) -> None:
        self._where, self._numbers = where, count()
        self._phi, self._open = np.zeros(k_max), list[Group]()
        self._add(np.arange(len(where)), np.zeros(k_max, dtype=bool), empty, full, 1.0)

    def _add(self, members: np.ndarray, context: np.ndarray, before: float, after: float, weight: float) -> None:
        if len(members) == 1:
            self._phi[members] += weight * (after - before)
            return
        priority = -weight * abs(after - before)
        heapq.heappush(self._open, Group(priority, next(self._numbers), members, context, before, after, weight))

    def next(self, most: int) -> list[Group]:
        """Remove and return the groups to cut next."""
        return [heapq.heappop(self._open) for _ in range(min(most, len(self._open)))]

    def masks(self, group: Group) -> np.ndarray:
        """The present features when either half joins the context, (2, K)."""
        present = np.stack([group.context, group.context])
        for half, members in enumerate(halves(group.members, self._where)):
            present[half, members] = True
        return present

    def cut(self, group: Group, with_a: float, with_b: float) -> None:
        """Replace a group by its halves, each in two contexts."""
        for half, alone, other in zip((0, 1), (with_a, with_b), (with_b, with_a), strict=True):
            beside = self.masks(group)[1 - half]
            members = halves(group.members, self._where)[half]
            self._add(members, group.context, group.before, alone, group.weight / 2)
            self._add(members, beside, other, group.after, group.weight / 2)

    def shares(self) -> np.ndarray:
        """Each feature's value, (K,): uncut groups divide their share equally."""
        for group in self._open:
            self._phi[group.members] += group.weight * (group.after - group.before) / len(group.members)
        return self._phi
