"""Runs whatever an algorithm made: one plan, several, or steps that depend on each other's results.

Samples are sliced, only as far as memory demands; how the points of a slice pass the model is for `passes`. None of
this is visible in the result.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.plan import Noted, Plan, Plans, Several, Want
from xbench.engine.counters import Counters
from xbench.engine.memory import parse_bytes
from xbench.engine.passes import Passes
from xbench.engine.rewrites.choice import Rewrites
from xbench.engine.subject import Subject

MakePlan = Callable[[Case, Tensor], Plans]


class Engine:
    """Evaluates plans on one subject and counts what that costs.

    Args:
        subject: the model with its samples.
        memory: the budget for tensors during an evaluation, see `parse_bytes`.
        rows: a fixed number of rows per evaluation instead of the search for the best.
        progress: called after every piece with the rows done and the rows in all of this run.
        rewrites: other forms of the model that may be evaluated instead; None: none.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        memory: int | str | None = None,
        rows: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        rewrites: Rewrites | None = None,
    ) -> None:
        if rows is not None and rows < 1:
            raise ValueError(f"rows: expected a positive number or auto, got {rows}")
        self.subject = subject
        budget = parse_bytes(memory, subject.device)
        self._passes = Passes(subject, budget, rows, progress, rewrites)

    @property
    def counters(self) -> Counters:
        """What all runs cost since the last `restart`."""
        return self._passes.counters

    def restart(self) -> Counters:
        """Fresh counters, which the runs from now on fill."""
        self._passes.counters = Counters()
        return self._passes.counters

    def run(
        self, make_plan: MakePlan, case: Case, x: Tensor, *, whole: bool = False, share: slice | None = None
    ) -> Tensor:
        """The plan's result for all samples, (n, ...), whatever the slicing; `whole` forbids it to adaptive plans.

        `share` names the samples to do when it is not all of them; the others are still their mates.
        """
        passes = self._passes
        done, n = (0, len(case)) if share is None else (share.start, share.stop)
        passes.begin()
        parts: list[Tensor] = []
        count = n - done
        most = count if whole else passes.room(x[0].numel() * x.element_size())
        while done < n:
            rows = slice(done, min(n, done + most))
            plan = make_plan(case.part(rows), x[rows].clone())  # an algorithm of one's own may write into it
            if isinstance(plan, Plan):
                passes.of = passes.known = passes.of or count * plan.n_points
                most = max(1, min(most, passes.limits(plan).slice_limit // plan.group))
                if plan.want & (Want.GRADIENT | Want.ACTIVATION):
                    width = self.subject.at(plan.read, None).read_layout.width
                    most = min(most, passes.room(width * x.element_size()))
                if done + most < rows.stop:
                    rows = slice(done, done + most)
                    plan = make_plan(case.part(rows), x[rows].clone())
            result = self._solve(plan, rows)
            if isinstance(result, Noted):
                for name, values in result.notes.items():
                    _check(values, f"note {name!r}", rows.stop - rows.start)
                self.counters.note(result.notes)
                result = result.map
            parts.append(_check(result, "result"))
            done = rows.stop
        return _stack(parts)

    def _solve(self, plan: Plans, rows: slice) -> Tensor | Noted:
        """The result of whatever an algorithm made, on a slice of samples."""
        if isinstance(plan, Plan):
            return plan.reduce(self._passes.answers(plan, rows))
        if isinstance(plan, Several):
            return plan.reduce(self._map(each, rows) for each in plan.plans)
        result: Tensor | None = None
        while True:
            try:
                step = next(plan) if result is None else plan.send(result)
            except StopIteration as finished:
                return finished.value
            if isinstance(step, Plan):  # how many there will be is not known: each adds its own
                samples = rows.stop - rows.start if step.samples is None else len(step.samples)
                self._passes.of += step.n_points * samples
            result = self._map(step, rows)

    def _map(self, plan: Plans, rows: slice) -> Tensor:
        result = self._solve(plan, rows)
        return result.map if isinstance(result, Noted) else result


def _check(found: object, what: str, n: int | None = None) -> Tensor:
    """What a plan made, if it is a tensor, and with `n` one number per sample."""
    if not isinstance(found, Tensor):
        raise TypeError(f"the {what} of a plan must be a tensor, got {type(found).__name__}")
    if n is not None and found.shape != (n,):
        raise ValueError(f"the {what} of a plan must be a number for each of {n} samples, got {tuple(found.shape)}")
    return found


def _stack(parts: list[Tensor]) -> Tensor:
    """The slices' results, (n, ...). Values per feature are as wide as the sample with most features."""
    widths = {part.shape[-1] for part in parts if part.dim() == 2}
    if len(widths) > 1:
        parts = [torch.nn.functional.pad(part, (0, max(widths) - part.shape[1])) for part in parts]
    return torch.cat(parts)
