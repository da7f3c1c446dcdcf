"""Fidelity-: is the explanation sufficient for the prediction?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.graph.fidelity_plus import SOURCE
from xbench.metrics.graph.subgraphs import Predictions, SubgraphMetric
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class FidelityMinus(SubgraphMetric):
    """|p_y(G) - p_y(S)|, with S the most relevant features alone and p_y the explained class's probability.

    `fidelity_minus_changed` is 1 where the prediction becomes another: its mean is the form on accuracy, asked of the
    model. Pitfall: an explanation that keeps nearly all of the graph is sufficient, so compare at one `top`.
    Source: Amara et al. 2022 (arXiv 2206.09677), equations on probabilities and on the model's focus.
    """

    @property
    def facts(self) -> MetricFacts:
        columns = {
            "fidelity_minus": Column(
                "lower", label="Fidelity−", low=0, high=1,
                meaning="Change of the class's probability when only the most relevant part of the graph is left.",
            ),
            "fidelity_minus_changed": Column(
                "lower", label="Fidelity−, changed", low=0, high=1, detail=True,
                meaning="Share of the graphs whose predicted class changes when only that part is left.",
            ),
        }  # fmt: skip
        return MetricFacts("Fidelity−", SOURCE, columns, family="graph", needs=(Need.GRAPHS, Need.OUTPUTS))

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        seen = Predictions.of(found[0], maps)
        return {"fidelity_minus": seen.drop(case, seen.alone), "fidelity_minus_changed": seen.changed(seen.alone)}
