"""Grad-CAM: the channels of a layer, each weighted by its mean gradient."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.algorithms.base import Facts, Need
from xbench.algorithms.parts.cam import GradientMap, weighted


@dataclass(frozen=True)
class GradCam(GradientMap):
    """phi = relu(sum_k w_k A_k), w_k the mean over positions of df/dA_k; enlarged to the sample.

    A_k are the channels of `layer`. Captum's LayerGradCam leaves out the relu unless asked, and the enlarging.
    Rows per sample: 1 forward and backward. The arguments are those of `ActivationMap`.
    Source: Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, "Grad-CAM" (arXiv 1610.02391).
    """

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
        return weighted(levels, slopes.flatten(2).mean(2))
