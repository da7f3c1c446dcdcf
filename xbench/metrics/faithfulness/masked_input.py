"""Average drop, increase and gain: the output of the sample multiplied by its map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.masking import blend, to_elements
from xbench.core.needs import Need
from xbench.core.plan import Plan, Want, values
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.curves import undefined_where_nan
from xbench.metrics.evidence import Ranked
from xbench.metrics.maps import Maps
from xbench.metrics.postprocess import Postprocess


@dataclass(frozen=True)
class MaskedInput(Ranked):
    """f(x) and f of x between its baseline, where the map is least, and itself, where it is greatest: (n, 2).

    In between each feature is mixed in proportion to its relevance, scaled from 0 to 1.
    """

    postprocess: Postprocess

    def plan(self, case: Case, x: Tensor, maps: Maps) -> Plan:
        phi, _ = self.postprocess.relevance(case, maps)
        mask = to_elements(case, phi.nan_to_num().clamp(min=0).to(x.dtype), x)
        return Plan([x, blend(case, x, mask)], 2, Want.VALUE, values)


@dataclass(frozen=True)
class AverageDrop(Metric):
    """What is lost, y, and o, the outputs of the sample and of the sample multiplied by its map scaled to 0..1:

        average_drop = max(0, y - o) / y        average_increase = [o > y]        average_gain = max(0, o - y) / (1 - y)

    y is a probability: skipped for logits, so give `output=probability`, as the papers do; NaN where it is 0 or 1.
    Pitfall: a map that is large everywhere keeps the whole sample and wins; read it beside `sparseness`.
    Source: Chattopadhyay, Sarkar, Howlader, Balasubramanian 2018, "Grad-CAM++" (arXiv 1710.11063); gain: Zhang, Torres,
    Sicre, Avrithis, Ayache 2023, "Opti-CAM" (arXiv 2301.07002).

    Args:
        sign: of the relevance: signed, absolute or positive.
        channels: how the elements of a feature become one number.
        normaliser: how relevance becomes the share that is kept: "range", the least 0 and the greatest 1, or "max",
            divided by the greatest, which keeps something of the least. Negative shares are 0.
    """

    sign: str = "positive"
    channels: str = "sum"
    normaliser: str = "range"

    def __post_init__(self) -> None:
        Postprocess(self.sign, self.channels, self.normaliser)
        if self.normaliser == "none":
            raise ValueError("normaliser: expected range or max, got 'none': the sample is multiplied by shares")

    @property
    def facts(self) -> MetricFacts:
        columns = {
            "average_drop": Column(
                "lower", label="Average drop", low=0, high=1,
                meaning="The share of the output that is lost when the sample is multiplied by its map.",
            ),
            "average_increase": Column(
                "higher", label="Average increase", low=0, high=1, detail=True,
                meaning="How often the output rises when the sample is multiplied by its map.",
            ),
            "average_gain": Column(
                "higher", label="Average gain", low=0, high=1, detail=True,
                meaning="The share of the missing confidence that multiplying the sample by its map adds.",
            ),
        }  # fmt: skip
        source = (
            "Chattopadhyay, Sarkar, Howlader, Balasubramanian 2018, Grad-CAM++: Improved Visual Explanations for Deep "
            "Convolutional Networks, arXiv 1710.11063"
        )
        return MetricFacts("Average drop", source, columns, "faithfulness", needs=(Need.NUMBERS, Need.PROBABILITIES))

    @property
    def evidence(self) -> tuple[MaskedInput]:
        return (MaskedInput(Postprocess(self.sign, self.channels, self.normaliser)),)

    def describe(self, case: Case) -> str:
        scaled = "" if self.normaliser == "range" else ", divided by the greatest"
        return f"{case.called} mixed with the baseline in proportion to their {self.sign} relevance{scaled}"

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        y, o = found[0].double().unbind(1)
        probable = (y > 0) & (y < 1)
        y = torch.where(probable, y, torch.nan)
        columns = {
            "average_drop": (y - o).clamp(min=0) / y,
            "average_increase": torch.where(probable, (o > y).double(), torch.nan),
            "average_gain": (o - y).clamp(min=0) / (1 - y),
        }
        return {name: undefined_where_nan(maps, values) for name, values in columns.items()}
