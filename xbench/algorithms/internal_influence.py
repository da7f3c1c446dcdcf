"""Internal Influence: the gradient at a layer, averaged along the path from the baseline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts
from xbench.algorithms.parts.quadrature import Method, check_method, quadrature
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Answer, Plan, Want


@dataclass(frozen=True)
class InternalInfluence(Algorithm):
    """phi = integral over a in [0, 1] of df/dy(x0 + a (x - x0)), for the layer y that is read and points x.

    Source: Leino, Sen, Datta, Fredrikson, Li 2018, "Influence-Directed Explanations for Deep Convolutional Networks"
    (arXiv 1802.03788), with the uniform distribution between baseline and sample. Rows per sample: n_steps forwards
    and backwards.

    Args:
        n_steps: nodes of the quadrature.
        method: `gausslegendre`, or a Riemann rule: `riemann_left`, `_right`, `_middle`, `_trapezoid`.
    """

    n_steps: int = 50
    method: Method = "gausslegendre"

    def __post_init__(self) -> None:
        check_method(self.method, self.n_steps)

    @property
    def facts(self) -> Facts:
        return Facts(
            "Internal Influence",
            "Leino, Sen, Datta, Fredrikson, Li 2018, Influence-Directed Explanations for Deep Convolutional Networks, "
            "arXiv 1802.03788",
            local=True,
            needs=(Need.NUMBERS, Need.GRADIENT),
        )

    def plan(self, case: Case, x: Tensor) -> Plan:
        x0 = case.baseline(x)
        difference = x - x0
        nodes, weights = quadrature(self.method, self.n_steps)

        def mean(answers: Iterator[Answer]) -> Tensor:
            total: Tensor | None = None
            for weight, answer in zip(weights, answers, strict=True):
                total = answer.slope * weight if total is None else total.add(answer.slope, alpha=weight)
            assert total is not None, "there is at least one node"
            return total

        points = (torch.add(x0, difference, alpha=node) for node in nodes)
        return Plan(points, self.n_steps, Want.GRADIENT, mean)
