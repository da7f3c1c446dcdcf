"""Integrated Gradients: the gradient averaged along the straight path from the baseline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts, Need, NotApplicable
from xbench.algorithms.parts.quadrature import Method, check_method, quadrature
from xbench.case import Case
from xbench.plan import Answer, Plan, Want


@dataclass(frozen=True)
class IntegratedGradients(Algorithm):
    """phi = (x - x0) * integral over a in [0, 1] of df/dx(x0 + a (x - x0)).

    Source: Sundararajan, Taly, Yan 2017, "Axiomatic Attribution for Deep Networks" (arXiv 1703.01365).

    Args:
        n_steps: nodes of the quadrature; memory does not depend on it.
        method: `gausslegendre`, or a Riemann rule: `riemann_left`, `_right`, `_middle`, `_trapezoid`.
        multiply_by_inputs: False gives the averaged gradient alone, a local map.
    """

    n_steps: int = 50
    method: Method = "gausslegendre"
    multiply_by_inputs: bool = True

    def __post_init__(self) -> None:
        check_method(self.method, self.n_steps)

    @property
    def facts(self) -> Facts:
        return Facts(
            "Integrated Gradients",
            "Sundararajan, Taly, Yan 2017, Axiomatic Attribution for Deep Networks, arXiv 1703.01365",
            local=not self.multiply_by_inputs,
            needs=(Need.GRADIENT,),
            complete=self.multiply_by_inputs,
        )

    def check(self, case: Case) -> None:
        same_site(case, "IntegratedGradients")

    def plan(self, case: Case, x: Tensor) -> Plan:
        x0 = case.baseline(x)
        difference = x - x0
        nodes, weights = quadrature(self.method, self.n_steps)

        def integrate(answers: Iterator[Answer]) -> Tensor:
            total = torch.zeros_like(difference)
            for weight, answer in zip(weights, answers, strict=True):
                total.add_(answer.slope, alpha=weight)
            return total.mul_(difference) if self.multiply_by_inputs else total

        points = (torch.add(x0, difference, alpha=node) for node in nodes)
        return Plan(points, self.n_steps, Want.GRADIENT, integrate)


def same_site(case: Case, name: str) -> None:
    """ValueError when gradients are read elsewhere than where the points enter, or some points are integers."""
    kinds = {dtype.is_floating_point for dtype in case.layout.dtypes}
    if len(kinds) > 1:  # integers alone have no gradient, which the engine says
        raise ValueError(
            f"{name} goes from the baseline to the sample, which integers cannot: pass the integer inputs as "
            "`extra` arguments, or choose a `layer` such as the embedding"
        )
    if case.read != case.layout:
        raise NotApplicable(
            f"takes no `read`: {name} multiplies gradients by differences at the same place; `layer` names the place "
            "where points enter"
        )
