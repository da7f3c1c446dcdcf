"""Completeness: does the map sum to the change of the output?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.plan import Answer, Plan, Want
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.evidence import Shared
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class WholeChange(Shared):
    """f(x) - f(x0), the output's change from the baseline, (n, 1)."""

    def plan(self, case: Case, x: Tensor) -> Plan:
        x0 = case.baseline(x)

        def difference(answers: Iterator[Answer]) -> Tensor:
            full, empty = next(answers).value.double(), next(answers).value.double()
            # Two evaluations of one point may differ by rounding, which is not a change.
            return (full - empty).masked_fill((x == x0).all(1), 0).unsqueeze(1)

        return Plan([x, x0], 2, Want.VALUE, difference)


@dataclass(frozen=True)
class Completeness(Metric):
    """|sum(phi) - (f(x) - f(x0))| / |f(x) - f(x0)|; a local map is multiplied by x - x0 first.

    NaN where f(x) = f(x0). Features given as groups count once.
    Pitfall: a map with the right sum may lie in the wrong places; where f(x) is near f(x0), the gap is large for all.
    Source: the completeness axiom of Sundararajan, Taly, Yan 2017 (arXiv 1703.01365); summation-to-delta of
    Shrikumar, Greenside, Kundaje 2017 (arXiv 1704.02685).
    """

    @property
    def facts(self) -> MetricFacts:
        return MetricFacts(
            "Completeness error",
            "Sundararajan, Taly, Yan 2017, Axiomatic Attribution for Deep Networks, arXiv 1703.01365",
            {
                "completeness": Column(
                    "lower", label="Completeness", low=0,
                    meaning="How far the sum of the map is from the change of the output between baseline and input, "
                    "relative to that change.",
                )
            },
            family="axiomatic",
            anywhere=True,
        )  # fmt: skip

    @property
    def evidence(self) -> tuple[WholeChange]:
        return (WholeChange(),)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        change = found[0][:, 0]
        error = _delta(case, x, maps, change).abs()
        return {"completeness": torch.where(change != 0, error / change.abs(), torch.nan)}


@dataclass(frozen=True)
class ConvergenceDelta(Completeness):
    """sum(phi) - (f(x) - f(x0)), signed and in the output's unit: Captum's `return_convergence_delta`."""

    @property
    def facts(self) -> MetricFacts:
        return replace(super().facts, label="Convergence delta", columns={"convergence_delta": Column("none")})

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        return {"convergence_delta": _delta(case, x, maps, found[0][:, 0])}


def _delta(case: Case, x: Tensor, maps: Maps, change: Tensor) -> Tensor:
    density = maps.density.double()
    if maps.local and case.read_apart:  # the difference from the baseline is unknown at that site
        return torch.full_like(change, torch.nan)
    if maps.local:
        density = density * (x - case.baseline(x)).double()
    return density.sum(1) - change
