"""Controls: maps that explain nothing, as a reference for every score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts
from xbench.core.case import Case
from xbench.core.masking import value_dtype
from xbench.core.plan import Plan, Want


@dataclass(frozen=True)
class Random(Algorithm):
    """Standard normal numbers, keyed by the case's draws."""

    @property
    def facts(self) -> Facts:
        return Facts("Random", "control: standard normal noise", stochastic=True, control=True)

    def plan(self, case: Case, x: Tensor) -> Plan:
        like = x.to(value_dtype(x))
        return _map(case, case.draws.normal("random map", 0, like))


@dataclass(frozen=True)
class Constant(Algorithm):
    """The same number everywhere: perfectly robust, but not an explanation.

    Args:
        value: the number.
    """

    value: float = 1.0

    @property
    def facts(self) -> Facts:
        return Facts("Constant", "control: one number everywhere", control=True)

    def plan(self, case: Case, x: Tensor) -> Plan:
        return _map(case, torch.full(x.shape, self.value, dtype=value_dtype(x), device=x.device))


def _map(case: Case, values: Tensor) -> Plan:
    """A plan without evaluations; the map is zero outside any feature, so that padding does not count."""
    return Plan([], 0, Want.VALUE, lambda _: torch.where(case.features >= 0, values, torch.zeros_like(values)))
