"""Relative representation stability: how much the map changes, relatively, per relative change of a hidden layer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need, NotApplicable
from xbench.metrics.base import MetricFacts
from xbench.metrics.evidence import Evidence
from xbench.metrics.maps import Maps
from xbench.metrics.robustness.nearby import HiddenNearby
from xbench.metrics.robustness.relative_stability import CITATION, RelativeStability


@dataclass(frozen=True)
class RelativeRepresentationStability(RelativeStability):
    """max over draws of (||phi(x') - phi(x)|| / ||phi(x)||) / (||L(x') - L(x)|| / ||L(x)||), L a hidden representation.

    `relative_representation_stability_elements` divides both sides element by element. NaN for a map or a
    representation of zeros, and where no draw changes the representation and keeps the predicted class.
    Pitfall: the layer decides the number; equal layers only can be compared.
    Source: Agarwal et al. 2022, "Rethinking Stability for Attribution-based Explanations" (arXiv 2203.06877).

    The other parameters are those of `NearbyMetric`.

    Args:
        layer: whose output is the representation, or LAYER:input; None: what enters the last layer with weights.
    """

    layer: str | None = None

    @property
    def facts(self) -> MetricFacts:
        columns = self.columns(
            "relative_representation_stability", "Relative representation stability", "RRS", "a hidden layer"
        )
        return MetricFacts(
            "Relative representation stability", CITATION, columns, "robustness", (Need.MODULE,), anywhere=True
        )

    @property
    def _hidden(self) -> HiddenNearby:
        return HiddenNearby(*self.settings, self.layer)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return (*super().evidence, self._hidden)

    def check(self, case: Case) -> None:
        place = self._hidden.place(case)
        try:
            case.places.layout(place)
        except ValueError as error:
            raise NotApplicable(f"needs a hidden layer that can be read (parameter `layer`): {error}") from None

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        by_norms, by_elements = found[2].double().unflatten(1, (2, -1)).unbind(1)
        return self.stabilities(case, maps, found, by_norms, by_elements)
