"""PGI and PGU: how far does the output move when the important, or the unimportant, features are perturbed?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.masking import require_features
from xbench.core.needs import Need
from xbench.core.plan import Answer, Plan, Want
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.curves import ranks, undefined_where_nan
from xbench.metrics.evidence import Ranked
from xbench.metrics.maps import Maps
from xbench.metrics.postprocess import Postprocess


@dataclass(frozen=True)
class NoisyFeatures(Ranked):
    """|f(x) - f(x + noise)|, (n, 2 * draws): noise on the most relevant share of the features, then on the others."""

    n_perturb_samples: int
    share: float
    stdev: float
    postprocess: Postprocess

    def plan(self, case: Case, x: Tensor, maps: Maps) -> Plan:
        phi, own = self.postprocess.relevance(case, maps)
        most = ranks(case, phi, own) < (self.share * own.sum(1, keepdim=True)).ceil()
        feature, outside = case.membership
        important = most.gather(1, feature.expand(len(x), -1))
        rest = ~important if outside is None else ~important & ~outside
        important = important if outside is None else important & ~outside
        scale = self.stdev * case.ranges(x)

        def points() -> Iterator[Tensor]:
            yield x
            for chosen in (important, rest):
                for index in range(self.n_perturb_samples):
                    yield torch.where(chosen, x + scale * case.draws.normal("gap", index, x), x)

        def gaps(answers: Iterator[Answer]) -> Tensor:
            full = next(answers).value.double()
            return torch.stack([(full - answer.value.double()).abs() for answer in answers], dim=1)

        return Plan(points(), 1 + 2 * self.n_perturb_samples, Want.VALUE, gaps)


@dataclass(frozen=True)
class PredictionGap(Metric):
    """PGI and PGU: E |f(x) - f(x')|, x' with noise on the most important features, or on the unimportant ones.

    Give `output=probability` for the papers' numbers. The noise is normal, its deviation a share of the range of the
    sample's values; each draw is the same for every algorithm.
    Pitfall: where the model is flat around a sample both gaps are 0, whatever the map.
    Source: Agarwal et al. 2022, "OpenXAI" (arXiv 2206.11104); Petsiuk et al. 2018 for the idea.

    Args:
        share: of the features that are important (OpenXAI: 25 %), at least one.
        n_perturb_samples: draws of noise.
        stdev: of the noise, as a share of the sample's range max - min.
        sign: of the relevance: OpenXAI takes its size.
        channels: how the elements of a feature become one number.
    """

    share: float = 0.25
    n_perturb_samples: int = 20
    stdev: float = 0.1
    sign: str = "absolute"
    channels: str = "sum"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share: expected a number in (0, 1], got {self.share}")
        if self.n_perturb_samples < 1:
            raise ValueError(f"n_perturb_samples: expected at least 1, got {self.n_perturb_samples}")
        if not self.stdev > 0:
            raise ValueError(f"stdev: expected a positive number, got {self.stdev}")
        Postprocess(self.sign, self.channels)

    @property
    def facts(self) -> MetricFacts:
        columns = {
            "pgi": Column(
                "higher", label="PGI", low=0,
                meaning="Prediction gap on important features: how far the output moves under noise on the most "
                "relevant features.",
            ),
            "pgu": Column(
                "lower", label="PGU", low=0,
                meaning="Prediction gap on unimportant features: how far the output moves under noise on the others.",
            ),
        }  # fmt: skip
        source = "Agarwal et al. 2022, OpenXAI: Towards a Transparent Evaluation of Explanations, arXiv 2206.11104"
        return MetricFacts("Prediction gap", source, columns, "faithfulness", needs=(Need.NUMBERS,))

    @property
    def evidence(self) -> tuple[NoisyFeatures]:
        process = Postprocess(self.sign, self.channels)
        return (NoisyFeatures(self.n_perturb_samples, self.share, self.stdev, process),)

    def describe(self, case: Case) -> str:
        return f"noise of {self.stdev:g} of the range on {100 * self.share:g}% of the {case.called}, or on the others"

    def check(self, case: Case) -> None:
        require_features(case)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        important, rest = found[0].double().chunk(2, dim=1)
        return {"pgi": undefined_where_nan(maps, important.mean(1)), "pgu": undefined_where_nan(maps, rest.mean(1))}
