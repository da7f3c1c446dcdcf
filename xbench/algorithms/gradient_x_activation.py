"""Gradient x activation: the first-order contribution of each unit of a layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from xbench.algorithms.base import Facts
from xbench.algorithms.input_x_gradient import InputXGradient
from xbench.algorithms.saliency import Saliency
from xbench.core.case import Case
from xbench.core.plan import Plan


@dataclass(frozen=True)
class GradientXActivation(InputXGradient):
    """phi = y * df/dy at the layer that is read, with its values y for the sample.

    At the input it equals Input x Gradient. Source: Shrikumar, Greenside, Kundaje 2016, "Not Just a Black Box"
    (arXiv 1605.01713). Rows per sample: 1 forward and backward.

    Args:
        multiply_by_inputs: False gives the gradient df/dy alone, a local map.
    """

    multiply_by_inputs: bool = True

    @property
    def facts(self) -> Facts:
        return replace(super().facts, label="Gradient x Activation", local=not self.multiply_by_inputs)

    def plan(self, case: Case, x: Tensor) -> Plan:
        return super().plan(case, x) if self.multiply_by_inputs else Saliency(abs=False).plan(case, x)
