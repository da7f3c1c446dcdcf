"""Area between perturbation curves."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.curves import undefined_where_nan
from xbench.metrics.faithfulness.removal import CurveMetric
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class ABPC(CurveMetric):
    """(1/(S+1)) sum_s f(x, s least relevant shares removed) - f(x, s most relevant shares removed), s = 0..S.

    The difference of the AOPC of both orders, on the curves of `srg`.
    Pitfall: it is in the unit of the output and grows with the model's confidence.
    Source: Samek, Binder, Montavon, Bach, Müller 2015, "Evaluating the visualization of what a Deep Neural Network has
    learned" (arXiv 1509.06321).
    """

    orders = ("morf", "lerf")

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="ABPC", meaning="Mean gap between the outputs while the least and while the most relevant "
            "features are removed first.",
        )  # fmt: skip
        source = (
            "Samek, Binder, Montavon, Bach, Müller 2015, Evaluating the visualization of what a Deep Neural Network "
            "has learned, arXiv 1509.06321"
        )
        return MetricFacts("ABPC", source, {"abpc": column}, "faithfulness")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        morf, lerf = (curve.double() for curve in found)
        return {"abpc": undefined_where_nan(maps, (lerf - morf).mean(1))}
