"""Activation: the values of a layer as a map."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts
from xbench.core.case import Case
from xbench.core.plan import Plan, Want


@dataclass(frozen=True)
class Activation(Algorithm):
    """The values at the layer that is read: phi = y(x); the sample itself if no layer is named.

    It depends on neither target nor neuron. Rows per sample: 1.
    """

    @property
    def facts(self) -> Facts:
        return Facts(
            "Activation",
            "Kokhlikyan et al. 2020, Captum: A unified and generic model interpretability library "
            "for PyTorch, arXiv 2009.07896",
            activation=True,
        )

    def plan(self, case: Case, x: Tensor) -> Plan:
        return Plan([x], 1, Want.ACTIVATION, lambda answers: next(answers).level)
