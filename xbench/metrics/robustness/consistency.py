"""Consistency: do neighbours with the same explanation have the same prediction?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.evidence import Evidence
from xbench.metrics.maps import Maps
from xbench.metrics.robustness.nearby import OutputsNearby
from xbench.metrics.robustness.reexplained import NearbyMetric
from xbench.metrics.robustness.relative_output_stability import outputs_explained

CITATION = (
    "Dasgupta, Frost, Moshkovitz 2022, Framework for Evaluating Faithfulness of Local Explanations, arXiv 2202.00734"
)


def kept_share(alike: Tensor, kept: Tensor) -> Tensor:
    """The share of the `alike` (n, draws) draws that keep the prediction, (n,); NaN if no draw is alike."""
    count = alike.sum(1)
    return torch.where(count > 0, (alike & kept).sum(1).double() / count, torch.nan)


@dataclass(frozen=True)
class Consistency(NearbyMetric):
    """The share of draws with the sample's explanation that keep the predicted class.

    An explanation is its `top_k` most relevant features, in order, with their signs. The paper's distribution of
    samples is the neighbourhood here, so that a score is that of one sample. NaN where no draw has the same
    explanation.
    Pitfall: in a small ball hardly any prediction changes, and 1 is common: widen `perturb_radius`.
    Source: Dasgupta, Frost, Moshkovitz 2022, "Framework for Evaluating Faithfulness of Local Explanations"
    (arXiv 2202.00734).

    The other parameters are those of `NearbyMetric`.

    Args:
        top_k: how many features tell explanations apart; of samples with fewer, all.
    """

    top_k: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k < 1:
            raise ValueError(f"top_k: expected at least 1, got {self.top_k}")

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="Consistency", low=0, high=1,
            meaning="Share of the neighbours with the same most relevant features that are predicted alike.",
        )  # fmt: skip
        return MetricFacts(
            "Consistency", CITATION, {"consistency": column}, "robustness", (Need.OUTPUTS,), anywhere=True
        )

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return (self.reexplained, OutputsNearby(*self.settings))

    def check(self, case: Case) -> None:
        outputs_explained(case)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        changes = self.reexplained.changes(found[0])
        _, _, kept = OutputsNearby(*self.settings).outputs(found[1])
        least = case.counts.clamp(max=self.top_k).to(kept.device)[:, None]
        share = kept_share((changes.agreement >= least) & (changes.inputs > 0), kept)
        return {"consistency": share.masked_fill(changes.agreement.isnan().any(1), torch.nan)}
