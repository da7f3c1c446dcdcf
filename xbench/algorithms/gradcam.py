"""Grad-CAM: the channels of a layer, each weighted by its mean gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.algorithms.base import Facts
from xbench.algorithms.parts.cam import GradientMap, by_place, weighted
from xbench.core.case import Case
from xbench.core.needs import Need


@dataclass(frozen=True)
class GradCam(GradientMap):
    """phi = relu(sum_k w_k A_k), w_k the mean over positions of df/dA_k; enlarged to the sample.

    A_k are the channels of `layer`. Captum's LayerGradCam omits the relu by default, and the enlarging.
    Rows per sample: 1 forward and backward. The other arguments are those of `ActivationMap`.
    Source: Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, "Grad-CAM" (arXiv 1610.02391).

    Args:
        attr_dim_summation: False gives each channel's own share, w_k A_k, if points enter at the layer itself.
    """

    attr_dim_summation: bool = True

    @property
    def facts(self) -> Facts:
        return Facts(
            "Grad-CAM",
            "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, Grad-CAM: Visual Explanations from Deep Networks "
            "via Gradient-based Localization, arXiv 1610.02391",
            needs=self.needs(Need.GRADIENT),
            reads_elsewhere=True,
        )

    def combine(self, levels: Tensor, slopes: Tensor) -> Tensor:
        weights = by_place(slopes).mean(2)
        return (
            weighted(levels, weights) if self.attr_dim_summation else torch.einsum("nc...,nc->nc...", levels, weights)
        )

    def check(self, case: Case) -> None:
        super().check(case)
        if not self.attr_dim_summation and not self.own(case):
            raise ValueError(
                f"attr_dim_summation=False gives a map of each channel of {self.site(case)}, which the "
                f"samples do not have: points have to enter there, layer={str(self.site(case))!r}"
            )

    def density(self, case: Case, maps: Tensor) -> Tensor:
        return super().density(case, maps) if self.attr_dim_summation else maps
