"""Saliency: the absolute gradient."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Plan, Want


@dataclass(frozen=True)
class Saliency(Algorithm):
    """The gradient of the explained scalar: phi = |df/dx|.

    Every element has its own value; the paper shows the maximum over an image's channels. Rows per sample: 1 forward
    and backward.
    Source: Simonyan, Vedaldi, Zisserman 2013, "Deep Inside Convolutional Networks: Visualising Image Classification
    Models and Saliency Maps" (arXiv 1312.6034).

    Args:
        abs: take the absolute value (the paper's form); False keeps the sign.
    """

    abs: bool = True

    @property
    def facts(self) -> Facts:
        return Facts(
            "Saliency",
            "Simonyan, Vedaldi, Zisserman 2013, Deep Inside Convolutional Networks: Visualising Image Classification "
            "Models and Saliency Maps, arXiv 1312.6034",
            local=True,
            needs=(Need.GRADIENT,),
        )

    def plan(self, case: Case, x: Tensor) -> Plan:
        return Plan(
            points=[x],
            n_points=1,
            want=Want.GRADIENT,
            reduce=lambda answers: next(answers).slope.abs() if self.abs else next(answers).slope,
        )
