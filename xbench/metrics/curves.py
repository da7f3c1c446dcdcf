"""Curves: the output while features are removed in the order of the map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.masking import require_features
from xbench.core.plan import Answer, Plan, Want
from xbench.core.sites import Site
from xbench.core.superpixels import superpixels
from xbench.metrics.evidence import Ranked
from xbench.metrics.imputers.base import BASELINE, Imputer
from xbench.metrics.maps import Maps
from xbench.metrics.postprocess import SIGNED, Postprocess

ORDERS = ("morf", "lerf")
EVEN = ("features", "elements")
Regions = int | Literal["superpixels"] | None


@dataclass(frozen=True)
class RemovalCurve(Ranked):
    """f at steps + 1 points, (n, steps + 1): none of the features removed, up to all of them.

    Equal relevance is taken in a random order that is the same for every algorithm, so a constant map removes features
    at random.

    Args:
        steps: how often features are removed; more than there are features add nothing.
        order: "morf", the most relevant first, or "lerf", the least relevant first.
        imputer: what stands in place of a removed feature.
        even: the steps remove equal numbers of "features", or of "elements" as far as features allow.
        postprocess: how a feature's relevance comes from its elements.
        regions: what is removed: None, the case's features; a number, squares of that side; "superpixels".
    """

    steps: int
    order: str = "morf"
    imputer: Imputer = BASELINE
    even: str = "features"
    postprocess: Postprocess = SIGNED
    regions: Regions = None

    def plan(self, case: Case, x: Tensor, maps: Maps) -> Plan:
        points, moved = self._points(case, x, maps)

        def curve(answers: Iterator[Answer]) -> Tensor:
            return _held([answer.value for answer in answers], moved)

        return Plan(points, self.steps + 1, Want.VALUE, curve)

    def _points(self, case: Case, x: Tensor, maps: Maps) -> tuple[Iterator[Tensor], Tensor]:
        """The points, and at which of the steps 1, 2, ... anything was removed, (n, steps) bool."""
        case = regions(case, x, self.regions)
        without = removal(case, x, self.imputer)
        removed = self._removed(case, x, maps)
        count = torch.stack([removed(step).sum(1) for step in range(self.steps + 1)], dim=1)
        return (without(removed(step)) for step in range(self.steps + 1)), count.diff(dim=1) > 0

    def _removed(self, case: Case, x: Tensor, maps: Maps) -> Callable[[int], Tensor]:
        """Which features are removed at a step, (n, K) bool."""
        phi, own = self.postprocess.relevance(case, maps)
        rank = ranks(case, phi if self.order == "morf" else -phi, own)
        count = own.sum(1, keepdim=True)
        if self.even == "features":
            return lambda step: (rank < (count * step / self.steps).round()) & own
        size = _sizes(case, x, phi.shape[1])
        order = rank.argsort(dim=1)
        # A feature goes at the step at which half of it would be gone, were elements removed one by one.
        ordered = size.gather(1, order)
        centre = (ordered.cumsum(1) - ordered / 2).gather(1, rank)
        whole = size.sum(1, keepdim=True)
        return lambda step: (centre <= whole * step / self.steps) & own


@dataclass(frozen=True)
class PredictionCurve(RemovalCurve):
    """What becomes of the class predicted for the sample while features are removed, (n, 2 * (steps + 1)).

    The first half is whether it is still predicted, 0 or 1, the second half the logarithm of its odds under softmax.
    """

    def plan(self, case: Case, x: Tensor, maps: Maps) -> Plan:
        points, moved = self._points(case, x, maps)

        def reduce(answers: Iterator[Answer]) -> Tensor:
            kept, odds = [], []
            predicted: Tensor | None = None
            for answer in answers:
                logits = answer.level.double()
                predicted = logits.argmax(1, keepdim=True) if predicted is None else predicted
                kept.append((logits.argmax(1, keepdim=True) == predicted)[:, 0].double())
                others = logits.scatter(1, predicted, -torch.inf).logsumexp(1, keepdim=True)
                odds.append((logits.gather(1, predicted) - others)[:, 0])  # log p - log (1 - p)
            return torch.cat([_held(kept, moved), _held(odds, moved)], dim=1)

        return Plan(points, self.steps + 1, Want.ACTIVATION, reduce, read=Site(""))


def _held(found: list[Tensor], moved: Tensor) -> Tensor:
    """(n, steps + 1); a step that removed nothing keeps the value before: the same point differs only by rounding."""
    held = [found[0]]
    for step, value in enumerate(found[1:]):
        held.append(torch.where(moved[:, step], value, held[-1]))
    return torch.stack(held, dim=1)


def ranks(case: Case, phi: Tensor, own: Tensor) -> Tensor:
    """The place of each feature in the order in which relevance falls, (n, K) from 0; those not owned come last.

    Equal relevance is ordered by random numbers of the sample, the same for every algorithm. Relevance that agrees in
    its first 20 binary digits is equal: more would be an order of rounding errors, which batches decide.
    """
    mantissa, exponent = torch.frexp(phi.nan_to_num())
    phi = torch.ldexp((mantissa * 2**20).round(), exponent).masked_fill(~own, -torch.inf)
    tie = case.draws.uniform("ties", 0, phi).argsort(dim=1)
    order = tie.gather(1, phi.gather(1, tie).argsort(dim=1, descending=True, stable=True))
    return order.argsort(dim=1)


def removal(case: Case, x: Tensor, imputer: Imputer) -> Callable[[Tensor], Tensor]:
    """Maps the removed features, (n, K) bool, to the samples without them, (n, d)."""
    require_features(case)
    fill = imputer.fill(case, x)
    feature, outside = case.membership
    feature = feature.expand(len(x), -1)

    def without(removed: Tensor) -> Tensor:
        elements = removed.gather(1, feature)
        return fill(elements if outside is None else elements & ~outside)

    return without


def regions(case: Case, x: Tensor, kind: Regions) -> Case:
    """The case with other features: squares of a side, all channels, or superpixels; with None as it is."""
    if kind is None:
        return case
    shape = case.layout.shapes[0]
    height, width = shape[-2:]
    if kind == "superpixels":
        ids = superpixels(x.reshape(-1, *shape), "metric=irof").flatten(1)
    else:
        rows, columns = torch.arange(height) // kind, torch.arange(width) // kind
        squares = rows[:, None] * (-(-width // kind)) + columns
        ids = squares.expand(*shape[:-2], height, width).reshape(1, -1)
    return replace(case, features=ids.to(case.features.device))


def _sizes(case: Case, x: Tensor, count: int) -> Tensor:
    """Elements of each feature, (n, K)."""
    ids = case.features.clamp(min=0).expand(len(x), -1)
    member = (case.features >= 0).double().expand_as(ids)
    return member.new_zeros(len(x), count).scatter_add_(1, ids, member)


def undefined_where_nan(maps: Maps, scores: Tensor) -> Tensor:
    """NaN for the maps with NaN, which have no order."""
    return scores.masked_fill(maps.density.isnan().any(1), torch.nan)
