"""Comprehensiveness, sufficiency and log-odds: the output at a few shares of removed features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.curves import undefined_where_nan
from xbench.metrics.faithfulness.removal import CurveMetric, PredictionMetric
from xbench.metrics.maps import Maps

_ERASER = "DeYoung et al. 2020, ERASER: A Benchmark to Evaluate Rationalized NLP Models, arXiv 1911.03429"


def points_of(shares: Sequence[float], steps: int) -> list[int]:
    """At which of the steps each share of the features is removed. ValueError where a share is no step."""
    if not shares or any(not 0 < share <= 1 for share in shares):
        raise ValueError(f"shares: expected numbers in (0, 1], got {list(shares)}")
    points = [round(share * steps) for share in shares]
    for share, point in zip(shares, points, strict=True):
        if abs(share * steps - point) > 1e-9 or point == 0:
            raise ValueError(f"shares: {share:g} is none of {steps} even steps; raise `steps`, or choose another share")
    return points


@dataclass(frozen=True)
class Comprehensiveness(CurveMetric):
    """The mean over shares r of f(x) - f(x without its r most relevant features): AOPC of comprehensiveness.

    At r = 1, where nothing is left, every map scores the same.
    ERASER's shares are 1, 5, 10, 20 and 50 % of the tokens of long texts; 1 % is less than a word of a sentence and is
    left out here. Give `output=probability` for the paper's number.
    Pitfall: its bounds differ by model and sample: over several models compare `naopc`.
    Source: DeYoung et al. 2020, "ERASER" (arXiv 1911.03429).

    Args:
        shares: of the features that are removed; each a multiple of 1 / steps.
    """

    shares: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        points_of(self.shares, self.steps)

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="Comprehensiveness", short="compreh.",
            meaning="Mean drop of the output when the most relevant shares of the features are removed.",
        )  # fmt: skip
        return MetricFacts("Comprehensiveness", _ERASER, {"comprehensiveness": column}, "faithfulness")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        curve = found[0].double()
        drops = curve[:, :1] - curve[:, points_of(self.shares, self.steps)]
        return {"comprehensiveness": undefined_where_nan(maps, drops.mean(1))}


@dataclass(frozen=True)
class Sufficiency(CurveMetric):
    """The mean over shares r of f(x) - f(the r most relevant features of x alone): AOPC of sufficiency.

    The rest is removed, so it lies on the curve of removing the least relevant features first.
    Pitfall: it is lowest, and best, where the output of the emptied sample is high by itself.
    Source: DeYoung et al. 2020, "ERASER" (arXiv 1911.03429).

    Args:
        shares: of the features that are kept; each a multiple of 1 / steps.
    """

    shares: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5)
    orders = ("lerf",)

    def __post_init__(self) -> None:
        super().__post_init__()
        points_of(self.shares, self.steps)

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Sufficiency",
            meaning="Mean drop of the output when only the most relevant shares of the features are kept.",
        )  # fmt: skip
        return MetricFacts("Sufficiency", _ERASER, {"sufficiency": column}, "faithfulness")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        curve = found[0].double()
        kept = curve[:, [self.steps - point for point in points_of(self.shares, self.steps)]]
        return {"sufficiency": undefined_where_nan(maps, (curve[:, :1] - kept).mean(1))}


@dataclass(frozen=True)
class LogOdds(PredictionMetric):
    """The mean over shares r of log-odds(x without its r most relevant features) - log-odds(x).

    Log-odds are log p - log(1 - p), p the softmax of the predicted class, whatever output is explained.
    Pitfall: without bounds: one sample that a model is sure of outweighs many.
    Source: Shrikumar, Greenside, Kundaje 2017, "Learning Important Features Through Propagating Activation Differences"
    (arXiv 1704.02685), section 4.1; for texts Chen, Jordan 2020, "LS-Tree" (arXiv 1902.04187).

    Args:
        shares: of the features that are removed; each a multiple of 1 / steps.
    """

    shares: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        points_of(self.shares, self.steps)

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Log-odds",
            meaning="Mean change of the predicted class's log-odds when the most relevant shares of the features are "
            "removed.",
        )  # fmt: skip
        source = (
            "Shrikumar, Greenside, Kundaje 2017, Learning Important Features Through Propagating Activation "
            "Differences, arXiv 1704.02685"
        )
        return MetricFacts("Log-odds", source, {"log_odds": column}, "faithfulness", needs=self.needs)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        odds = self.log_odds(found[0]).double()
        change = odds[:, points_of(self.shares, self.steps)] - odds[:, :1]
        change = torch.where(change.isfinite(), change, torch.nan)  # a probability of exactly 1 has no odds
        return {"log_odds": undefined_where_nan(maps, change.mean(1))}
