"""Feature ablation: the output's drop when each feature is removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.algorithms.base import Facts
from xbench.algorithms.parts.on_features import OnFeatures
from xbench.core.case import Case
from xbench.core.masking import coalition, to_elements, value_dtype
from xbench.core.plan import Answer, Plan, Want


@dataclass(frozen=True)
class FeatureAblation(OnFeatures):
    """phi_k = f(x) - f(x with feature k replaced by its baseline); every element of the feature carries phi_k.

    Source: Zeiler, Fergus 2014, "Visualizing and Understanding Convolutional Networks" (arXiv 1311.2901), with
    arbitrary groups of elements. Rows: (K + 1) per sample, K the largest number of features of a sample in flight.
    """

    @property
    def facts(self) -> Facts:
        return Facts(
            "Feature Ablation",
            "Zeiler, Fergus 2014, Visualizing and Understanding Convolutional Networks, arXiv 1311.2901",
        )

    def plan(self, case: Case, x: Tensor) -> Plan:
        k_max = int(case.counts.max())

        def points() -> Iterator[Tensor]:
            yield x
            present = torch.ones(len(x), k_max, dtype=torch.bool, device=x.device)
            for k in range(k_max):
                present[:, k] = False
                yield coalition(case, x, present)
                present[:, k] = True

        def differences(answers: Iterator[Answer]) -> Tensor:
            full = next(answers).value
            drops = torch.stack([full - answer.value for answer in answers], dim=1)
            return to_elements(case, drops.to(value_dtype(x)), x)

        return Plan(points(), k_max + 1, Want.VALUE, differences)
