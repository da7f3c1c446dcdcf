"""Sufficiency: do neighbours to which the explanation applies have the same prediction?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.evidence import Evidence
from xbench.metrics.maps import Maps
from xbench.metrics.robustness.consistency import CITATION, kept_share
from xbench.metrics.robustness.nearby import OutputsNearby
from xbench.metrics.robustness.reexplained import NearbyMetric
from xbench.metrics.robustness.relative_output_stability import outputs_explained


@dataclass(frozen=True)
class LocalSufficiency(NearbyMetric):
    """The share of draws to which the sample's explanation applies that keep the predicted class.

    It applies where ||phi(x') - phi(x)|| <= threshold * ||phi(x)||. The paper's distribution of samples is the
    neighbourhood here, so that a score is that of one sample. NaN for a map of zeros, and where it applies to no draw.
    Pitfall: in a small ball hardly any prediction changes, and 1 is common: widen `perturb_radius`.
    Source: Dasgupta, Frost, Moshkovitz 2022, "Framework for Evaluating Faithfulness of Local Explanations"
    (arXiv 2202.00734); the distance of maps decides as in Quantus.

    The other parameters are those of `NearbyMetric`.

    Args:
        threshold: the largest relative change of the map at which it still applies.
    """

    threshold: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.threshold >= 0:
            raise ValueError(f"threshold: expected a number >= 0, got {self.threshold}")

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="Local sufficiency", short="loc. sufficiency", low=0, high=1,
            meaning="Share of the neighbours with nearly the same map that are predicted alike (Dasgupta et al. 2022).",
        )  # fmt: skip
        return MetricFacts(
            "Local sufficiency", CITATION, {"local_sufficiency": column}, "robustness", (Need.OUTPUTS,), anywhere=True
        )

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return (self.reexplained, OutputsNearby(*self.settings))

    def check(self, case: Case) -> None:
        outputs_explained(case)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        changes = self.reexplained.changes(found[0])
        _, _, kept = OutputsNearby(*self.settings).outputs(found[1])
        moved = self.relative_to_map(case, maps, changes.maps)
        share = kept_share((moved <= self.threshold) & (changes.inputs > 0), kept)
        return {"local_sufficiency": share.masked_fill(moved.isnan().any(1), torch.nan)}
