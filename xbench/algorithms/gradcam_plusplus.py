"""Grad-CAM++: weights that count every position where a channel supports the output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.algorithms.base import Facts
from xbench.algorithms.parts.cam import GradientMap, by_place, weighted
from xbench.core.needs import Need


@dataclass(frozen=True)
class GradCamPlusPlus(GradientMap):
    """phi = relu(sum_k w_k A_k), w_k = sum over positions of a_k relu(g_k), a_k = g_k^2 / (2 g_k^2 + S_k g_k^3).

    g_k = df/dA_k and S_k is the sum of A_k over the positions; a_k is 0 where g_k is. The paper explains exp(f), whose
    first three derivatives are powers of g_k; the factor exp(f), the same for all k, is left out of w_k.
    Rows per sample: 1 forward and backward. The arguments are those of `ActivationMap`.
    Source: Chattopadhay, Sarkar, Howlader, Balasubramanian 2018, "Grad-CAM++" (arXiv 1710.11063), equations 19 and 10.
    """

    @property
    def facts(self) -> Facts:
        return Facts(
            "Grad-CAM++",
            "Chattopadhay, Sarkar, Howlader, Balasubramanian 2018, Grad-CAM++: Improved Visual Explanations for Deep "
            "Convolutional Networks, arXiv 1710.11063",
            needs=self.needs(Need.GRADIENT),
            reads_elsewhere=True,
        )

    def combine(self, levels: Tensor, slopes: Tensor) -> Tensor:
        g, total = by_place(slopes), by_place(levels).sum(2, keepdim=True)
        below = 2 + total * g  # both sides divided by g^2, which may underflow
        alpha = torch.where((g != 0) & (below != 0), 1 / torch.where(below != 0, below, 1), 0)
        return weighted(levels, (alpha * g.relu()).sum(2))
