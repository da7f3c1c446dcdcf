"""ROAD: remove and debias."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.curves import undefined_where_nan
from xbench.metrics.faithfulness.removal import PredictionMetric
from xbench.metrics.imputers.base import Imputer
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class ROAD(PredictionMetric):
    """How often the predicted class survives noisy linear imputation, the least against the most relevant pixels first.

        road = road_lerf - road_morf,  each the mean over the steps of whether the class is still predicted

    A step removes a share of the pixels; the first, nothing, and the last, everything, are left out, as both orders
    agree there. The mean of a column over samples is the paper's accuracy where the model is right on all of them.
    Pitfall: blurry maps win where neighbours tell a pixel well (arXiv 2304.13836).
    Source: Rong, Leemann, Borisov, Kasneci, Kasneci 2022, "A Consistent and Efficient Evaluation Strategy for
    Attribution Methods" (arXiv 2202.00449).
    """

    steps: int = 10
    imputer: Imputer | str = "linear"
    orders = ("morf", "lerf")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 2:
            raise ValueError(f"steps: expected at least 2, between which some pixels are left, got {self.steps}")

    @property
    def facts(self) -> MetricFacts:
        columns = {
            "road": Column(
                "higher", label="ROAD", low=-1, high=1,
                meaning="How much more often the prediction survives the removal of the least than of the most "
                "relevant features, each imputed from its neighbours.",
            ),
            "road_morf": Column(
                "lower", label="ROAD, MoRF", low=0, high=1, detail=True,
                meaning="How often the prediction survives while the most relevant features are imputed first.",
            ),
            "road_lerf": Column(
                "higher", label="ROAD, LeRF", low=0, high=1, detail=True,
                meaning="How often the prediction survives while the least relevant features are imputed first.",
            ),
        }  # fmt: skip
        source = (
            "Rong, Leemann, Borisov, Kasneci, Kasneci 2022, A Consistent and Efficient Evaluation Strategy for "
            "Attribution Methods, arXiv 2202.00449"
        )
        return MetricFacts("ROAD", source, columns, "faithfulness", needs=self.needs)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        morf, lerf = (undefined_where_nan(maps, self.kept(each)[:, 1:-1].double().mean(1)) for each in found)
        return {"road": lerf - morf, "road_morf": morf, "road_lerf": lerf}
