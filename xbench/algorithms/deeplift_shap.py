"""DeepLIFT averaged over a distribution of baselines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts
from xbench.algorithms.deeplift import AttributionFunction, DeepLift
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Plans, sequence


@dataclass(frozen=True)
class DeepLiftShap(Algorithm):
    """phi = mean over the baselines b of m(x, b) * (x - b), where m are DeepLIFT's multipliers; see `DeepLift`.

    The map sums to f(x) - mean f(b). With one baseline, or one per sample, it is DeepLIFT.
    Source: Lundberg, Lee 2017, "A Unified Approach to Interpreting Model Predictions" (arXiv 1705.07874), section 4.2.
    Rows per sample: 2 R forwards and backwards for R baselines.

    Args:
        multiply_by_inputs: False gives the mean of the multipliers, a local map.
        eps: as in `DeepLift`.
        custom_attribution_func: as in `DeepLift`, called for each baseline; its maps are averaged.
        unknown: as in `DeepLift`.
    """

    multiply_by_inputs: bool = True
    eps: float = 1e-10
    custom_attribution_func: AttributionFunction | None = None
    unknown: Literal["raise", "warn"] = "raise"

    def __post_init__(self) -> None:
        _ = self._single  # checks the parameters

    @property
    def facts(self) -> Facts:
        return Facts(
            "DeepLIFT SHAP",
            "Lundberg, Lee 2017, A Unified Approach to Interpreting Model Predictions, arXiv 1705.07874",
            local=not self.multiply_by_inputs,
            needs=(Need.GRADIENT, Need.MODULE),
            complete=self._single.facts.complete,
            distribution=True,
            version=2,
        )

    @property
    def _single(self) -> DeepLift:
        return DeepLift(self.multiply_by_inputs, self.eps, self.custom_attribution_func, self.unknown)

    def check(self, case: Case) -> None:
        self._single.check(case)

    def plan(self, case: Case, x: Tensor) -> Plans:
        rows = [case.baselines] if case.paired else case.distribution

        def average(maps: Iterator[Tensor]) -> Tensor:
            total = torch.zeros_like(x)
            for each in maps:
                total += each
            return total / len(rows)

        plans = (self._single.plan(replace(case, baselines=row, paired=True), x) for row in rows)
        return sequence(plans, len(rows), average)
