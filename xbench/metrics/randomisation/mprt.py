"""Model parameter randomisation test: does the map change with the weights?"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.evidence import Change, Explained
from xbench.metrics.maps import Maps
from xbench.metrics.randomisation.similarity import SimilarityUnderChange


@dataclass(frozen=True)
class RandomWeights(SimilarityUnderChange):
    """Weights randomised in a cascade: in the last module, in the last two, and so on to all modules.

    `cascades` evenly spaced stages are used. A tensor's new values are drawn from the normal distribution with its own
    mean and standard deviation, so constant tensors stay unchanged.
    """

    cascades: int

    def changes(self, case: Case, explained: Explained) -> Iterator[Change]:
        model = copy.deepcopy(explained.model)
        layers = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]
        generator = torch.Generator().manual_seed(case.draws.seed)
        count = min(self.cascades, len(layers))
        stops = {len(layers) * (i + 1) // count for i in range(count)}
        for done, layer in enumerate(reversed(layers), start=1):
            _redraw(layer, generator)
            if done in stops:
                yield Change(model=model)


@dataclass(frozen=True)
class MPRT(Metric):
    """Spearman's correlation between the map and the maps of the model with randomised weights, from the top down.

    The score is the mean over cascades; `mprt_full` randomises all modules. A map that explains the model changes with
    its weights; 1 means that the map depends on the input only. Modules are ordered as the model defines them.
    Source: Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, "Sanity Checks for Saliency Maps" (arXiv 1810.03292),
    the cascading randomisation with rank correlation of signed values.

    Args:
        cascades: number of evenly spaced stages at which samples are explained again; the last one randomises the whole
            model.
    """

    cascades: int = 4

    def __post_init__(self) -> None:
        if self.cascades < 1:
            raise ValueError(f"cascades: expected at least 1, got {self.cascades}")

    @property
    def facts(self) -> MetricFacts:
        main = Column(
            "lower", label="MPRT", low=-1, high=1,
            meaning="Mean rank correlation of the map with those of the model whose weights are drawn anew, from the "
            "last layer on: 1 says that the map does not depend on the model.",
        )  # fmt: skip
        full = Column(
            "lower", label="MPRT, all weights", low=-1, high=1, detail=True,
            meaning="The same with all weights drawn anew.",
        )  # fmt: skip
        return MetricFacts(
            "MPRT",
            "Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, Sanity Checks for Saliency Maps, arXiv 1810.03292",
            {"mprt": main, "mprt_full": full},
            "randomisation",
            (Need.MODULE,),
            anywhere=True,
        )

    @property
    def evidence(self) -> tuple[RandomWeights]:
        return (RandomWeights(self.cascades),)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        alike = found[0].double()
        return {"mprt": alike.mean(1), "mprt_full": alike[:, -1]}


@torch.no_grad()
def _redraw(layer: nn.Module, generator: torch.Generator) -> None:
    for weight in layer.parameters(recurse=False):
        values = weight.detach().double()
        std = values.std(correction=0)
        drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(values.device)
        weight.copy_(values.mean() + std * drawn)
