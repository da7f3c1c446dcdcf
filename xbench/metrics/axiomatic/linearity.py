"""Linearity: is the map of a sum of two outputs the sum of their maps?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.evidence import Change, Changed, Explained
from xbench.metrics.maps import Maps


@dataclass(frozen=True)
class SumOfOutputs(Changed):
    """|M(f + g) - M(f) - M(g)| and |M(f)| + |M(g)|, (n, 2), Euclidean norms of the maps M.

    f is the explained output and g the next one. What is explained as their sum is the sum of the two numbers as they
    are read, be it logits or probabilities.
    """

    def changes(self, case: Case, explained: Explained) -> Iterator[Change]:
        assert explained.target is not None, "the metric needs a choice among outputs"
        other = following(explained.target, explained.outputs)
        yield Change(target=other)
        yield Change(target=torch.stack([explained.target, other], dim=1))

    def reduce(self, case: Case, maps: Maps, others: Iterator[Tensor]) -> Tensor:
        one, other, both = maps.values.double(), next(others).double(), next(others).double()
        return torch.stack([(both - one - other).norm(dim=1), one.norm(dim=1) + other.norm(dim=1)], dim=1)


def following(target: Tensor, outputs: Sequence[int]) -> Tensor:
    """The output behind each, (n, k), in the order of their indices; behind the last comes the first."""
    moved, carry = [], torch.ones_like(target[:, 0])
    for index, size in zip(reversed(target.unbind(1)), reversed(outputs), strict=True):
        moved.append((index + carry) % size)
        carry = (index + carry) // size
    return torch.stack(moved[::-1], dim=1)


@dataclass(frozen=True)
class Linearity(Metric):
    """|M(f + g) - M(f) - M(g)| / (|M(f)| + |M(g)|), the explained output f and the next one g.

    0 for a linear method; 1/2 for a map that does not depend on the output. NaN where both maps are zero.
    Pitfall: two outputs of one model stand for the two functions of the axiom, so a method that is linear here need
    not be so elsewhere.
    Source: the linearity axiom of Sundararajan, Taly, Yan 2017, "Axiomatic Attribution for Deep Networks"
    (arXiv 1703.01365).
    """

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Linearity error", short="Linearity", low=0,
            meaning="How far the map of the sum of two outputs is from the sum of their maps, relative to those: 0.5 "
            "for a map that does not depend on the output.",
        )  # fmt: skip
        source = "Sundararajan, Taly, Yan 2017, Axiomatic Attribution for Deep Networks, arXiv 1703.01365"
        return MetricFacts("Linearity error", source, {"linearity": column}, "axiomatic", (Need.OUTPUTS,), True)

    @property
    def evidence(self) -> tuple[SumOfOutputs]:
        return (SumOfOutputs(),)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        error, size = found[0].double().unbind(1)
        return {"linearity": torch.where(size != 0, error / torch.where(size != 0, size, 1), torch.nan)}
