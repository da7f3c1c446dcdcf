"""The most important part of a graph, taken away and kept alone: what all graph metrics look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.masking import coalition, require_features
from xbench.core.needs import Need, NotApplicable
from xbench.core.plan import Answer, Plan, Want
from xbench.core.sites import Site
from xbench.metrics.base import Metric
from xbench.metrics.evidence import Ranked
from xbench.metrics.maps import Maps, relevance

OUTPUT = Site("")  # of the whole model


@dataclass(frozen=True)
class SubgraphOutputs(Ranked):
    """All outputs of the graph, of it without its most relevant features, and of these alone, (n, 3 C)."""

    top: float

    def plan(self, case: Case, x: Tensor, maps: Maps) -> Plan:
        phi, own = relevance(case, maps)
        phi = phi.nan_to_num().masked_fill(~own, -torch.inf)
        rank = phi.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        important = rank < (own.sum(1, keepdim=True) * self.top).round().clamp(min=1)

        def points() -> Iterator[Tensor]:
            yield x
            yield coalition(case, x, ~important)
            yield coalition(case, x, important)

        def outputs(answers: Iterator[Answer]) -> Tensor:
            return torch.cat([answer.level.double() for answer in answers], dim=1)

        return Plan(points(), 3, Want.ACTIVATION, outputs, read=OUTPUT)


@dataclass(frozen=True)
class SubgraphMetric(Metric):
    """Base of the metrics that compare the graph with a part of it.

    The part is the share `top` of the features (nodes and edges) that are most relevant, at least one; of equal ones
    the first. What is not in a part is at the baseline: edges are gone, nodes carry nothing.

    Args:
        top: the share of the features that is the explanation.
    """

    top: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.top < 1:
            raise ValueError(f"top: expected a share between 0 and 1, got {self.top}")

    @property
    def evidence(self) -> tuple[SubgraphOutputs]:
        return (SubgraphOutputs(self.top),)

    def describe(self, case: Case) -> str:
        return f"the most relevant {self.top:.0%} of the {case.called} taken away, and alone"

    def check(self, case: Case) -> None:
        require_features(case)
        shapes = case.places.layout(OUTPUT).shapes
        if len(shapes) != 1 or len(shapes[0]) != 1:
            raise NotApplicable(f"needs {Need.OUTPUTS.value}: the model's output has the shapes {list(shapes)}")


@dataclass(frozen=True)
class Predictions:
    """Log-probabilities (n, C) of the graph, of what is left without the explanation, and of the explanation alone."""

    whole: Tensor
    without: Tensor
    alone: Tensor

    @classmethod
    def of(cls, outputs: Tensor, maps: Maps) -> Predictions:
        """From what `SubgraphOutputs` found; NaN for the maps with NaN, which name no part."""
        outputs = outputs.double().masked_fill(maps.density.isnan().any(1, keepdim=True), torch.nan)
        return cls(*(part.log_softmax(1) for part in outputs.chunk(3, dim=1)))

    def drop(self, case: Case, part: Tensor) -> Tensor:
        """|p(G) - p(part)| of the explained output, (n,)."""
        assert case.target is not None, "only asked where an output is chosen"
        place = case.target.to(part.device)
        return (self.whole.gather(1, place).exp() - part.gather(1, place).exp()).abs().squeeze(1)

    def changed(self, part: Tensor) -> Tensor:
        """1 where the part is predicted to be of another class than the graph, (n,)."""
        other = (self.whole.argmax(1) != part.argmax(1)).double()
        return other.masked_fill(part.isnan().any(1), torch.nan)
