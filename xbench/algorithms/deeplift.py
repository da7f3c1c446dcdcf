"""DeepLIFT with the Rescale rule, by overriding functions instead of hooking modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts
from xbench.algorithms.integrated_gradients import same_site
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Answer, Plan, Want
from xbench.rules.deeplift import Rescale

AttributionFunction = Callable[[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]], tuple[Tensor, ...]]


@dataclass(frozen=True)
class DeepLift(Algorithm):
    """phi = m * (x - x0), where the multiplier m passes through each nonlinearity as (y - y0) / (x - x0).

    Products are split exactly: each factor's share is computed at the mean of the two passes. The map sums to
    f(x) - f(x0) on any model whose operations the rule knows; an unknown operation is an error.
    Source: Shrikumar, Greenside, Kundaje 2017, "Learning Important Features Through Propagating Activation
    Differences" (arXiv 1704.02685), Rescale rule. Rows per sample: 2 forwards and backwards. A
    baseline common to all samples passes the model once if no other argument differs between samples.

    Args:
        multiply_by_inputs: False gives the multipliers, a local map.
        eps: an elementwise operation passes the plain gradient if its input's difference is below this.
        custom_attribution_func: computes the map from the multipliers, the inputs and the baselines, each a tuple of
            tensors in their own shapes, instead of multiplying; it returns a tuple of the same shapes.
        unknown: `raise` on a nonlinear operation without a rule, or `warn` and pass its plain gradient.
    """

    multiply_by_inputs: bool = True
    eps: float = 1e-10
    custom_attribution_func: AttributionFunction | None = None
    unknown: Literal["raise", "warn"] = "raise"

    def __post_init__(self) -> None:
        Rescale(self.eps, self.unknown)  # checks the parameters

    @property
    def facts(self) -> Facts:
        return Facts(
            "DeepLIFT",
            "Shrikumar, Greenside, Kundaje 2017, Learning Important Features Through Propagating Activation "
            "Differences, arXiv 1704.02685",
            local=not self.multiply_by_inputs,
            needs=(Need.GRADIENT, Need.MODULE),
            complete=self.multiply_by_inputs and self.custom_attribution_func is None and self.unknown == "raise",
            version=2,
        )

    def check(self, case: Case) -> None:
        same_site(case, "DeepLift")

    def plan(self, case: Case, x: Tensor) -> Plan:
        x0 = case.baseline(x)

        def explain(answers: Iterator[Answer]) -> Tensor:
            multiplier = next(answers).slope
            next(answers)  # the reference's answer
            if self.custom_attribution_func is not None:
                parts = (case.layout.unflatten(t.clone()) for t in (multiplier, x, x0))  # it may write into clones
                return case.layout.flatten(self.custom_attribution_func(*parts))
            return multiplier * (x - x0) if self.multiply_by_inputs else multiplier

        rule = Rescale(self.eps, self.unknown)
        common = len(case.baselines) == 1
        points = [x, case.baselines if common else x0]
        return Plan(points, 2, Want.GRADIENT, explain, rule=rule, group=2, common=common)
