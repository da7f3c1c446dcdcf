"""Conductance: the part of Integrated Gradients that flows through a layer, or through one neuron."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts, at_least
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Answer, Plan, Want

Riemann = Literal["riemann_trapezoid", "riemann_left", "riemann_right"]


@dataclass(frozen=True)
class Conductance(Algorithm):
    """The share of f(x) - f(x0) that flows through each unit y of a layer on the straight path from x0 to x.

    Layer (`read` names it): phi_y = integral of df/dy dy, as the sum over n_steps pieces of the path of df/dy times
    the change of y. It sums to f(x) - f(x0) if every path to the output passes the layer. (Captum 0.9.0 takes df/dy at
    the start of each piece, `riemann_left` here, and its other methods omit both ends.)
    Neuron (`neuron` names it, no `read`): phi_i = (x_i - x0_i) * integral of df/dy dy/dx_i, with the output f: the part
    of each input's Integrated Gradients that flows through that neuron. With both, the layer's units explain the
    neuron. Rows per sample: n_steps + 1 forwards and backwards.
    Source: Dhamdhere, Sundararajan, Yan 2018, "How Important Is a Neuron?" (arXiv 1805.12233).

    Args:
        n_steps: equal pieces of the path.
        method: where the gradient of a piece is taken: the mean of both ends (`riemann_trapezoid`), the start
            (`riemann_left`) or the end (`riemann_right`).
    """

    n_steps: int = 50
    method: Riemann = "riemann_trapezoid"

    def __post_init__(self) -> None:
        at_least("n_steps", self.n_steps, 1)
        if self.method not in get_args(Riemann):
            raise ValueError(f"method: expected one of {', '.join(get_args(Riemann))}, got {self.method!r}")

    @property
    def facts(self) -> Facts:
        return Facts(
            "Conductance",
            "Dhamdhere, Sundararajan, Yan 2018, How Important Is a Neuron?, arXiv 1805.12233",
            needs=(Need.NUMBERS, Need.GRADIENT),
            through_neuron=True,
        )

    def plan(self, case: Case, x: Tensor) -> Plan:
        x0 = case.baseline(x)
        left = {"riemann_trapezoid": 0.5, "riemann_left": 1.0, "riemann_right": 0.0}[self.method]
        through = case.neuron and not case.read_apart

        def flow(answers: Iterator[Answer]) -> Tensor:
            before = next(answers)
            total = torch.zeros_like(before.slope)
            for after in answers:
                slope = before.slope * left + after.slope * (1 - left)
                total = total + slope * ((x - x0) / self.n_steps if through else after.level - before.level)
                before = after
            return total

        points = (torch.lerp(x0, x, i / self.n_steps) for i in range(self.n_steps + 1))
        want = Want.GRADIENT | (Want.THROUGH if through else Want.ACTIVATION)
        return Plan(points, self.n_steps + 1, want, flow)
