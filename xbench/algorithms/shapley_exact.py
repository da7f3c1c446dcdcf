"""Exact Shapley values from all coalitions of features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb

import torch
from torch import Tensor

from xbench.algorithms.base import Facts, at_least
from xbench.algorithms.parts.on_features import OnFeatures
from xbench.core.case import Case
from xbench.core.masking import coalition, to_elements, value_dtype
from xbench.core.needs import NotApplicable
from xbench.core.plan import Answer, Plan, Want


@dataclass(frozen=True)
class ShapleyValues(OnFeatures):
    """phi_k = sum over coalitions S without k of |S|! (K - |S| - 1)! / K! (f(S and k) - f(S)).

    Every coalition is evaluated once: 2^K rows per sample, K the largest number of features of a sample in flight
    (a walk through all permutations, as in Captum, takes K K! + 1). Every element of a feature carries its value.
    Source: Shapley 1953, "A Value for n-Person Games".

    Args:
        max_features: samples with more features are refused, because 2^K grows quickly.
    """

    max_features: int = 14

    def __post_init__(self) -> None:
        at_least("max_features", self.max_features, 1)

    @property
    def facts(self) -> Facts:
        return Facts("Shapley values", "Shapley 1953, A Value for n-Person Games, Annals of Mathematics Studies 28",
                     complete=True)  # fmt: skip

    def check(self, case: Case) -> None:
        super().check(case)
        k = int(case.counts.max())
        if k > self.max_features:
            raise NotApplicable(
                f"needs at most {self.max_features} features: a sample has {k}, which takes 2^{k} evaluations; group "
                "them, sample them (shapley_sampling, kernel_shap), or raise `max_features`"
            )

    def plan(self, case: Case, x: Tensor) -> Plan:
        k_max = int(case.counts.max())
        counts = case.counts.to(x.device)
        features = torch.arange(k_max, device=x.device)

        def members() -> Iterator[Tensor]:
            for number in range(2**k_max):
                yield (number >> features) % 2 == 1

        def points() -> Iterator[Tensor]:
            for present in members():
                yield coalition(case, x, present.expand(len(x), -1))

        def value(answers: Iterator[Answer]) -> Tensor:
            # Weight of a coalition of m of k features: for its members, and (negative) for the others.
            joined = torch.zeros(2, k_max + 1, k_max + 1, dtype=torch.float64)
            for k in range(1, k_max + 1):
                for m in range(k + 1):
                    joined[0, k, m] = 1 / (m * comb(k, m)) if m else 0
                    joined[1, k, m] = 1 / ((k - m) * comb(k, m)) if m < k else 0
            joined = joined.to(x.device)
            total = torch.zeros(len(x), k_max, dtype=torch.float64, device=x.device)
            for present, answer in zip(members(), answers, strict=True):
                own = present & (features < counts[:, None])
                # For a sample with fewer features each coalition occurs several times, and is counted once.
                once = ~(present & (features >= counts[:, None])).any(1)
                size = own.sum(1)
                gain, loss = joined[:, counts, size] * (answer.value.double() * once)
                total += torch.where(own, gain[:, None], -loss[:, None])
            total = total.masked_fill(features >= counts[:, None], 0)
            return to_elements(case, total.to(value_dtype(x)), x)

        return Plan(points(), 2**k_max, Want.VALUE, value)
