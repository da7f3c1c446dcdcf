"""Deletion and pixel flipping: how does the output change while the most relevant features are removed?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.masking import require_features
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.curves import RemovalCurve, undefined_where_nan
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class CurveMetric(Metric):
    """Base of the metrics that share one removal curve.

    Args:
        steps: number of removal steps, each of about the same number of features; steps beyond the number of features
            add nothing.
    """

    steps: int = 16

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps: expected at least 1, got {self.steps}")

    @property
    def evidence(self) -> tuple[RemovalCurve]:
        return (RemovalCurve(self.steps),)

    def describe(self, case: Case) -> str:
        return f"{case.called} at the baseline, {self.steps} steps"

    def check(self, case: Case) -> None:
        require_features(case)


@dataclass(frozen=True)
class DeletionAUC(CurveMetric):
    """The area under the output while the most relevant features are removed, the share removed from 0 to 1.

    Computed by the trapezoidal rule, in the unit of the output: set `output=probability` for the paper's number.
    Removed features are at the baseline.
    Source: Petsiuk, Das, Saenko 2018, "RISE" (arXiv 1806.07421).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Deletion AUC", short="Deletion",
            meaning="Area under the output while the most relevant features are removed: a good map lowers it at once.",
        )  # fmt: skip
        source = "Petsiuk, Das, Saenko 2018, RISE: Randomized Input Sampling for Explanation, arXiv 1806.07421"
        return MetricFacts("Deletion AUC", source, {"deletion_auc": column}, family="faithfulness")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        area = torch.trapezoid(found[0].double(), dx=1 / self.steps, dim=1)
        return {"deletion_auc": undefined_where_nan(maps, area)}


@dataclass(frozen=True)
class PixelFlipping(CurveMetric):
    """The mean drop of the output over the steps: (1/S) sum_s f(x) - f(x without the s-th share of the features).

    Removed features are at the baseline.
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
        return MetricFacts("Pixel flipping", source, {"pixel_flipping": column}, family="faithfulness")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        curve = found[0].double()
        return {"pixel_flipping": undefined_where_nan(maps, (curve[:, :1] - curve[:, 1:]).mean(1))}
