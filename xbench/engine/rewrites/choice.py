"""Rewrites of the model: faster forms with the same numbers.

A trial (`engine.rewrites.trial`) on fixed samples before the first evaluation of a kind decides which rewrites are
used, so numbers depend neither on the clock nor on the rows. The decision comes from a callback; a command keeps it in
its store.

Rewritten models are copies that live as long as the engine, so a model changed between two calls is rewritten again,
and the user's own model is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from xbench.core.plan import Plan, Rule, Want
from xbench.core.sites import Place, Site
from xbench.engine.rewrites.batch_norm_folded import folded
from xbench.engine.rewrites.channels_last import channels_last
from xbench.engine.rewrites.compiled import compiled
from xbench.engine.rewrites.front_left_out import without_front
from xbench.engine.rewrites.padding_trimmed import NAME, trimmed
from xbench.engine.speed import Speed
from xbench.engine.subject import Subject

# (subject, samples, rule) -> the rewritten subject first, then variants that must agree as well; empty if it does not
# apply.
Rewrite = Callable[[Subject, Tensor, Rule | None], Iterable[Subject]]
USED = "used"
TRIED = 8  # number of samples in a trial (the first ones)
WORTH = 4  # minimum rows of a call in Python that runs a trial, as a multiple of the trial's samples
# The name of a rewrite -> the outcome of its trial: "used", "dropped: ...", "not tried: ...".
Decision = Mapping[str, str]


@dataclass(frozen=True)
class EvaluationKind:
    """A kind of evaluation, independent of points and samples.

    Attributes are those of `Plan`.
    """

    want: Want
    rule: Rule | None
    group: int
    read: Place | None
    second: Site | None

    @classmethod
    def of(cls, plan: Plan) -> EvaluationKind:
        return cls(plan.want, plan.rule, plan.group, plan.read, plan.second)

    @property
    def identity(self) -> dict[str, str]:
        """The same text for the same kind, in every process."""
        named = {"rule": self.rule and self.rule.key, "read": self.read, "second": self.second}
        texts = {name: str(value) for name, value in named.items() if value}
        return texts | {"want": str(self.want), "group": str(self.group)}


Decide = Callable[[EvaluationKind], Decision]


@dataclass(frozen=True)
class Form:
    """The form of evaluations of one kind: the subject, and the outcomes of the rewrites' trials."""

    subject: Subject
    notes: Mapping[str, str] = field(default_factory=dict)


def rewrites(speed: Speed) -> dict[str, Rewrite]:
    """The rewrites to try, by name, in order; each is applied on top of those used before it."""
    found: dict[str, Rewrite] = {}
    if speed.rewrites:
        found = {
            NAME: trimmed,
            "channels last": channels_last,
            "folded": folded,
            "front left out": without_front,
        }
    if speed.compile is not None:
        found["compiled"] = partial(compiled, mode=speed.compile)
    return found


@dataclass(frozen=True)
class Rewrites:
    """The rewrites of one subject.

    Args:
        decide: returns which rewrites are used for a kind of evaluation; an error ends the run before that evaluation.
        worth: a run known to take fewer rows uses the model unchanged.
    """

    speed: Speed
    decide: Decide
    worth: int = 0
    _forms: dict[tuple[tuple[str, str], ...], Form] = field(default_factory=dict)

    def of(self, subject: Subject, samples: Tensor, kind: EvaluationKind, rows: int | None) -> Form:
        """The form of evaluations of this kind in a run of `rows` rows; None: unknown number."""
        if rows is not None and rows < self.worth:
            return Form(subject)
        name = tuple(sorted(kind.identity.items()))
        if name not in self._forms:
            self._forms[name] = self._form(subject, samples, kind)
        return self._forms[name]

    def _form(self, subject: Subject, samples: Tensor, kind: EvaluationKind) -> Form:
        possible = rewrites(self.speed)
        decision = self.decide(kind) if possible else {}
        notes: dict[str, str] = {}
        for name, make in possible.items():
            if name not in decision:
                continue
            if decision[name] == USED:
                made = next(iter(make(subject, samples, kind.rule)), None)
                if made is None:  # such as texts of equal length
                    continue
                subject = made
            notes[name] = decision[name]
        return Form(subject, notes)
