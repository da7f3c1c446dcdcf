"""Deconvolution: gradients that pass ReLUs as in a deconvolutional network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Answer, Plan, Want
from xbench.rules.guided import PositiveGradients


@dataclass(frozen=True)
class Deconvolution(Algorithm):
    """The gradient, where each ReLU passes back max(g, 0) of the gradient g it receives, for any input of the ReLU.

    All ReLUs follow the rule: nn.ReLU, F.relu, in place, used twice. Other activations (ReLU6, leaky, smooth ones) keep
    their plain gradients, as in the paper and in Captum; a model without any ReLU gets its plain gradient.
    Source: Zeiler, Fergus 2014, "Visualizing and Understanding Convolutional Networks" (arXiv 1311.2901).
    Rows per sample: 1 forward, 1 backward.

    Args:
        unknown: `raise` where ReLUs may hide (TorchScript, an autograd.Function), or `warn` and pass plain gradients.
    """

    unknown: Literal["raise", "warn"] = "raise"

    def __post_init__(self) -> None:
        PositiveGradients("deconvolution", self.unknown)  # checks the parameter

    @property
    def facts(self) -> Facts:
        return Facts(
            "Deconvolution",
            "Zeiler, Fergus 2014, Visualizing and Understanding Convolutional Networks, arXiv 1311.2901",
            local=True,
            needs=(Need.GRADIENT, Need.MODULE),
        )

    def plan(self, case: Case, x: Tensor) -> Plan:
        def read(answers: Iterator[Answer]) -> Tensor:
            return next(answers).slope

        return Plan([x], 1, Want.GRADIENT, read, rule=PositiveGradients("deconvolution", self.unknown))
