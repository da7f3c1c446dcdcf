"""The central idea: an attribution algorithm is a plan of model evaluations.

A plan names the points to evaluate, what to read at each and how to reduce the answers. It never touches the
model; the engine decides how many rows to send at once, to which device, and what to do when memory runs out.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.question import Explain
from xbench.core.sites import Place, Site


class Want(enum.Flag):
    """What to read at a point, besides the value of the readout.

    THROUGH: with a neuron chosen, the value is still the output's, and the gradient is the part of the output's
    gradient that passes through that neuron: df/dy_k * dy_k/dx.
    """

    VALUE = 0
    GRADIENT = enum.auto()
    ACTIVATION = enum.auto()
    THROUGH = enum.auto()


@dataclass(frozen=True)
class Answer:
    """The model's answer at one point, for all n samples.

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
        """The same numbers without their autograd graph."""
        gradient = None if self.gradient is None else self.gradient.detach()
        return Answer(self.value.detach(), gradient, None if self.activation is None else self.activation.detach())

    def copied(self) -> Answer:
        """The same numbers in newly allocated memory."""
        copies = (None if t is None else t.clone() for t in (self.gradient, self.activation))
        return Answer(self.value.clone(), *copies)

    def of_all(self, n: int) -> Answer:
        """The answer of one row as that of n samples, without copies."""
        wide = (None if t is None else t.expand(n, -1) for t in (self.gradient, self.activation))
        return Answer(self.value.expand(n), *wide)

    @property
    def slope(self) -> Tensor:
        """The gradient; the plan must have asked for it."""
        assert self.gradient is not None, "the plan did not want gradients"
        return self.gradient

    @property
    def level(self) -> Tensor:
        """The activation; the plan must have asked for it."""
        assert self.activation is not None, "the plan did not want activations"
        return self.activation


def values(answers: Iterator[Answer]) -> Tensor:
    """A reduction: the explained scalars at all points, (n, points)."""
    return torch.stack([answer.value for answer in answers], dim=1)


class Rule(Protocol):
    """A backward rule: how gradients pass through the model's operations while `apply()` is entered.

    A rule that treats two consecutive affine steps like their product sets `merges_affine = True`; batch-norms are then
    folded into convolutions. (LRP does not: the relevance of a step depends on where the step ends.)
    """

    @property
    def key(self) -> str:
        """Tells rules apart: the same text for rules that change gradients in the same way, in every process."""

    def apply(self) -> AbstractContextManager[object]: ...


@runtime_checkable
class GroupRule(Rule, Protocol):
    """A backward rule that compares the rows of a group with the one at its last point."""

    def beside(self, others: int) -> Rule:
        """The same rule for a batch of (others, k) rows and, behind them, k that each are the last of so many."""


def beside(rule: Rule, others: int) -> Rule:
    """The rule for a batch in which the last row of a group stands for so many; see `GroupRule`."""
    return rule.beside(others) if isinstance(rule, GroupRule) else rule


@dataclass(frozen=True)
class Stack:
    """Consecutive points that are made together, as many at a time as are sent through the model.

    Attributes:
        count: how many there are.
        make: (first, end) -> those from `first` to before `end`, (end - first, n, d).
    """

    count: int
    make: Callable[[int, int], Tensor]

    @classmethod
    def of(cls, points: Tensor | Stack) -> Stack:
        """Points that exist, (k, n, d)."""
        return points if isinstance(points, Stack) else cls(len(points), lambda first, end: points[first:end])


@dataclass(frozen=True)
class Plan:
    """Points to evaluate, in order, and the reduction of the answers.

    If only values are read, a sample's points that equal its first point are not evaluated again: removing a feature
    that a sample lacks, or that is already at its baseline, changes nothing.

    Attributes:
        points: lazily computed, each (n, d) at the injection site; or stacks of consecutive points, (k, n, d), or a
            `Stack`, which computes as many as are sent. (1, d) is a point that is the same for all samples.
        n_points: number of points.
        want: what to read at every point.
        reduce: consumes one `Answer` per point, in order, keeping running sums; returns (n, d) or (n, k).
        rule: the backward rule; None for plain gradients.
        group: number of consecutive points that must pass the model together (DeepLIFT: input and reference).
        common: whether the last point of every group, (1, d), is the same for all samples. If a row's pass depends on
            its point alone, that point passes the model once per group, with the rule's form `beside` it.
        period: every `period`-th point starts a new round whose repeats may be skipped; None: one round.
        read: where gradients and activations are read; None: the case's own place.
        second: a place where a second part of each point enters; points are then (n, d + the width there).
        samples: (m,) positions of the samples that the points, (m, d), belong to; None: all n samples.
    """

    points: Iterable[Tensor | Stack]
    n_points: int
    want: Want
    reduce: Callable[[Iterator[Answer]], Tensor]
    rule: Rule | None = None
    group: int = 1
    read: Place | None = None
    second: Site | None = None
    samples: Tensor | None = None
    common: bool = False
    period: int | None = None


@dataclass(frozen=True)
class Noted:
    """A map and diagnostics, (n,) each, that an adaptive algorithm reports: steps used, error reached."""

    map: Tensor
    notes: dict[str, Tensor]


@dataclass(frozen=True)
class Several:
    """Adaptive plans, run one after the other; `reduce` consumes their maps in order."""

    plans: Iterable[Plans]
    reduce: Callable[[Iterator[Tensor]], Tensor]


@dataclass(frozen=True)
class ExternalCall:
    """A call of external code, which evaluates the model itself instead of giving a plan.

    Attributes:
        label: the algorithm's name in messages.
        case: the samples.
        x: (n, d) points to explain.
        explain: computes the maps.
    """

    label: str
    case: Case
    x: Tensor
    explain: Explain


# An adaptive algorithm yields plans, receives the result of each, and returns the map.
Steps = Generator[Plan | Several | ExternalCall, Tensor, Tensor | Noted]
Plans = Plan | Several | ExternalCall | Steps


def sequence(plans: Iterable[Plans], count: int, reduce: Callable[[Iterator[Tensor]], Tensor]) -> Plan | Several:
    """Join `count` plans of one algorithm into one; `reduce` consumes their results in order.

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

    def points() -> Iterator[Tensor | Stack]:
        for plan in alike():
            started.append(plan)
            yield from plan.points

    def results(answers: Iterator[Answer]) -> Iterator[Tensor]:
        if first.n_points == 0:  # nothing to evaluate (the control maps)
            for plan in alike():
                yield plan.reduce(iter(()))
            return
        for _ in range(count):
            head = next(answers)  # a plan starts when its first point is evaluated
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
