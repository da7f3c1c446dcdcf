"""Tries rewrites of a model on stated samples: those that give the same numbers are used.

The points are the samples themselves, beside their baselines where a rule takes pairs. So the outcome follows from
the model, these samples and the kind of evaluation, and from nothing else: not from the method that asks first, the
rows it sends, or the clock.

Gradients of a network with ReLUs or max-pooling jump at kinks: where a unit's input is zero but for rounding, another
order of summation switches it, in some images of 224x224 for every model. Neither side is nearer to the truth. So
gradients may differ in a minority of elements, by little in all, where outputs agree everywhere; not so where
`exact` rewrites are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xbench.boundary.attempt import words
from xbench.core.case import Case
from xbench.core.layout import Layout
from xbench.core.plan import Answer, Plan, Want
from xbench.core.sites import Site
from xbench.engine.engine import Engine, MakePlan
from xbench.engine.memory import OutOfMemory
from xbench.engine.rewrites.choice import TRIED, USED, Decision, EvaluationKind, rewrites
from xbench.engine.speed import Speed
from xbench.engine.subject import Subject

_TOLERANCE = {torch.float64: 1e-9}  # of the largest value
_SINGLE = 1e-5  # float32 sums in another order stay below
_SWITCHED = 1e-2  # of the gradient's length: switched units stay below
_ROWS = 4  # at once
_LONG = 160  # characters of a note


def decide(
    speed: Speed,
    subject: Subject,
    kind: EvaluationKind,
    case: Case,
    x: Tensor,
    memory: int | str | None,
    rows: int | None,
) -> Decision:
    """How the trial of each rewrite on the first samples of a case ended; nothing of those that do not apply.

    Raises whatever the model as it is raises on them.
    """
    trial = _Trial(kind, case, x.detach(), memory, min(_ROWS, rows or _ROWS))
    # Numbers as exact as they come decide, not those rounded to three digits; a graph changes none.
    subject = replace(subject.at(kind.read, kind.second), autocast=False, create_graph=False)
    decision: dict[str, str] = {}
    expected: _Outcome | None = None
    samples = torch.arange(trial.count, device=subject.device)
    for name, make in rewrites(speed).items():
        try:
            made = list(make(subject, samples, kind.rule))
        except Exception as error:  # whatever a user's model raises when it is copied or watched
            decision[name] = f"dropped: {_said(error)}"
            continue
        if made:
            expected = trial.outcome(subject) if expected is None else expected
            decision[name] = _ended(trial, made, expected, exact=speed.rewrites == "exact")
            subject = made[0] if decision[name] == USED else subject
    return decision


def _ended(trial: _Trial, made: Sequence[Subject], expected: _Outcome, *, exact: bool) -> str:
    """How the trial of what a rewrite made ended."""
    try:
        apart = [_difference(trial.outcome(subject), expected, exact=exact) for subject in made]
    except Exception as error:  # whatever a user's model raises: the same rows passed without the rewrite
        return f"dropped: {_said(error)}"
    fits = all(difference <= _tolerance(expected) for difference in apart)  # NaN does not
    return USED if fits else f"dropped: results differ by {max(apart, key=_nan_last):.0e}"


def settled(speed: Speed, work: Callable[[], Decision]) -> Decision:
    """The decision that `work` makes; where there can be no trial none is used, and the decision says why."""
    try:
        return work()
    except (OutOfMemory, MemoryError):
        raise  # there may be more another time
    except Exception as error:  # a user's model or samples, of which others may be well
        return dict.fromkeys(rewrites(speed), f"not tried: {_said(error)}")


@dataclass(frozen=True)
class _Outcome:
    """The answers to the points of a trial: values (k, g), and what was read at the first point, (k, d) or None."""

    value: Tensor
    gradient: Tensor | None
    activation: Tensor | None


@dataclass(frozen=True)
class _Trial:
    """The evaluation that is repeated with every rewrite."""

    kind: EvaluationKind
    case: Case
    x: Tensor
    memory: int | str | None
    rows: int

    @property
    def count(self) -> int:
        return min(TRIED, len(self.x))

    def outcome(self, subject: Subject) -> _Outcome:
        kind, found = self.kind, list[tuple[Answer, ...]]()
        second = None if subject.second is None else self._level(subject, subject.second)

        def plan(case: Case, x: Tensor) -> Plan:
            here = torch.arange(case.span.start, case.span.stop, device=x.device)
            points = [x if second is None else torch.cat([x, second[here]], 1)]
            points += [case.baselines[here % len(case.baselines)].detach()] * (kind.group - 1)

            def reduce(answers: Iterator[Answer]) -> Tensor:
                found.append(tuple(answers))
                return x[:, :0]

            return Plan(points, len(points), kind.want, reduce, rule=kind.rule, group=kind.group)

        self._run(subject, plan)
        first, *_ = found[0]
        gradients = [answers[0].gradient for answers in found]
        activations = [answers[0].activation for answers in found]
        return _Outcome(
            torch.cat([torch.stack([answer.value for answer in answers], 1) for answers in found]),
            None if first.gradient is None else torch.cat([g for g in gradients if g is not None]),
            None if first.activation is None else torch.cat([a for a in activations if a is not None]),
        )

    def _level(self, subject: Subject, second: tuple[Site, Layout]) -> Tensor:
        """What the model computes at the second place for the samples, (k, d)."""
        plain = replace(subject, second=None, read=second[0], read_layout=second[1])
        return self._run(plain, lambda _case, x: Plan([x], 1, Want.ACTIVATION, lambda answers: next(answers).level))

    def _run(self, subject: Subject, plan: MakePlan) -> Tensor:
        # Of unequal length each passes alone, so that padding is left out of all that have some.
        engine = Engine(subject, memory=self.memory, rows=self.rows if subject.padded is None else 1)
        return engine.run(plan, self.case, self.x, share=slice(0, self.count))


def _tolerance(expected: _Outcome) -> float:
    return _TOLERANCE.get(expected.value.dtype, _SINGLE)


def _difference(given: _Outcome, expected: _Outcome, *, exact: bool) -> float:
    """The largest difference, as a share of the largest value expected; NaN when there is one."""
    apart, tolerance = 0.0, _tolerance(expected)
    for name in ("value", "gradient", "activation"):
        found, wanted = getattr(given, name), getattr(expected, name)
        if found is None or wanted is None:
            continue
        share = _share((found - wanted).abs(), wanted)
        if math.isnan(share):
            return math.nan
        if name == "gradient" and exact:
            share = max(_share((f - w).abs(), w) for f, w in zip(found, wanted, strict=True))
        elif name == "gradient" and tolerance < share < math.inf and _switched(found - wanted, wanted, tolerance):
            share = tolerance
        apart = max(apart, share)
    return apart


def _share(differences: Tensor, wanted: Tensor) -> float:
    largest, scale = float(differences.max()), float(wanted.abs().max())
    return largest / scale if scale > 0 else (0.0 if largest == 0 else math.inf if largest > 0 else math.nan)


def _switched(differences: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """Whether gradients differ as switched units make them: in a minority of elements, and by little in all."""
    many = float((differences.abs() > tolerance * wanted.abs().max()).double().mean())
    return many < 0.5 and float(differences.norm()) <= _SWITCHED * float(wanted.norm())


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _said(error: Exception) -> str:
    return words(error).splitlines()[0][:_LONG]
