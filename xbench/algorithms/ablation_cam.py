"""Ablation-CAM: the channels of a layer, each weighted by the output's drop when the channel is removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.algorithms.base import Facts
from xbench.algorithms.parts.cam import ActivationMap, each_weighted
from xbench.core.case import Case
from xbench.core.plan import Answer, Plan, Steps, Want, values


@dataclass(frozen=True)
class AblationCam(ActivationMap):
    """phi = relu(sum_k w_k A_k), w_k = (f(x) - f(x with A_k = 0)) / |f(x)|; enlarged to the sample.

    The paper divides by f(x), which it assumes to be positive; |f(x)| keeps the weights' signs otherwise. If f(x) is 0,
    the weights are the drops themselves.
    Rows per sample: 1 + the channels of the layer. The arguments are those of `ActivationMap`.
    Source: Desai, Ramaswamy 2020, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
    Localization", WACV.
    """

    @property
    def facts(self) -> Facts:
        return Facts(
            "Ablation-CAM",
            "Desai, Ramaswamy 2020, Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free "
            "Localization, WACV",
            needs=self.needs(),
            reads_elsewhere=True,
        )

    def plan(self, case: Case, x: Tensor) -> Steps:
        site = self.site(case)
        read = yield Plan([x], 1, Want.ACTIVATION, _value_and_level, read=site)
        full, levels = read[:, :1], self.unflat(case, read[:, 1:])
        channels = [(t, k) for t, tensor in enumerate(levels) for k in range(tensor.shape[1])]

        def ablated() -> Iterator[Tensor]:
            for t, k in channels:
                changed = list(levels)
                changed[t] = levels[t].clone()
                changed[t][:, k] = 0
                yield torch.cat([x, self.flat(case, changed)], 1)

        losses = yield Plan(ablated(), len(channels), Want.VALUE, lambda a: full - values(a), second=site)
        return self.finished(case, each_weighted(levels, losses / torch.where(full != 0, full.abs(), 1)))


def _value_and_level(answers: Iterator[Answer]) -> Tensor:
    answer = next(answers)
    return torch.cat([answer.value[:, None], answer.level], 1)
