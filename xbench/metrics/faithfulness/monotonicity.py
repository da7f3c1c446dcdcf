"""Monotonicity: does the output rise with every feature that is put back, the least relevant first?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.curves import undefined_where_nan
from xbench.metrics.faithfulness.removal import CurveMetric
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class Monotonicity(CurveMetric):
    """Whether the output never falls while features are put back, the least relevant first: 0 or 1.

    That is the curve of removing the most relevant features first, read backwards. `monotonicity_share` is the share
    of the steps at which it does not fall. The paper puts them back one by one: `steps` as many as features.
    Pitfall: the order decides little of it: any order is monotone for a model that is increasing in every feature.
    Source: Arya et al. 2019, "One Explanation Does Not Fit All" (arXiv 1909.03012).
    """

    @property
    def facts(self) -> MetricFacts:
        columns = {
            "monotonicity": Column(
                "higher", label="Monotonicity", low=0, high=1,
                meaning="Whether the output never falls while features are put back, the least relevant first.",
            ),
            "monotonicity_share": Column(
                "higher", label="Monotonicity, share", low=0, high=1, detail=True,
                meaning="The share of the steps at which the output does not fall.",
            ),
        }  # fmt: skip
        source = (
            "Arya et al. 2019, One Explanation Does Not Fit All: A Toolkit and Taxonomy of AI Explainability "
            "Techniques, arXiv 1909.03012"
        )
        return MetricFacts("Monotonicity", source, columns, "faithfulness")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        curve = found[0].double()
        rises = (curve[:, :-1] >= curve[:, 1:]).double()
        share = undefined_where_nan(maps, rises.mean(1))
        return {"monotonicity": undefined_where_nan(maps, rises.amin(1)), "monotonicity_share": share}
