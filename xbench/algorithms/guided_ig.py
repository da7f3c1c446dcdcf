"""Guided Integrated Gradients: a path that moves the features with the largest gradients last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts, at_least
from xbench.algorithms.integrated_gradients import same_site
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Answer, Plan, Steps, Want


@dataclass(frozen=True)
class GuidedIG(Algorithm):
    """phi = sum over steps of df/dx(x_j) * (x_j+1 - x_j), where a step moves the features of smallest |df/dx| first.

    Every step moves the point 1/n_steps of the L1 distance towards the sample. A feature stays within `max_dist` of its
    position on the straight path, so 0 gives Integrated Gradients by the left Riemann rule, and 1 an unconstrained
    path. The map sums to f(x) - f(x0) up to the error of that rule, of order 1/n_steps.
    Rows per sample: n_steps forwards and backwards, one after the other.
    Source: Kapishnikov, Venugopalan, Avci, Wedin, Terry, Bolukbasi 2021, "Guided Integrated Gradients: An Adaptive
    Path Method for Removing Noise" (arXiv 2106.09788), with the bound `max_dist` of the authors' code (PAIR's saliency)
    in place of the paper's anchor points on the straight path.

    Args:
        n_steps: number of steps along the path.
        fraction: share of the features that moves at a time.
        max_dist: maximum distance of a feature from the straight path, as a share of its way.
    """

    n_steps: int = 50
    fraction: float = 0.1
    max_dist: float = 0.02

    def __post_init__(self) -> None:
        at_least("n_steps", self.n_steps, 1)
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction: expected a share above 0 and up to 1, got {self.fraction}")
        if not 0 <= self.max_dist <= 1:
            raise ValueError(f"max_dist: expected a share between 0 and 1, got {self.max_dist}")

    @property
    def facts(self) -> Facts:
        return Facts(
            "Guided IG",
            "Kapishnikov, Venugopalan, Avci, Wedin, Terry, Bolukbasi 2021, Guided Integrated Gradients: An Adaptive "
            "Path Method for Removing Noise, arXiv 2106.09788",
            needs=(Need.GRADIENT,),
        )

    def check(self, case: Case) -> None:
        same_site(case, "GuidedIG")

    def plan(self, case: Case, x: Tensor) -> Steps:
        x0 = case.baseline(x)
        way = (x - x0).abs()
        gone = torch.zeros_like(way)  # the share of its way that each element has gone
        total = torch.zeros_like(way)
        for step in range(1, self.n_steps + 1):
            slope = yield Plan([torch.lerp(x0, x, gone)], 1, Want.GRADIENT, _slope)
            after = self._moved(gone, slope.detach().abs(), way, step / self.n_steps)
            total = total + slope * (x - x0) * (after - gone)
            gone = after
        return total

    def _moved(self, gone: Tensor, slope: Tensor, way: Tensor, share: float) -> Tensor:
        """The shares after a step whose end is `share` of the whole way, (n, d)."""
        least, most = max(share - self.max_dist, 0.0), min(share + self.max_dist, 1.0)
        gone = gone.clamp(min=least)
        due = way.sum(1) * (1 - share)  # distance that must remain
        going = torch.ones_like(due, dtype=torch.bool)
        for _ in range(gone.shape[1]):  # every round that does not finish a sample brings features to their limit
            free = (gone < most) & (way > 0)
            excess = (way * (1 - gone)).sum(1) - due
            going = going & (excess > 1e-12 * way.sum(1)) & free.any(1)
            if not going.any():
                break
            rank = slope.masked_fill(~free, torch.inf)
            # Only among features that still have to move: padding must not count.
            which = (((way > 0).sum(1, keepdim=True) - 1).clamp(min=0) * self.fraction).long()
            chosen = free & (rank <= rank.sort(1).values.gather(1, which)) & going[:, None]
            room = (way * (most - gone) * chosen).sum(1)
            part = (excess / torch.where(room > 0, room, 1)).clamp(max=1)
            gone = torch.where(chosen, gone + (most - gone) * part[:, None], gone)
            gone = torch.where(chosen & (part >= 1)[:, None], most, gone)
            going = going & (part >= 1)  # the other samples have arrived, up to rounding
        return gone


def _slope(answers: Iterator[Answer]) -> Tensor:
    return next(answers).slope
