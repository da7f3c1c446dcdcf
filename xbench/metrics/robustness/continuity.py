"""Continuity: how fast the map changes while the picture moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need, NotApplicable
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.evidence import Again
from xbench.metrics.maps import Maps
from xbench.metrics.robustness.reexplained import counted
from xbench.metrics.robustness.relative_stability import worst


@dataclass(frozen=True)
class Translated(Again):
    """||phi(x') - phi(x)||_1 and ||x' - x||_2 for x moved by 1 to `pixels` columns to both sides, (n, 4 * pixels).

    Columns that come in repeat the edge.
    """

    pixels: int

    def versions(self, case: Case, x: Tensor, maps: Maps) -> tuple[int, Iterator[tuple[Case, Tensor]]]:
        steps = [step for far in range(1, self.pixels + 1) for step in (-far, far)]
        moved = ((case.redrawn(f"moved{step}"), _moved(case, x, step)) for step in steps)
        return len(steps), moved

    def reduce(self, case: Case, x: Tensor, maps: Maps, again: Iterator[tuple[Tensor, Maps]]) -> Tensor:
        base = counted(case, maps.values)
        found = []
        for version, other in again:
            change = (counted(case, other.values) - base).abs().sum(1)
            found.append(torch.stack([change, (version.double() - x.double()).norm(dim=1)], dim=1))
        return torch.stack(found, dim=2).flatten(1)


@dataclass(frozen=True)
class Continuity(Metric):
    """max over translations x' of ||phi(x') - phi(x)||_1 / ||x' - x||_2, pictures moved along their width.

    Elsewhere than in pictures a translation is no small change (a word later is another sentence), and the metric is
    skipped; `LocalLipschitz` asks the same of small changes of any data. NaN where moving changes nothing.
    Pitfall: it has the scale of the map; a method is compared with itself, or after normalising its maps.
    Source: Montavon, Samek, Müller 2018, "Methods for Interpreting and Understanding Deep Neural Networks"
    (arXiv 1706.07979), section 7.1.

    Args:
        pixels: the largest translation; each costs two explanations.
    """

    pixels: int = 3

    def __post_init__(self) -> None:
        if self.pixels < 1:
            raise ValueError(f"pixels: expected at least 1, got {self.pixels}")

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Continuity", low=0,
            meaning="Largest change of the map per change of the picture while it moves by a few pixels; it has the "
            "map's scale.",
        )  # fmt: skip
        source = (
            "Montavon, Samek, Müller 2018, Methods for Interpreting and Understanding Deep Neural Networks, "
            "arXiv 1706.07979"
        )
        needs = (Need.NUMBERS, Need.IMAGES)
        return MetricFacts("Continuity", source, {"continuity": column}, "robustness", needs, anywhere=True)

    @property
    def evidence(self) -> tuple[Translated]:
        return (Translated(self.pixels),)

    def describe(self, case: Case) -> str:
        return f"moved sideways by up to {self.pixels} pixels"

    def check(self, case: Case) -> None:
        width = min((shape[-1] for shape in case.layout.shapes if shape), default=0)
        if width <= self.pixels:
            raise NotApplicable(f"needs pictures wider than {self.pixels} pixels (pixels): they have {width}")

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        change, moved = found[0].double().unflatten(1, (2, -1)).unbind(1)
        return {"continuity": worst(change, moved)}


def _moved(case: Case, x: Tensor, step: int) -> Tensor:
    """The pictures `step` columns to the right, (n, d)."""
    parts = []
    for picture in case.layout.unflatten(x, cast=False):
        columns = torch.arange(picture.shape[-1], device=x.device) - step
        parts.append(picture[..., columns.clamp(0, picture.shape[-1] - 1)].flatten(1))
    return torch.cat(parts, dim=1)
