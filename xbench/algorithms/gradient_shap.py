"""Gradient SHAP (expected gradients): Integrated Gradients sampled over baselines, path points and noise."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts, at_least
from xbench.algorithms.integrated_gradients import same_site
from xbench.algorithms.parts.noise import check_stdevs, random_baselines
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Answer, Plan, Want


@dataclass(frozen=True)
class GradientShap(Algorithm):
    """phi = E[(x~ - b) * df/dx(b + a (x~ - b))], a uniform on [0, 1], b a random baseline, x~ the noisy sample.

    Source: Erion, Janizek, Sturmfels, Lundberg, Lee 2021, "Improving performance of deep learning models with
    axiomatic attribution priors and expected gradients" (arXiv 1906.10670); Lundberg, Lee 2017 (arXiv 1705.07874).
    Captum draws the baseline rows of several input tensors independently; here one draw serves all of them.
    Rows per sample: n_samples forwards and backwards.

    Args:
        n_samples: number of draws per sample.
        stdevs: standard deviation of the Gaussian noise on the sample, one number or one per input tensor.
        multiply_by_inputs: False gives the expected gradient alone, a local map.
    """

    n_samples: int = 5
    stdevs: float | tuple[float, ...] = 0.0
    multiply_by_inputs: bool = True

    def __post_init__(self) -> None:
        at_least("n_samples", self.n_samples, 1)
        check_stdevs(self.stdevs)

    @property
    def facts(self) -> Facts:
        return Facts(
            "Gradient SHAP",
            "Erion, Janizek, Sturmfels, Lundberg, Lee 2021, Improving performance of deep learning models with "
            "axiomatic attribution priors and expected gradients, arXiv 1906.10670",
            local=not self.multiply_by_inputs,
            needs=(Need.GRADIENT,),
            stochastic=True,
            distribution=True,
            version=2,
        )

    def check(self, case: Case) -> None:
        same_site(case, "GradientShap")

    def plan(self, case: Case, x: Tensor) -> Plan:
        stdevs = case.layout.spread(self.stdevs, x)
        differences: deque[Tensor] = deque()

        def points() -> Iterator[Tensor]:
            for draw in range(self.n_samples):
                noisy = x + stdevs * case.draws.normal("noise", draw, x) if bool(stdevs.any()) else x
                alpha = case.draws.uniform("path", draw, x[:, :1])
                baseline = case.baseline(x) if case.paired else random_baselines(case, draw, x)
                difference = noisy - baseline
                differences.append(difference)
                yield baseline + alpha * difference

        def average(answers: Iterator[Answer]) -> Tensor:
            total = torch.zeros_like(x)
            for answer in answers:
                difference = differences.popleft()
                total += answer.slope * difference if self.multiply_by_inputs else answer.slope
            return total / self.n_samples

        return Plan(points(), self.n_samples, Want.GRADIENT, average)
