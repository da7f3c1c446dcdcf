"""IROF: iterative removal of superpixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need, NotApplicable
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.curves import Regions, undefined_where_nan
from xbench.metrics.faithfulness.removal import CurveMetric, area
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class IROF(CurveMetric):
    """The area over the curve f(x without the most relevant segments) / f(x), segments ranked by their mean relevance.

    Segments are superpixels of the image (scikit-image, the extra `superpixels`); `segments=features` takes the
    features instead, for any data. f(x) is a probability: skipped for logits, so give `output=probability`, as
    the paper does. NaN where it is 0. The paper fills with the mean: `imputer=mean`.
    Pitfall: one superpixel that holds the object decides it all.
    Source: Rieger, Hansen 2020, "IROF: a low resource evaluation metric for explanation methods" (arXiv 2003.08747).

    Args:
        segments: superpixels or features.
    """

    channels: str = "mean"
    segments: str = "superpixels"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.segments not in ("superpixels", "features"):
            raise ValueError(f"segments: expected superpixels or features, got {self.segments!r}")

    @property
    def regions(self) -> Regions:
        return "superpixels" if self.segments == "superpixels" else None

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "higher", label="IROF", meaning="Area over the output, relative to the sample's own, while the segments of "
            "the largest mean relevance are removed.",
        )  # fmt: skip
        source = "Rieger, Hansen 2020, IROF: a low resource evaluation metric for explanation methods, arXiv 2003.08747"
        return MetricFacts("IROF", source, {"irof": column}, "faithfulness", (Need.PROBABILITIES,))

    def check(self, case: Case) -> None:
        if self.segments == "superpixels" and (len(case.layout.shapes) != 1 or len(case.layout.shapes[0]) != 3):
            raise NotApplicable("needs images: it removes superpixels; segments=features takes any data")
        super().check(case)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        curve = found[0].double()
        full = curve[:, :1]
        kept = torch.where(full > 0, curve / torch.where(full > 0, full, 1), torch.nan)
        return {"irof": undefined_where_nan(maps, 1 - area(kept))}
