"""The base of the relative stabilities: the largest relative change of the map per change of another quantity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column
from xbench.metrics.evidence import Evidence
from xbench.metrics.maps import Maps
from xbench.metrics.robustness.nearby import OutputsNearby
from xbench.metrics.robustness.reexplained import NearbyMetric

CITATION = (
    "Agarwal, Johnson, Pawelczyk, Krishna, Saxena, Zitnik, Lakkaraju 2022, Rethinking Stability for Attribution-based "
    "Explanations, arXiv 2203.06877"
)


def worst(change: Tensor, per: Tensor, kept: Tensor | None = None) -> Tensor:
    """max over draws of change / per, (n,), over those that are kept and where `per` is not 0; NaN where none is."""
    some = ~(per <= 0)  # NaN is no reason to leave a draw out
    if kept is not None:
        some &= kept
    ratio = change / torch.where(per > 0, per, torch.where(per.isnan(), torch.nan, 1.0))
    found = ratio.masked_fill(~some, -torch.inf).amax(1)
    return torch.where(some.any(1), found, torch.nan)


@dataclass(frozen=True)
class RelativeStability(NearbyMetric):
    """Base of the relative stabilities: max over the draws that keep the predicted class.

    The main column divides norms, as OpenXAI, the suite of the paper's authors, does; `..._elements` divides element
    by element, as the paper's formula and Quantus do, where an element of 0 counts as 1e-6.
    """

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return (self.reexplained, OutputsNearby(*self.settings))

    def columns(self, name: str, label: str, short: str, what: str) -> dict[str, Column]:
        """The two columns."""
        meaning = f"Largest relative change of the map per change of {what} in a small ball"
        main = Column("lower", label=label, short=short, low=0, meaning=f"{meaning}, by norms (Agarwal et al. 2022).")
        elements = Column(
            "lower", label=f"{label} (by elements)", short=f"{short} elem.", low=0, detail=True,
            meaning=f"{meaning}, divided element by element: elements of the map near 0 decide it.",
        )  # fmt: skip
        return {name: main, f"{name}_elements": elements}

    def stabilities(
        self, case: Case, maps: Maps, found: tuple[Tensor, ...], per: Tensor, per_elements: Tensor
    ) -> dict[str, Tensor]:
        """Both columns, from what the changes of the map are divided by; NaN for a map of zeros."""
        changes = self.reexplained.changes(found[0])
        _, _, kept = OutputsNearby(*self.settings).outputs(found[1])
        kept &= changes.inputs > 0
        by_norms = self.relative_to_map(case, maps, changes.maps)
        by_elements = changes.maps_by_elements.masked_fill(by_norms.isnan(), torch.nan)
        both = worst(by_norms, per, kept), worst(by_elements, per_elements, kept)
        return dict(zip(self.facts.columns, both, strict=True))
