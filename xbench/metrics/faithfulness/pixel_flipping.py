"""Pixel flipping: how much does the output drop, on average, while the most relevant features are removed?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.curves import undefined_where_nan
from xbench.metrics.faithfulness.removal import CurveMetric
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class PixelFlipping(CurveMetric):
    """The mean drop of the output over the steps: (1/S) sum_s f(x) - f(x without the s-th share of the features).

    Pitfall: its size is the model's; only maps of one model on the same samples can be compared.
    Source: Bach, Binder, Montavon, Klauschen, Müller, Samek 2015, "On Pixel-Wise Explanations" (PLoS ONE 10); the
    average over the perturbation curve of Samek, Binder, Montavon, Bach, Müller 2015 (arXiv 1509.06321).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="Pixel flipping",
            meaning="Mean drop of the output while the most relevant features are removed, step by step.",
        )  # fmt: skip
        source = "Bach et al. 2015, On Pixel-Wise Explanations for Non-Linear Classifier Decisions, PLoS ONE 10"
        return MetricFacts("Pixel flipping", source, {"pixel_flipping": column}, "faithfulness", version=2)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        curve = found[0].double()
        return {"pixel_flipping": undefined_where_nan(maps, (curve[:, :1] - curve[:, 1:]).mean(1))}
