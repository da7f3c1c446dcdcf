"""LayerCAM: positive gradients weight the activations at each position, also in shallow layers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.algorithms.base import Facts
from xbench.algorithms.parts.cam import GradientMap
from xbench.core.needs import Need


@dataclass(frozen=True)
class LayerCam(GradientMap):
    """phi = relu(sum_k relu(df/dA_k) A_k) at each position; enlarged to the sample.

    Rows per sample: 1 forward and backward. The arguments are those of `ActivationMap`.
    Source: Jiang, Zhang, Hou, Cheng, Wei 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps for
    Localization", IEEE Transactions on Image Processing 30.
    """

    @property
    def facts(self) -> Facts:
        return Facts(
            "LayerCAM",
            "Jiang, Zhang, Hou, Cheng, Wei 2021, LayerCAM: Exploring Hierarchical Class Activation Maps for "
            "Localization, IEEE Transactions on Image Processing 30",
            needs=self.needs(Need.GRADIENT),
            reads_elsewhere=True,
        )

    def combine(self, levels: Tensor, slopes: Tensor) -> Tensor:
        return (levels * slopes.relu()).sum(1)
