"""Focus: does positive relevance lie in the explained class's cells of a mosaic?"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import NotApplicable
from xbench.core.truth import Truth
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.localisation.relevance_accuracy import RelevanceMass

_MOST = 4  # cells along a side of a mosaic


@dataclass(frozen=True)
class Focus(RelevanceMass):
    """The share of the positive relevance that lies in the cells of a mosaic that show the explained class.

    For mosaics of several images, some of the explained class and the others of other classes, explained with
    `target=label`: dataset=shapes dataset.grid=2. The paper's have two cells of four; with one cell it is the grid
    pointing game.
    Pitfall: a model that looks at the other cells too, for evidence against its class, is no fault of the map.
    Source: Arias-Duart, Parés, Garcia-Gasulla, Giménez-Ábalos 2022, "Focus! Rating XAI Methods and Finding Biases"
    (arXiv 2109.15035).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="Focus", low=0, high=1,
            meaning="Share of the positive relevance that lies in the cells of a mosaic that show the explained class; "
            "chance is their area.",
        )  # fmt: skip
        source = (
            "Arias-Duart, Parés, Garcia-Gasulla, Giménez-Ábalos 2022, Focus! Rating XAI Methods and Finding Biases, "
            "arXiv 2109.15035"
        )
        return replace(super().facts, label="Focus", citation=source, columns={"focus": column})

    def check(self, case: Case) -> None:
        truth = case.truth
        assert truth is not None, "a localisation metric is only asked where the evidence is known"
        if len(truth.shapes) != 1 or len(truth.shapes[0]) < 2 or not any(_of(truth, n) for n in range(2, _MOST + 1)):
            raise NotApplicable("needs mosaics: the masks are not whole cells of a grid")


def _of(truth: Truth, side: int) -> bool:
    """Whether every mask is some, but not all, of side x side equal cells."""
    height, width = truth.shapes[0][-2:]
    if height % side or width % side:
        return False
    masks: Tensor = truth.evidence.reshape(-1, side, height // side, side, width // side)
    whole, none = masks.all(4).all(2), ~masks.any(4).any(2)
    some = whole.flatten(1).any(1) & none.flatten(1).any(1)
    return bool((whole | none).all()) and bool(some.all())
