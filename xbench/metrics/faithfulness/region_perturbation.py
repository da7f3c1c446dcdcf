"""Region perturbation and selectivity: squares of the image are removed, the most relevant first."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.curves import Regions, undefined_where_nan
from xbench.metrics.faithfulness.removal import CurveMetric, area
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class SquareCurveMetric(CurveMetric):
    """Base of the metrics that remove squares of an image, whatever its features are.

    Args:
        side: of the squares, in pixels.
    """

    side: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side < 1:
            raise ValueError(f"side: expected at least 1, got {self.side}")

    @property
    def regions(self) -> Regions:
        return self.side


@dataclass(frozen=True)
class RegionPerturbation(SquareCurveMetric):
    """AOPC over regions: (1/(S+1)) sum_s f(x) - f(x without the s-th share of the most relevant squares), s = 0..S.

    The paper fills squares of side 9 of images of 227 pixels with uniform noise: `imputer=uniform side=9`.
    Pitfall: what fills a square is itself evidence for some class.
    Source: Samek, Binder, Montavon, Bach, Müller 2015 (arXiv 1509.06321).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="Region perturbation", short="regions",
            meaning="Mean drop of the output while the most relevant squares of the image are removed.",
        )  # fmt: skip
        source = (
            "Samek, Binder, Montavon, Bach, Müller 2015, Evaluating the visualization of what a Deep Neural Network "
            "has learned, arXiv 1509.06321"
        )
        return MetricFacts("Region perturbation", source, {"region_perturbation": column}, "faithfulness")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        curve = found[0].double()
        return {"region_perturbation": undefined_where_nan(maps, (curve[:, :1] - curve).mean(1))}


@dataclass(frozen=True)
class Selectivity(SquareCurveMetric):
    """The area under the output while the most relevant squares are removed, on the curve of `region_perturbation`.

    Pitfall: as for every curve, a model that distrusts any damaged image makes all maps look right.
    Source: Montavon, Samek, Müller 2018, "Methods for Interpreting and Understanding Deep Neural Networks" (Digital
    Signal Processing 73).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Selectivity",
            meaning="Area under the output while the most relevant squares of the image are removed.",
        )  # fmt: skip
        source = (
            "Montavon, Samek, Müller 2018, Methods for Interpreting and Understanding Deep Neural Networks, Digital "
            "Signal Processing 73"
        )
        return MetricFacts("Selectivity", source, {"selectivity": column}, "faithfulness")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        return {"selectivity": undefined_where_nan(maps, area(found[0]))}
