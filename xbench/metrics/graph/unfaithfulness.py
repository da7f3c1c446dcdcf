"""Graph explanation unfaithfulness: how far is the prediction from the explanation alone?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.graph.subgraphs import Predictions, SubgraphMetric
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class Unfaithfulness(SubgraphMetric):
    """1 - exp(-KL(p(G) || p(S))), with p all classes' probabilities and S the most relevant features alone.

    Pitfall: it sees that S suffices, never that S is needed.
    Source: Agarwal, Queen, Lakkaraju, Zitnik 2023, "Evaluating Explainability for Graph Neural Networks"
    (arXiv 2208.09339), GEF.
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Unfaithfulness", low=0, high=1,
            meaning="How far the predicted probabilities are from those of the most relevant part of the graph alone: "
            "0 is the same, 1 shares nothing.",
        )  # fmt: skip
        source = "Agarwal, Queen, Lakkaraju, Zitnik 2023, Evaluating Explainability for Graph Neural Networks, "
        return MetricFacts("Unfaithfulness", f"{source}arXiv 2208.09339", {"unfaithfulness": column}, family="graph",
                           needs=(Need.GRAPHS, Need.OUTPUTS))  # fmt: skip

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        seen = Predictions.of(found[0], maps)
        divergence = (seen.whole.exp() * (seen.whole - seen.alone)).sum(1).clamp(min=0)  # rounding is no distance
        return {"unfaithfulness": -(-divergence).expm1()}
