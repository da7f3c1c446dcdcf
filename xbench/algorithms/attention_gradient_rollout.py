"""Gradient-weighted attention rollout: multiplies the attention that raises the output through the layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.algorithms.base import Facts
from xbench.algorithms.parts.attention import WEIGHTS, Rollout, weights
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Answer, Plan, Want


@dataclass(frozen=True)
class AttentionGradientRollout(Rollout):
    """phi = the query's row of R - I; R starts at I, and each layer adds mean over heads of relu(A * df/dA) times R.

    A token's value is divided among the elements of its embedding; a grid of patches after a class token is mapped back
    to its image. Rows per sample: 1 forward and backward.
    Source: Chefer, Gur, Wolf 2021, "Generic Attention-model Explainability for Interpreting Bi-Modal and
    Encoder-Decoder Transformers" (arXiv 2103.15679), equations 5 and 6.
    """

    @property
    def facts(self) -> Facts:
        return Facts(
            "Attention Gradient Rollout",
            "Chefer, Gur, Wolf 2021, Generic Attention-model Explainability for Interpreting Bi-Modal and "
            "Encoder-Decoder Transformers, arXiv 2103.15679",
            needs=(Need.GRADIENT, Need.MODULE, Need.ATTENTION),
            reads_elsewhere=True,
        )

    def plan(self, case: Case, x: Tensor) -> Plan:
        def follow(answers: Iterator[Answer]) -> Tensor:
            answer = next(answers)
            levels = weights(case, answer.level)
            layers = [
                (level * slope).relu().mean(1) for level, slope in zip(levels, weights(case, answer.slope), strict=True)
            ]
            rolled = self.rolled(case, layers, lambda layer, rolled: rolled + layer @ rolled)
            identity = torch.eye(rolled.shape[1], dtype=rolled.dtype, device=rolled.device)
            return self.finished(case, rolled - identity, levels)

        return Plan([x], 1, Want.GRADIENT | Want.ACTIVATION, follow, read=WEIGHTS)
