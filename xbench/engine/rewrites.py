"""Rewrites of the model: other ways to the same numbers, each tried on real rows and kept only if it gives them.

A rewrite is tried once per kind of evaluation (what enters, what is read, under which rule), on top of those kept
before it. Rewritten models are copies that live as long as the engine, so a model changed between two calls is
rewritten anew, and nothing is ever put on the user's own.

Gradients of a network with ReLUs or max-pooling jump at kinks: where a unit's input is zero but for rounding, another
order of summation switches it, in some images of 224x224 for every model. Neither side is nearer to the truth. So
gradients may differ in a minority of elements, by little in all, where outputs agree everywhere.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from xbench.boundary import words
from xbench.engine.channels_last import channels_last
from xbench.engine.compiled import compiled
from xbench.engine.folded import folded
from xbench.engine.front import without_front
from xbench.engine.subject import Subject
from xbench.engine.trimmed import NAME, trimmed
from xbench.plan import Answer, Rule, Want
from xbench.speed import Speed

# (subject, samples, rule) -> the rewritten subject first, then others that must agree as well; [] where it does not
# apply, None where these samples tell nothing. What it raises drops it.
Rewrite = Callable[[Subject, Tensor, Rule | None], list[Subject] | None]

_TOLERANCE = {torch.float64: 1e-9}  # of the largest value
_SINGLE = 1e-5  # float32 sums in another order stay below
_SWITCHED = 1e-2  # of the gradient's length: switched units stay below
_WORTH = 8  # trials that the work of this kind must outweigh
_LONG = 160  # characters of a note
_SETUP = 0.05  # seconds: what copying a model costs, about
_USED = "used"
_LIGHT = (NAME, "channels last")  # cost nothing to set up, so they are tried at once
_REMEMBERED = (*_LIGHT, "folded")  # made anew from the model as it is then, but not tried again

# (kind of evaluation, rewrite) -> how its trial ended, as long as the model lives: the next call starts with it.
_KNOWN: weakref.WeakKeyDictionary[nn.Module, dict[tuple[object, ...], str]] = weakref.WeakKeyDictionary()


@dataclass
class Rewritten:
    """One kind of evaluation: the subject that serves it now, the rewrites still to be tried, and how others ended."""

    subject: Subject
    pending: dict[str, Rewrite]
    known: dict[tuple[object, ...], str]
    kind: tuple[object, ...]
    notes: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Rewrites:
    """The rewrites of one subject."""

    speed: Speed
    _kinds: dict[tuple[object, ...], Rewritten] = field(default_factory=dict)

    def of(self, subject: Subject, samples: Tensor, want: Want, rule: Rule | None) -> Rewritten:
        """How evaluations of this kind are done now."""
        s = subject
        places = (s.inject, s.read, s.second and s.second[0], s.readout.neuron)
        kind = (want, repr(rule), *map(str, places), s.device, s.layout)
        if kind not in self._kinds:
            self._kinds[kind] = self._begin(subject, samples, rule, kind)
        return self._kinds[kind]

    def _begin(self, subject: Subject, samples: Tensor, rule: Rule | None, kind: tuple[object, ...]) -> Rewritten:
        pending: dict[str, Rewrite] = {}
        if self.speed.rewrites:
            pending = {
                NAME: trimmed,
                "channels last": channels_last,
                "folded": folded,
                "front left out": without_front,
            }
        if self.speed.compile is not None:
            pending["compiled"] = partial(compiled, mode=self.speed.compile)
        state = Rewritten(subject, pending, _KNOWN.setdefault(subject.model, {}), kind)
        for name in [name for name in pending if (kind, name) in state.known]:
            if name in _LIGHT or state.known[kind, name] != _USED:
                self._repeat(state, name, samples, rule)
        return state

    def consider(
        self, kind: Rewritten, flat: Tensor, samples: Tensor, want: Want, rule: Rule | None,
        answer: Answer, seconds: float, left: int,
    ) -> None:  # fmt: skip
        """Try what is pending, if it pays.

        Args:
            answer: of the rows `flat` (r, d) of `samples` (r,), which took `seconds`.
            left: rows that are known to follow.
        """
        if not kind.pending:
            return
        kind.seconds += seconds
        work = kind.seconds + left * seconds / len(flat)
        always = self.speed.rewrites == "always"
        for name in [name for name in kind.pending if (kind.kind, name) in kind.known]:
            if always or name in _LIGHT or work >= _WORTH * _SETUP:
                self._repeat(kind, name, samples, rule)
        enough = always or work >= _WORTH * (seconds + _SETUP)
        tried = [n for n in kind.pending if (kind.kind, n) not in kind.known and (enough or n in (*_LIGHT, "compiled"))]
        if kind.subject.autocast and tried:  # exact numbers decide, not those rounded to three digits
            answer = replace(kind.subject, autocast=False).evaluate(flat, samples, want, rule)
        for name in tried:
            self._try(kind, name, flat, samples, want, rule, answer)

    def _repeat(self, kind: Rewritten, name: str, samples: Tensor, rule: Rule | None) -> None:
        """Do as the trial of an earlier call says."""
        make = kind.pending.pop(name)
        kind.notes[name] = kind.known[kind.kind, name]
        if kind.notes[name] == _USED:
            made = make(kind.subject, samples, rule)
            if made is None:
                kind.pending[name] = make
            else:
                kind.subject = made[0]

    def _try(
        self, kind: Rewritten, name: str, flat: Tensor, samples: Tensor, want: Want, rule: Rule | None, expected: Answer
    ) -> None:
        make = kind.pending.pop(name)
        tolerance = _TOLERANCE.get(expected.value.dtype, _SINGLE)
        try:
            candidates = make(kind.subject, samples, rule)
            if candidates is None:
                kind.pending[name] = make
                return
            apart = [
                _difference(replace(c, autocast=False).evaluate(flat, samples, want, rule), expected, tolerance)
                for c in candidates
            ]
        except Exception as error:  # whatever a user's model raises: the same rows passed without the rewrite
            kind.notes[name] = f"dropped: {words(error).splitlines()[0]}"[:_LONG]
        else:
            if not candidates:
                return
            fits = all(difference <= tolerance for difference in apart)  # NaN does not
            kind.notes[name] = _USED if fits else f"dropped: results differ by {max(apart, key=_nan_last):.0e}"
            if fits:
                kind.subject = candidates[0]
        if name in _REMEMBERED:
            kind.known[kind.kind, name] = kind.notes[name]


def _difference(answer: Answer, expected: Answer, tolerance: float) -> float:
    """The largest difference, as a share of the largest value expected; NaN when there is one."""
    apart = 0.0
    for name in ("value", "gradient", "activation"):
        given, wanted = getattr(answer, name), getattr(expected, name)
        if given is not None and wanted is not None:
            differences, scale = (given - wanted).abs(), float(wanted.abs().max())
            largest = float(differences.max())
            share = largest / scale if scale > 0 else (0.0 if largest == 0 else math.inf)
            if math.isnan(share):
                return math.nan
            if name == "gradient" and tolerance < share < math.inf and _switched(differences, wanted, tolerance):
                share = tolerance
            apart = max(apart, share)
    return apart


def _switched(differences: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """Whether gradients differ as switched units make them: in a minority of elements, and by little in all."""
    many = float((differences > tolerance * wanted.abs().max()).double().mean())
    return many < 0.5 and float(differences.norm()) <= _SWITCHED * float(wanted.norm())


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value
