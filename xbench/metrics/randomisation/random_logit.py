"""Random logit: does the map change when another output is explained?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.evidence import Change, Explained
from xbench.metrics.maps import Maps
from xbench.metrics.randomisation.similarity import SimilarityUnderChange


@dataclass(frozen=True)
class OtherTarget(SimilarityUnderChange):
    """Another output of the same sample, drawn at random."""

    def changes(self, case: Case, explained: Explained) -> Iterator[Change]:
        assert explained.target is not None, "the metric needs a choice among outputs"
        drawn = case.draws.uniform("other target", 0, torch.empty(len(case), 1, dtype=torch.float64))
        sizes = torch.tensor(explained.outputs)
        strides = torch.cat([sizes.flip(0).cumprod(0).flip(0)[1:], torch.ones(1, dtype=torch.int64)])
        count = int(sizes.prod())
        flat = (explained.target * strides).sum(1, keepdim=True)
        other = (flat + 1 + (drawn.cpu() * (count - 1)).long()) % count
        yield Change(target=other // strides % sizes)


@dataclass(frozen=True)
class RandomLogit(Metric):
    """Spearman's correlation between the map and the map of another output of the same sample, drawn at random.

    A map that explains its output differs between outputs; 1 means that it does not.
    Pitfall: lower is better only if the outputs use different features: for two classes with mirrored logits the
    correct map is the negative, which scores -1.
    Source: Sixt, Granz, Landgraf 2020, "When Explanations Lie: Why Many Modified BP Attributions Fail"
    (arXiv 1912.09818).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Random logit", low=-1, high=1,
            meaning="Rank correlation of the map with that of another, random output: 1 says that the map does not "
            "depend on what is explained.",
        )  # fmt: skip
        source = "Sixt, Granz, Landgraf 2020, When Explanations Lie, arXiv 1912.09818"
        return MetricFacts(
            "Random logit", source, {"random_logit": column}, "randomisation", (Need.OUTPUTS,), anywhere=True
        )

    @property
    def evidence(self) -> tuple[OtherTarget]:
        return (OtherTarget(),)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        return {"random_logit": found[0].double()[:, 0]}
