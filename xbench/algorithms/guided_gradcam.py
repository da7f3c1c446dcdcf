"""Guided Grad-CAM: Grad-CAM's map times the map of guided backpropagation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from xbench.algorithms.base import Facts
from xbench.algorithms.gradcam import GradCam
from xbench.algorithms.guided_backprop import GuidedBackprop
from xbench.algorithms.parts.cam import ActivationMap
from xbench.algorithms.parts.positions import Mode
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Steps


@dataclass(frozen=True)
class GuidedGradCam(ActivationMap):
    """phi = Grad-CAM's enlarged map without negative values, times the map of guided backpropagation.

    Rows per sample: 2 forwards and backwards. The other arguments are those of `ActivationMap`; the map is enlarged as
    in Captum, to the nearest value.
    Source: Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, "Grad-CAM" (arXiv 1610.02391), section 3.1.

    Args:
        unknown: as in `GuidedBackprop`.
    """

    interpolate_mode: Mode = "nearest"
    unknown: Literal["raise", "warn"] = "raise"

    @property
    def facts(self) -> Facts:
        return Facts(
            "Guided Grad-CAM",
            "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, Grad-CAM: Visual Explanations from Deep Networks "
            "via Gradient-based Localization, arXiv 1610.02391",
            local=True,
            needs=self.needs(Need.NUMBERS, Need.GRADIENT),
            reads_elsewhere=True,
        )

    def density(self, case: Case, maps: Tensor) -> Tensor:
        return maps  # each element has its own gradient

    def plan(self, case: Case, x: Tensor) -> Steps:
        coarse = GradCam(self.layer, self.channels, self.interpolate_mode, self.relu_attributions)
        where = yield coarse.plan(case, x)
        detail = yield GuidedBackprop(self.unknown).plan(case, x)
        return where * detail
