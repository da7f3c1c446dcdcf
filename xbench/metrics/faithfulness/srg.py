"""Symmetric relevance gain: how far apart are removing the least and the most relevant features first?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.curves import undefined_where_nan
from xbench.metrics.faithfulness.removal import CurveMetric, area
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class SymmetricRelevanceGain(CurveMetric):
    """SRG = LeRF - MoRF, the areas under the output while the least and the most relevant features go first.

    A random order scores 0 on average, whatever the imputer, which is why rankings by it hold over imputers where those
    by one of the curves do not. With means over the steps instead of areas it is the ABPC of Samek et al. 2015: see
    `abpc`.
    Pitfall: it asks for an order of all features; a map that names the few that matter and ties the rest loses.
    Source: Blücher, Vielhaben, Strodthoff 2024, "Decoupling Pixel Flipping and Occlusion Strategy for Consistent XAI
    Benchmarks" (arXiv 2401.06654).
    """

    orders = ("morf", "lerf")

    @property
    def facts(self) -> MetricFacts:
        columns = {
            "srg": Column(
                "higher", label="SRG", meaning="Area between the curves of removing the least and the most relevant "
                "features first: 0 for a random order.",
            ),
            "morf": Column(
                "lower", label="MoRF", detail=True,
                meaning="Area under the output while the most relevant features are removed first.",
            ),
            "lerf": Column(
                "higher", label="LeRF", detail=True,
                meaning="Area under the output while the least relevant features are removed first.",
            ),
        }  # fmt: skip
        source = (
            "Blücher, Vielhaben, Strodthoff 2024, Decoupling Pixel Flipping and Occlusion Strategy for Consistent XAI "
            "Benchmarks, arXiv 2401.06654"
        )
        return MetricFacts("Symmetric relevance gain", source, columns, "faithfulness")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        morf, lerf = (undefined_where_nan(maps, area(curve)) for curve in found)
        return {"srg": lerf - morf, "morf": morf, "lerf": lerf}
