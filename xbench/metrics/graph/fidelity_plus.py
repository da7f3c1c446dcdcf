"""Fidelity+: is the explanation necessary for the prediction?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.graph.subgraphs import Predictions, SubgraphMetric
from xbench.metrics.maps import Maps

SOURCE = (
    "Amara et al. 2022, GraphFramEx: Towards Systematic Evaluation of Explainability Methods for Graph Neural "
    "Networks, arXiv 2206.09677"
)


@dataclass(frozen=True)
class FidelityPlus(SubgraphMetric):
    """|p_y(G) - p_y(G without S)|, with S the most relevant features and p_y the explained class's probability.

    `fidelity_plus_changed` is 1 where the prediction becomes another: its mean is the form on accuracy, asked of the
    model. Pitfall: what is left of a graph may be unlike any the model has seen.
    Source: Amara et al. 2022 (arXiv 2206.09677), equations on probabilities and on the model's focus; Pope et al. 2019.
    """

    @property
    def facts(self) -> MetricFacts:
        columns = {
            "fidelity_plus": Column(
                "higher", label="Fidelity+", low=0, high=1,
                meaning="Change of the class's probability when the most relevant part of the graph is taken away.",
            ),
            "fidelity_plus_changed": Column(
                "higher", label="Fidelity+, changed", low=0, high=1, detail=True,
                meaning="Share of the graphs whose predicted class changes when that part is taken away.",
            ),
        }  # fmt: skip
        return MetricFacts("Fidelity+", SOURCE, columns, family="graph", needs=(Need.GRAPHS, Need.OUTPUTS))

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        seen = Predictions.of(found[0], maps)
        return {
            "fidelity_plus": seen.drop(case, seen.without),
            "fidelity_plus_changed": seen.changed(seen.without),
        }
