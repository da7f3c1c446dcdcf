"""Attention rollout: the attention weights of all layers, multiplied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from xbench.algorithms.base import Facts
from xbench.algorithms.parts.attention import WEIGHTS, Rollout, weights
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Answer, Plan, Want

Fusion = Literal["mean", "max", "min"]


@dataclass(frozen=True)
class AttentionRollout(Rollout):
    """phi = the query's row of A_L ... A_1, A_l = (fused heads + I) / 2 with rows that sum to 1.

    It depends on neither target nor neuron. A token's value is divided among the elements of its embedding; a grid of
    patches after a class token is mapped back to its image. Rows per sample: 1.
    Source: Abnar, Zuidema 2020, "Quantifying Attention Flow in Transformers" (arXiv 2005.00928).

    Args:
        head_fusion: how the heads of a layer are combined: `mean` (the paper), `max` or `min`.
    """

    head_fusion: Fusion = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head_fusion not in get_args(Fusion):
            raise ValueError(f"head_fusion: expected one of {', '.join(get_args(Fusion))}, got {self.head_fusion!r}")

    @property
    def facts(self) -> Facts:
        return Facts(
            "Attention Rollout",
            "Abnar, Zuidema 2020, Quantifying Attention Flow in Transformers, arXiv 2005.00928",
            needs=(Need.MODULE, Need.ATTENTION),
            reads_elsewhere=True,
        )

    def plan(self, case: Case, x: Tensor) -> Plan:
        def follow(answers: Iterator[Answer]) -> Tensor:
            layers = weights(case, next(answers).level)
            return self.finished(case, self.rolled(case, layers, self._step), layers)

        return Plan([x], 1, Want.ACTIVATION, follow, read=WEIGHTS)

    def _step(self, layer: Tensor, rolled: Tensor) -> Tensor:
        fused = _FUSED[self.head_fusion](layer)
        mixed = fused + torch.eye(layer.shape[-1], dtype=layer.dtype, device=layer.device)
        return mixed / mixed.sum(2, keepdim=True) @ rolled


_FUSED: dict[Fusion, Callable[[Tensor], Tensor]] = {
    "mean": lambda heads: heads.mean(1),
    "max": lambda heads: heads.amax(1),
    "min": lambda heads: heads.amin(1),
}
