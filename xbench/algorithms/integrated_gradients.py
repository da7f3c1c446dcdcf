"""Integrated Gradients: the gradient averaged along the straight path from the baseline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts, at_least
from xbench.algorithms.parts.quadrature import Method, check_method, quadrature
from xbench.core.case import Case
from xbench.core.needs import Need, NotApplicable
from xbench.core.plan import Answer, Noted, Plan, Steps, Want, values


@dataclass(frozen=True)
class IntegratedGradients(Algorithm):
    """phi = (x - x0) * integral over a in [0, 1] of df/dx(x0 + a (x - x0)).

    Source: Sundararajan, Taly, Yan 2017, "Axiomatic Attribution for Deep Networks" (arXiv 1703.01365).
    Rows per sample: n_steps forwards and backwards; with `tol` 2 forwards and n_steps, 2 n_steps, 4 n_steps...
    forwards and backwards. The notes `n_steps` and `completeness_error` (in units of the output) then report the
    values that each sample reached.

    Args:
        n_steps: nodes of the quadrature; memory does not depend on it.
        method: `gausslegendre`, or a Riemann rule: `riemann_left`, `_right`, `_middle`, `_trapezoid`.
        multiply_by_inputs: False gives the averaged gradient alone, a local map.
        tol: doubles the nodes of a sample until |sum(phi) - (f(x) - f(x0))| is at most this, in units of the output.
        max_steps: with `tol`, the maximum number of nodes; a sample that needs more keeps its best map.
    """

    n_steps: int = 50
    method: Method = "gausslegendre"
    multiply_by_inputs: bool = True
    tol: float | None = None
    max_steps: int = 1000

    def __post_init__(self) -> None:
        check_method(self.method, self.n_steps)
        if self.tol is not None:
            if not self.tol > 0:
                raise ValueError(f"tol: expected a positive error in units of the output, or None, got {self.tol}")
            at_least("max_steps", self.max_steps, self.n_steps)

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

    def plan(self, case: Case, x: Tensor) -> Plan | Steps:
        x0 = case.baseline(x)
        return self._average(x0, x - x0, self.n_steps) if self.tol is None else self._until(self.tol, x0, x - x0)

    def _average(self, x0: Tensor, difference: Tensor, n_steps: int) -> Plan:
        nodes, weights = quadrature(self.method, n_steps)

        def integrate(answers: Iterator[Answer]) -> Tensor:
            total = torch.zeros_like(difference)
            for weight, answer in zip(weights, answers, strict=True):
                total.add_(answer.slope, alpha=weight)
            return total.mul_(difference) if self.multiply_by_inputs else total

        points = (torch.add(x0, difference, alpha=node) for node in nodes)
        return Plan(points, n_steps, Want.GRADIENT, integrate)

    def _until(self, tol: float, x0: Tensor, difference: Tensor) -> Steps:
        ends = (yield Plan([x0, x0 + difference], 2, Want.VALUE, values)).detach().double()
        best = torch.zeros_like(difference)
        used, error = torch.zeros(2, len(x0), dtype=torch.float64, device=x0.device)
        error += torch.inf
        going, n_steps = torch.arange(len(x0), device=x0.device), self.n_steps
        while len(going) and n_steps <= self.max_steps:
            way = difference[going]
            found = yield replace(self._average(x0[going], way, n_steps), samples=going.cpu())
            total = (found if self.multiply_by_inputs else found * way).double().sum(1).detach()
            missed = (total - (ends[going, 1] - ends[going, 0])).abs()
            better = ~(missed >= error[going])  # NaN counts as better, so that the map shows it
            rows = going[better]
            best = best.index_copy(0, rows, found[better])
            used[rows], error[rows] = float(n_steps), missed[better]
            going, n_steps = going[missed > tol], 2 * n_steps
        return Noted(best, {"n_steps": used, "completeness_error": error})


def same_site(case: Case, name: str) -> None:
    """Raise if gradients are read at another site than the one where points enter, or if some points are integers."""
    kinds = {dtype.is_floating_point for dtype in case.layout.dtypes}
    if len(kinds) > 1:  # for integers only, the engine reports that there is no gradient
        raise ValueError(
            f"{name} goes from the baseline to the sample, which integers cannot: pass the integer inputs as "
            "`extra` arguments, or choose a `layer` such as the embedding"
        )
    if case.read_apart:
        raise NotApplicable(
            f"takes no `read`: {name} multiplies gradients by differences at the same place; `layer` names the place "
            "where points enter"
        )
