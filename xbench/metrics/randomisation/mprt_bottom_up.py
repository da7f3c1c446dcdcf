"""MPRT bottom-up: does the map change when the weights do, from the first layer on?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.evidence import Evidence
from xbench.metrics.maps import Maps
from xbench.metrics.randomisation.mprt import CITATION
from xbench.metrics.randomisation.random_weights import FullyRandom, PartlyRandom, check_cascades


@dataclass(frozen=True)
class MPRTBottomUp(Metric):
    """Mean over cascades of Spearman's correlation of the map and those of the model with weights drawn anew, from the
    first layer on; with all of them the model is that of `MPRT`.

    What remains of the trained model is its last layers, which see noise: nothing of the input's shapes is carried on,
    as it is top-down (Binder, Weber, Lapuschkin, Montavon, Müller, Samek 2023, arXiv 2211.12486).
    Pitfall: a noisy map scores well, for noise is unlike other noise; `SmoothMPRT` averages it out.
    Source: Adebayo et al. 2018, "Sanity Checks for Saliency Maps" (arXiv 1810.03292); the order is that which Hedström
    et al. 2023 advise.

    Args:
        cascades: at how many stages of the cascade samples are explained again, evenly spread; the last is the whole
            model.
    """

    cascades: int = 4

    def __post_init__(self) -> None:
        check_cascades(self.cascades, "bottom_up")

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="MPRT, bottom-up", low=-1, high=1,
            meaning="Mean rank correlation of the map with those of the model whose weights are drawn anew, from the "
            "first layer on: 1 says that the map does not depend on the model.",
        )  # fmt: skip
        columns = {"mprt_bottom_up": column}
        return MetricFacts("MPRT, bottom-up", CITATION, columns, "randomisation", (Need.MODULE,), anywhere=True)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        partly = (PartlyRandom(self.cascades, "bottom_up"),) if self.cascades > 1 else ()
        return (FullyRandom(), *partly)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        full, *partly = found
        return {"mprt_bottom_up": torch.cat([*partly, full[:, :1]], dim=1).double().mean(1)}
