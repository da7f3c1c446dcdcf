"""Model parameter randomisation test: does the map change with the weights?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.evidence import Evidence
from xbench.metrics.maps import Maps
from xbench.metrics.randomisation.random_weights import FullyRandom, PartlyRandom, check_cascades

CITATION = "Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, Sanity Checks for Saliency Maps, arXiv 1810.03292"


@dataclass(frozen=True)
class MPRT(Metric):
    """Spearman's correlation between the map and the maps of the model with randomised weights, from the top down.

    The score is the mean over cascades; `mprt_full` randomises all modules. A map that explains the model changes with
    its weights; 1 means that the map depends on the input only. Modules are ordered as the model defines them.
    Pitfall: the first layers stay as they are until the last stages, which keeps maps similar for any method; see
    `MPRTBottomUp`.
    Source: Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, "Sanity Checks for Saliency Maps" (arXiv 1810.03292),
    the cascading randomisation with rank correlation of signed values.

    Args:
        cascades: number of evenly spaced stages at which samples are explained again; the last one randomises the whole
            model.
    """

    cascades: int = 4

    def __post_init__(self) -> None:
        check_cascades(self.cascades, "top_down")

    @property
    def facts(self) -> MetricFacts:
        main = Column(
            "lower", label="MPRT", low=-1, high=1,
            meaning="Mean rank correlation of the map with those of the model whose weights are drawn anew, from the "
            "last layer on: 1 says that the map does not depend on the model.",
        )  # fmt: skip
        full = Column(
            "lower", label="MPRT, all weights", low=-1, high=1, detail=True,
            meaning="The same with all weights drawn anew.",
        )  # fmt: skip
        columns = {"mprt": main, "mprt_full": full}
        return MetricFacts("MPRT", CITATION, columns, "randomisation", (Need.MODULE,), anywhere=True)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        partly = (PartlyRandom(self.cascades, "top_down"),) if self.cascades > 1 else ()
        return (FullyRandom(), *partly)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        full, *partly = found
        alike = torch.cat([*partly, full[:, :1]], dim=1).double()
        return {"mprt": alike.mean(1), "mprt_full": alike[:, -1]}
