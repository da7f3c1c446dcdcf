"""IDGI: each step of a path pays what the output changes, to the features that changed it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts, Need, at_least
from xbench.algorithms.integrated_gradients import same_site
from xbench.case import Case
from xbench.plan import Answer, Plan, Want


@dataclass(frozen=True)
class IDGI(Algorithm):
    """phi = sum over steps of (f(x_j+1) - f(x_j)) g_j^2 / |g_j|^2, g_j = df/dx(x_j), on the straight path.

    Of each step's gradient only the part along the gradient itself counts, where Integrated Gradients also collects
    what runs across it and does not change the output. The map sums to f(x) - f(x0), but for steps from a point
    without any slope, which pay nobody. Rows per sample: n_steps + 1 forwards and backwards.
    Source: Yang, Wang, Bilgic 2023, "IDGI: A Framework to Eliminate Explanation Noise from Integrated Gradients"
    (arXiv 2303.14242).

    Args:
        n_steps: equal steps from the baseline to the sample.
    """

    n_steps: int = 50

    def __post_init__(self) -> None:
        at_least("n_steps", self.n_steps, 1)

    @property
    def facts(self) -> Facts:
        return Facts(
            "IDGI",
            "Yang, Wang, Bilgic 2023, IDGI: A Framework to Eliminate Explanation Noise from Integrated Gradients, "
            "arXiv 2303.14242",
            needs=(Need.GRADIENT,),
            complete=True,
        )

    def check(self, case: Case) -> None:
        same_site(case, "IDGI")

    def plan(self, case: Case, x: Tensor) -> Plan:
        x0 = case.baseline(x)

        def pay(answers: Iterator[Answer]) -> Tensor:
            before = next(answers)
            total = torch.zeros_like(before.slope)
            for after in answers:
                # Scaled first: the square of a tiny float32 slope would vanish.
                largest = before.slope.abs().amax(1, keepdim=True)
                square = (before.slope / torch.where(largest > 0, largest, 1)).square()
                length = square.sum(1, keepdim=True)
                gain = (after.value - before.value).to(square.dtype)[:, None]
                total = total + square * (gain / torch.where(length > 0, length, 1))
                before = after
            return total

        points = (torch.lerp(x0, x, i / self.n_steps) for i in range(self.n_steps + 1))
        return Plan(points, self.n_steps + 1, Want.GRADIENT, pay)
