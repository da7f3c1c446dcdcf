"""The passes of plans through the model: what limits them, which form of the model takes them, and their answers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from xbench.core.plan import Answer, Plan
from xbench.engine.chunks import Chunks
from xbench.engine.counters import Counters
from xbench.engine.evaluation import Evaluator, PlanEvaluation
from xbench.engine.rewrites.choice import EvaluationKind, Form, Rewrites
from xbench.engine.rows import CACHES, PLENTY, RowLimit
from xbench.engine.subject import Subject

_POINTS_ALIVE = 8  # live copies of a sample's elements: the point, the chunk, its clone, gradients, running sums

# Row limits are kept as long as the model lives: the next algorithm starts at full speed.
_LEARNT: weakref.WeakKeyDictionary[nn.Module, dict[tuple[object, ...], RowLimit]] = weakref.WeakKeyDictionary()


class Passes:
    """The passes of an engine's run through the model.

    Attributes:
        known: total rows of this run, if known before the first evaluation; else None.
    """

    def __init__(
        self,
        subject: Subject,
        budget: int,
        rows: int | None,
        progress: Callable[[int, int], None] | None,
        rewrites: Rewrites | None,
    ) -> None:
        self.known: int | None = None
        self._evaluator = Evaluator(subject.device, progress)
        self._subject = subject
        self._budget = budget
        self._rows = rows
        self._rewrites = rewrites
        self._begun: list[RowLimit] = []

    @property
    def counters(self) -> Counters:
        """The costs of the passes."""
        return self._evaluator.counters

    def restart(self) -> Counters:
        """Start new counters and return them."""
        self._evaluator.counters = Counters()
        return self.counters

    def begin(self) -> None:
        """Begin a new run."""
        self.known = None
        self._evaluator.begin()

    def expect(self, rows: int) -> None:
        """Add rows to those that this run will take, as far as is known."""
        self._evaluator.of += rows

    def room(self, size: int) -> int:
        """The samples in a slice if `size` bytes of each enter or are read; several copies are alive at a time."""
        return max(1, self._budget // (_POINTS_ALIVE * max(size, 1)))

    def limits(self, plan: Plan) -> RowLimit:
        """The row limit of a plan's evaluations."""
        s = self._subject
        kind = (
            s.device, plan.want, plan.rule and plan.rule.key, plan.group, str(s.inject), str(plan.second),
            str(plan.read or s.read), s.layout, str(s.readout.neuron), self._rows,
        )  # fmt: skip
        known = _LEARNT.setdefault(s.model, {})
        enough = PLENTY if s.device.type == "cuda" else CACHES
        limits = known.setdefault(kind, RowLimit(self._budget, self._rows, enough))
        if limits not in self._begun:
            limits.begin(self._budget)
            self._begun.append(limits)
        return limits

    def answers(self, plan: Plan, rows: slice) -> Iterator[Answer]:
        """One answer per point, in order, for a slice of the samples."""
        samples = torch.arange(rows.start, rows.stop, device=self._subject.device)
        samples = samples if plan.samples is None else samples[plan.samples.to(samples.device)]
        how = PlanEvaluation(self._form(plan, samples), plan.want, plan.rule, self.limits(plan))
        return Chunks(plan, how, samples, self.room(4 * how.subject.layout.width), self._evaluator).answers()

    def _form(self, plan: Plan, samples: Tensor) -> Form:
        subject = self._subject.at(plan.read, plan.second)
        if self._rewrites is None or plan.n_points == 0:
            return Form(subject)
        return self._rewrites.of(subject, samples, EvaluationKind.of(plan), self.known)
