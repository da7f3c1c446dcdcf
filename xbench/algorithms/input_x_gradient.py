"""Input x gradient: the first-order contribution of each input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Answer, Plan, Want


@dataclass(frozen=True)
class InputXGradient(Algorithm):
    """Gradient times input: phi = x * df/dx (at a layer: activation times gradient).

    Exact for linear models and a zero baseline. Rows per sample: 1 forward and backward.
    Source: Shrikumar, Greenside, Kundaje 2016, "Not Just a Black Box: Learning Important Features Through Propagating
    Activation Differences" (arXiv 1605.01713).
    """

    @property
    def facts(self) -> Facts:
        return Facts(
            "Input x Gradient",
            "Shrikumar, Greenside, Kundaje 2016, Not Just a Black Box: Learning Important Features Through Propagating "
            "Activation Differences, arXiv 1605.01713",
            needs=(Need.GRADIENT,),
        )

    def plan(self, case: Case, x: Tensor) -> Plan:
        def product(answers: Iterator[Answer]) -> Tensor:
            answer = next(answers)
            return answer.level * answer.slope

        return Plan([x], 1, Want.GRADIENT | Want.ACTIVATION, product)
