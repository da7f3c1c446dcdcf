"""Tries rewrites of a model on fixed samples: those with the same numbers are used.

The points are the samples themselves, together with their baselines if a rule takes pairs. The outcome therefore
depends only on the model, these samples and the kind of evaluation, not on the first method, its rows, or the clock.

Gradients of a network with ReLUs or max-pooling jump at kinks: if a unit's input is zero up to rounding, another order
of summation switches it, in some images of 224x224 for every model. Neither value is more correct. Gradients may
therefore differ in a minority of elements, by little in total, if outputs agree everywhere; not for `exact` rewrites.
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

_TOLERANCE = {torch.float64: 1e-9}  # share of the largest value
_SINGLE = 1e-5  # float32 sums in another order differ by less
_SWITCHED = 1e-2  # share of the gradient's length; switched units change less
_ROWS = 4  # rows per evaluation of a trial
_LONG = 160  # maximum characters of a note


def decide(
    speed: Speed,
    subject: Subject,
    kind: EvaluationKind,
    case: Case,
    x: Tensor,
    memory: int | str | None,
    rows: int | None,
) -> Decision:
    """The outcome of each rewrite's trial on the first samples of a case; rewrites that do not apply are omitted.

    Raises whatever the unchanged model raises on these samples.
    """
    trial = _Trial(kind, case, x.detach(), memory, min(_ROWS, rows or _ROWS))
    # The trial runs at full precision, not at three digits, and without a graph, which does not change numbers.
    subject = replace(subject.at(kind.read, kind.second), autocast=False, create_graph=False)
    decision: dict[str, str] = {}
    expected: _Outcome | None = None
    samples = torch.arange(trial.count, device=subject.device)
    for name, make in rewrites(speed).items():
        try:
            made = list(make(subject, samples, kind.rule))
        except Exception as error:  # a user's model may raise anything when it is copied or watched
            decision[name] = f"dropped: {_said(error)}"
            continue
        if made:
            expected = trial.outcome(subject) if expected is None else expected
            decision[name] = _ended(trial, made, expected, exact=speed.rewrites == "exact")
            subject = made[0] if decision[name] == USED else subject
    return decision


def _ended(trial: _Trial, made: Sequence[Subject], expected: _Outcome, *, exact: bool) -> str:
    """The outcome of the trial of a rewritten subject."""
    try:
        apart = [_difference(trial.outcome(subject), expected, exact=exact) for subject in made]
    except Exception as error:  # any error of the user's model: the same rows passed without the rewrite
        return f"dropped: {_said(error)}"
    fits = all(difference <= _tolerance(expected) for difference in apart)  # False for NaN
    return USED if fits else f"dropped: results differ by {max(apart, key=_nan_last):.0e}"


def settled(speed: Speed, work: Callable[[], Decision]) -> Decision:
    """Return the decision of `work`; if no trial is possible, no rewrite is used, and the decision gives the reason."""
    try:
        return work()
    except (OutOfMemory, MemoryError):
        raise  # there may be more memory another time
    except Exception as error:  # an error of the user's model on these samples; others may work
        return dict.fromkeys(rewrites(speed), f"not tried: {_said(error)}")


@dataclass(frozen=True)
class _Outcome:
    """The answers to the points of a trial: values (k, g), and the reading at the first point, (k, d) or None."""

    value: Tensor
    gradient: Tensor | None
    activation: Tensor | None


@dataclass(frozen=True)
class _Trial:
    """The evaluation that is run with every rewrite."""

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
        """The model's values at the second place for the samples, (k, d)."""
        plain = replace(subject, second=None, read=second[0], read_layout=second[1])
        return self._run(plain, lambda _case, x: Plan([x], 1, Want.ACTIVATION, lambda answers: next(answers).level))

    def _run(self, subject: Subject, plan: MakePlan) -> Tensor:
        # Samples of unequal length pass one by one, so that all padding is trimmed.
        engine = Engine(subject, memory=self.memory, rows=self.rows if subject.padded is None else 1)
        return engine.run(plan, self.case, self.x, share=slice(0, self.count))


def _tolerance(expected: _Outcome) -> float:
    return _TOLERANCE.get(expected.value.dtype, _SINGLE)


def _difference(given: _Outcome, expected: _Outcome, *, exact: bool) -> float:
    """The largest difference, as a share of the largest expected value; NaN if any value is NaN."""
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
    """Whether gradients differ like those of switched units: in a minority of elements, and by little in total."""
    many = float((differences.abs() > tolerance * wanted.abs().max()).double().mean())
    return many < 0.5 and float(differences.norm()) <= _SWITCHED * float(wanted.norm())


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _said(error: Exception) -> str:
    return words(error).splitlines()[0][:_LONG]
