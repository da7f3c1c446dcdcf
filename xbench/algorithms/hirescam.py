"""HiResCAM: gradient times activation, summed over the channels of a layer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.algorithms.base import Facts
from xbench.algorithms.parts.cam import GradientMap
from xbench.core.needs import Need


@dataclass(frozen=True)
class HiResCam(GradientMap):
    """phi = sum_k A_k df/dA_k at each position; enlarged to the sample.

    If only a linear layer follows, the values at the layer's positions sum to the output minus its bias. The paper
    keeps negative values, so `relu_attributions` is False by default.
    Rows per sample: 1 forward and backward. The arguments are those of `ActivationMap`.
    Source: Draelos, Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
    networks" (arXiv 2011.08891).
    """

    relu_attributions: bool = False

    @property
    def facts(self) -> Facts:
        return Facts(
            "HiResCAM",
            "Draelos, Carin 2020, Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural "
            "networks, arXiv 2011.08891",
            needs=self.needs(Need.GRADIENT),
            reads_elsewhere=True,
        )

    def combine(self, levels: Tensor, slopes: Tensor) -> Tensor:
        return (levels * slopes).sum(1)
