"""IDGI: each step of a path distributes the output's change among the features that caused it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts, at_least
from xbench.algorithms.integrated_gradients import same_site
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Answer, Plan, Want


@dataclass(frozen=True)
class IDGI(Algorithm):
    """phi = sum over steps of (f(x_j+1) - f(x_j)) g_j^2 / |g_j|^2, g_j = df/dx(x_j), on the straight path.

    Only the part of each step along the gradient counts, whereas Integrated Gradients also adds the orthogonal part,
    which does not change the output. At a point with zero gradient, where the paper divides by 0, a step is merged with
    the next one; the last step uses the gradient at x. The map sums to f(x) - f(x0), unless f changes after the last
    point with a nonzero gradient. Rows per sample: n_steps + 1 forwards and backwards.
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
            total, owed = torch.zeros_like(before.slope), torch.zeros_like(before.slope[:, :1])
            for after in answers:
                owed = owed + (after.value - before.value).to(total.dtype)[:, None]
                shares = _shares(before.slope)
                total, owed = total + shares * owed, torch.where(shares.any(1, keepdim=True), 0, owed)
                before = after
            return total + _shares(before.slope) * owed

        points = (torch.lerp(x0, x, i / self.n_steps) for i in range(self.n_steps + 1))
        return Plan(points, self.n_steps + 1, Want.GRADIENT, pay)


def _shares(slope: Tensor) -> Tensor:
    """g^2 / |g|^2, (n, d); 0 for a zero gradient."""
    largest = slope.abs().amax(1, keepdim=True)
    square = (slope / torch.where(largest > 0, largest, 1)).square()  # the square of a tiny float32 would underflow
    total = square.sum(1, keepdim=True)
    return square / torch.where(total > 0, total, 1)
