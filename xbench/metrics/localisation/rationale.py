"""Agreement with a rationale: precision, recall, F1 and IOU of the most relevant words."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.needs import Need
from xbench.core.truth import Truth
from xbench.metrics.base import Column, MetricFacts
from xbench.metrics.localisation.base import LocalisationMetric, largest_inside


@dataclass(frozen=True)
class Rationale(LocalisationMetric):
    """Compares the set of a sample's most relevant cells with the marked cells (words, tokens).

    Pitfall: `share` is one number for all samples, so a sample with fewer marked cells cannot reach precision 1.
    Source: DeYoung et al. 2020, "ERASER: A Benchmark to Evaluate Rationalized NLP Models" (arXiv 1911.03429), token
    level: soft scores become a set by taking a share of the tokens that is fixed for a data set.

    Args:
        share: share of the cells in the set, between 0 and 1, at least one cell; choose the rationales' mean share.
    """

    share: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ValueError(f"share: expected a number above 0 and at most 1, got {self.share}")

    @property
    def facts(self) -> MetricFacts:
        meanings = {
            "F1": "F1 of the most relevant share of the words (or cells) against the marked ones.",
            "precision": "Share of the most relevant words that are marked.",
            "recall": "Share of the marked words that are among the most relevant.",
            "IOU": "The most relevant words and the marked ones: what both share, over what either has.",
        }
        return MetricFacts(
            "Rationale F1",
            "DeYoung et al. 2020, ERASER: A Benchmark to Evaluate Rationalized NLP Models, arXiv 1911.03429",
            {
                f"rationale_{name.lower()}": Column(
                    "higher", label=f"Rationale {name}", low=0, high=1, meaning=meaning, detail=name != "F1"
                )
                for name, meaning in meanings.items()
            },
            family="localisation",
            needs=(Need.TRUTH,),
        )

    def compare(self, truth: Truth, relevance: Tensor) -> dict[str, Tensor]:
        marked = (truth.evidence & truth.inside).sum(1).double()
        taken = (truth.inside.sum(1) * self.share).round().long().clamp(min=1)
        both = largest_inside(truth, relevance, taken)
        return {
            "rationale_f1": 2 * both / (taken + marked),
            "rationale_precision": both / taken,
            "rationale_recall": both / torch.where(marked > 0, marked, 1),
            "rationale_iou": both / (taken + marked - both),
        }
