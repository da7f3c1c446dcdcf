"""The one idea: an attribution algorithm is a plan of model evaluations.

A plan names the points to evaluate, what to read there and how to reduce the answers. It never touches the
model; the engine decides how many rows go through it at once, on which device, and what to do when memory ends.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

from torch import Tensor


class Want(enum.Flag):
    """What to read at a point; the value of the readout always comes along."""

    VALUE = 0
    GRADIENT = enum.auto()
    ACTIVATION = enum.auto()


@dataclass(frozen=True)
class Answer:
    """What the model said at one point, for all n samples.

    `value`: (n,) the explained scalar. `gradient`, `activation`: (n, d) at the read site, None unless wanted.
    """

    value: Tensor
    gradient: Tensor | None = None
    activation: Tensor | None = None

    def part(self, rows: slice) -> Answer:
        """The answer for these rows."""
        return Answer(
            self.value[rows],
            None if self.gradient is None else self.gradient[rows],
            None if self.activation is None else self.activation[rows],
        )

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


class Rule(Protocol):
    """A backward rule: how gradients pass through the model's operations while `apply()` is entered."""

    def apply(self) -> AbstractContextManager[object]: ...


@dataclass(frozen=True)
class Plan:
    """Points to evaluate, in order, and the reduction of the answers.

    Attributes:
        points: lazily made, each (n, d) at the injection site.
        n_points: how many there are.
        want: what to read at every point.
        reduce: consumes one `Answer` per point, in order, keeping running sums; returns (n, d) or (n, k).
        rule: the backward rule, None for plain gradients.
        group: so many consecutive points must pass the model together (DeepLIFT: input and reference).
    """

    points: Iterable[Tensor]
    n_points: int
    want: Want
    reduce: Callable[[Iterator[Answer]], Tensor]
    rule: Rule | None = None
    group: int = 1


def sequence(plans: Iterable[Plan], count: int, reduce: Callable[[Iterator[Tensor]], Tensor]) -> Plan:
    """`count` plans of one kind, one after the other, as one plan; `reduce` consumes their results in order.

    The engine may put points of neighbouring plans in one chunk. Each inner plan lives only while it runs.
    """
    upcoming = iter(plans)
    first = next(upcoming)
    started: deque[Plan] = deque()

    def points() -> Iterator[Tensor]:
        for plan in chain([first], upcoming):
            started.append(plan)
            yield from plan.points

    def results(answers: Iterator[Answer]) -> Iterator[Tensor]:
        if first.n_points == 0:  # nothing to evaluate (the control maps)
            for plan in chain([first], upcoming):
                yield plan.reduce(iter(()))
            return
        for _ in range(count):
            head = next(answers)  # evaluating its first point is what starts a plan
            plan = started.popleft()
            own = chain([head], islice(answers, plan.n_points - 1))
            yield plan.reduce(own)
            deque(own, maxlen=0)  # a reduction may stop early; the next plan's answers start after ours

    return Plan(
        points=points(),
        n_points=count * first.n_points,
        want=first.want,
        reduce=lambda answers: reduce(results(answers)),
        rule=first.rule,
        group=first.group,
    )
