"""Feature permutation: the output's drop when a feature is taken from another sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.algorithms.base import Facts, at_least
from xbench.algorithms.parts.on_features import OnFeatures
from xbench.core.case import Case
from xbench.core.masking import to_elements, value_dtype
from xbench.core.needs import Need
from xbench.core.plan import Answer, Plan, Want


@dataclass(frozen=True)
class FeaturePermutation(OnFeatures):
    """phi_k = mean over draws of f(x) - f(x with feature k of another sample); every element carries phi_k.

    Every sample draws its own donors among all samples explained together, so their order does not matter. A donor
    provides its values at the positions of the feature. (Captum permutes the batch once, and a sample may keep its own
    feature.) Rows per sample: 1 + n_samples K, K the largest number of features of a sample in flight.
    Source: Breiman 2001, "Random Forests"; Fisher, Rudin, Dominici 2019 (arXiv 1801.01489).

    Args:
        n_samples: number of donors per feature.
    """

    n_samples: int = 10

    def __post_init__(self) -> None:
        at_least("n_samples", self.n_samples, 1)

    @property
    def facts(self) -> Facts:
        return Facts(
            "Feature Permutation",
            "Fisher, Rudin, Dominici 2019, All Models are Wrong, but Many are Useful: Learning a Variable's Importance "
            "by Studying an Entire Class of Prediction Models Simultaneously, arXiv 1801.01489",
            needs=(Need.SAMPLES,),
            stochastic=True,
            version=2,
        )

    def plan(self, case: Case, x: Tensor) -> Plan:
        k_max = int(case.counts.max())

        def points() -> Iterator[Tensor]:
            yield x
            for draw in range(self.n_samples):
                for k, donor in enumerate(case.donors("donors", draw, k_max)):
                    yield torch.where(case.features == k, donor, x)

        def losses(answers: Iterator[Answer]) -> Tensor:
            full = next(answers).value
            total = full.new_zeros(len(x), k_max)
            for _ in range(self.n_samples):
                for k in range(k_max):
                    total[:, k] += full - next(answers).value
            return to_elements(case, (total / self.n_samples).to(value_dtype(x)), x)

        return Plan(points(), 1 + self.n_samples * k_max, Want.VALUE, losses)
