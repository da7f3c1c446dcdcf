"""The one idea: an attribution algorithm is a plan of model evaluations.

A plan names the points to evaluate, what to read there and how to reduce the answers. It never touches the
model; the engine decides how many rows go through it at once, on which device, and what to do when memory ends.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Protocol

import torch
from torch import Tensor

from xbench.core.sites import Place, Site


class Want(enum.Flag):
    """What to read at a point; the value of the readout always comes along.

    THROUGH: the value is the output's although a neuron was chosen, and the gradient is the share of the output's
    that passes through that neuron: df/dy_k * dy_k/dx.
    """

    VALUE = 0
    GRADIENT = enum.auto()
    ACTIVATION = enum.auto()
    THROUGH = enum.auto()


@dataclass(frozen=True)
class Answer:
    """What the model said at one point, for all n samples.

    `value`: (n,) the explained scalar. `gradient`, `activation`: (n, d) at the read site, None unless wanted.
    """

    value: Tensor
    gradient: Tensor | None = None
    activation: Tensor | None = None

    def part(self, rows: slice | Tensor) -> Answer:
        """The answer for these rows."""
        return Answer(
            self.value[rows],
            None if self.gradient is None else self.gradient[rows],
            None if self.activation is None else self.activation[rows],
        )

    def detached(self) -> Answer:
        """The numbers alone, without the graph that made them."""
        gradient = None if self.gradient is None else self.gradient.detach()
        return Answer(self.value.detach(), gradient, None if self.activation is None else self.activation.detach())

    def copied(self) -> Answer:
        """The same numbers in memory of their own."""
        copies = (None if t is None else t.clone() for t in (self.gradient, self.activation))
        return Answer(self.value.clone(), *copies)

    @property
    def slope(self) -> Tensor:
        """The gradient, which the plan asked for."""
        assert self.gradient is not None, "the plan did not want gradients"
        return self.gradient

    @property
    def level(self) -> Tensor:
        """The activation, which the plan asked for."""
        assert self.activation is not None, "the plan did not want activations"
        return self.activation


def values(answers: Iterator[Answer]) -> Tensor:
    """The explained scalars at all points, (n, points): a reduction."""
    return torch.stack([answer.value for answer in answers], dim=1)


class Rule(Protocol):
    """A backward rule: how gradients pass through the model's operations while `apply()` is entered.

    A rule for which two affine steps in a row are the same as one step, their product, says so by an attribute
    `merges_affine = True`: then batch-norms are folded into convolutions. (LRP's relevance of a step depends on where
    the step ends.)
    """

    def apply(self) -> AbstractContextManager[object]: ...


@dataclass(frozen=True)
class Plan:
    """Points to evaluate, in order, and the reduction of the answers.

    Where values alone are read, points that equal the first are not evaluated again, sample by sample: a feature that a
    sample lacks, or that is at its baseline, changes nothing.

    Attributes:
        points: lazily made, each (n, d) at the injection site.
        n_points: how many there are.
        want: what to read at every point.
        reduce: consumes one `Answer` per point, in order, keeping running sums; returns (n, d) or (n, k).
        rule: the backward rule, None for plain gradients.
        group: so many consecutive points must pass the model together (DeepLIFT: input and reference).
        shared: where the second point of every group of two is the same for all samples, and what it answers is not
            read: makes the rule for a batch of so many first points (or several times as many, of several groups),
            and one second point for them all (one of each group) behind. Where nothing but its point tells how a row
            passes the model, the second points then pass it once.
        period: every `period`-th point starts a new round whose repeats may be skipped; None: one round.
        read: where gradients and activations are read, instead of the case's own place.
        second: a place where a second part of each point enters: points are (n, d + the width there).
        samples: (m,) positions of the samples that the points, (m, d), belong to; None: all n of them.
    """

    points: Iterable[Tensor]
    n_points: int
    want: Want
    reduce: Callable[[Iterator[Answer]], Tensor]
    rule: Rule | None = None
    group: int = 1
    read: Place | None = None
    second: Site | None = None
    samples: Tensor | None = None
    shared: Callable[[int], Rule] | None = None
    period: int | None = None


@dataclass(frozen=True)
class Noted:
    """A map with numbers beside it, (n,) each, that an adaptive algorithm reports: steps used, an error reached."""

    map: Tensor
    notes: dict[str, Tensor]


@dataclass(frozen=True)
class Several:
    """Adaptive plans, one after the other; `reduce` consumes their maps in order."""

    plans: Iterable[Plans]
    reduce: Callable[[Iterator[Tensor]], Tensor]


# An adaptive algorithm: each plan it yields is answered with its result, and the map is returned.
Steps = Generator[Plan | Several, Tensor, Tensor | Noted]
Plans = Plan | Several | Steps


def sequence(plans: Iterable[Plans], count: int, reduce: Callable[[Iterator[Tensor]], Tensor]) -> Plan | Several:
    """`count` plans of one algorithm, one after the other, as one; `reduce` consumes their results in order.

    The engine may put points of neighbouring plans in one chunk, unless they are adaptive. Each inner plan lives
    only while it runs.
    """
    upcoming = iter(plans)
    first = next(upcoming)
    if not isinstance(first, Plan):
        return Several(chain([first], upcoming), reduce)
    started: deque[Plan] = deque()

    def alike() -> Iterator[Plan]:
        for plan in chain([first], upcoming):
            assert isinstance(plan, Plan), "an algorithm made plans of different kinds"
            yield plan

    def points() -> Iterator[Tensor]:
        for plan in alike():
            started.append(plan)
            yield from plan.points

    def results(answers: Iterator[Answer]) -> Iterator[Tensor]:
        if first.n_points == 0:  # nothing to evaluate (the control maps)
            for plan in alike():
                yield plan.reduce(iter(()))
            return
        for _ in range(count):
            head = next(answers)  # evaluating its first point is what starts a plan
            plan = started.popleft()
            own = chain([head], islice(answers, plan.n_points - 1))
            yield plan.reduce(own)
            deque(own, maxlen=0)  # a reduction may stop early; the next plan's answers start after ours

    return replace(
        first,
        points=points(),
        n_points=count * first.n_points,
        reduce=lambda answers: reduce(results(answers)),
        period=first.period or first.n_points,
    )
