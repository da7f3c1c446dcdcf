"""Runs an algorithm's plan, several plans, or steps that depend on each other's results.

Samples are sliced only as far as memory demands; `passes` sends the points of a slice through the model. The result
does not depend on the slicing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.plan import ExternalCall, Noted, Plan, Plans, Several, Want
from xbench.engine.counters import Counters
from xbench.engine.memory import parse_bytes
from xbench.engine.passes import Passes
from xbench.engine.rewrites.choice import Rewrites
from xbench.engine.subject import Subject

MakePlan = Callable[[Case, Tensor], Plans]
RunExternal = Callable[[ExternalCall, Counters], Tensor]


class Engine:
    """Evaluates plans on one subject and counts the costs.

    Args:
        subject: the model with its samples.
        memory: the budget for tensors during an evaluation, see `parse_bytes`.
        rows: a fixed number of rows per evaluation instead of the search for the best.
        progress: called after every piece with the finished and the total rows of this run.
        rewrites: faster forms of the model that may be evaluated instead; None: none.
        external: runs external code and returns its maps, (n, d); None: external code is an error.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        memory: int | str | None = None,
        rows: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        rewrites: Rewrites | None = None,
        external: RunExternal | None = None,
    ) -> None:
        if rows is not None and rows < 1:
            raise ValueError(f"rows: expected a positive number or auto, got {rows}")
        self.subject = subject
        self._external = external
        budget = parse_bytes(memory, subject.device)
        self._passes = Passes(subject, budget, rows, progress, rewrites)

    @property
    def counters(self) -> Counters:
        """The costs of all runs since the last `restart`."""
        return self._passes.counters

    def restart(self) -> Counters:
        """Start new counters and return them."""
        return self._passes.restart()

    def run(
        self, make_plan: MakePlan, case: Case, x: Tensor, *, whole: bool = False, share: slice | None = None
    ) -> Tensor:
        """The plan's result for all samples, (n, ...), for any slicing; `whole` forbids slicing adaptive plans.

        `share` selects the samples to compute (None: all); the others still count as samples of the call.
        """
        passes = self._passes
        done, n = (0, len(case)) if share is None else (share.start, share.stop)
        passes.begin()
        parts: list[Tensor] = []
        count = n - done
        most = count if whole else passes.room(x[0].numel() * x.element_size())
        while done < n:
            rows = slice(done, min(n, done + most))
            plan = make_plan(case.part(rows), x[rows].clone())  # clones: a user's plan may write into it
            if isinstance(plan, Plan):
                if passes.known is None:
                    passes.known = count * plan.n_points
                    passes.expect(passes.known)
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
        """The result of an algorithm's plans on a slice of samples."""
        if isinstance(plan, Plan):
            return plan.reduce(self._passes.answers(plan, rows))
        if isinstance(plan, ExternalCall):
            if self._external is None:
                raise TypeError(f"{plan.label} is external code: an Explainer runs it, not an engine alone")
            return self._external(plan, self.counters)
        if isinstance(plan, Several):
            return plan.reduce(self._map(each, rows) for each in plan.plans)
        result: Tensor | None = None
        while True:
            try:
                step = next(plan) if result is None else plan.send(result)
            except StopIteration as finished:
                value: Tensor | Noted = finished.value
                return value
            if isinstance(step, Plan):  # the number of steps is unknown: each adds its own rows
                samples = rows.stop - rows.start if step.samples is None else len(step.samples)
                self._passes.expect(step.n_points * samples)
            result = self._map(step, rows)

    def _map(self, plan: Plans, rows: slice) -> Tensor:
        result = self._solve(plan, rows)
        return result.map if isinstance(result, Noted) else result


def _check(found: object, what: str, n: int | None = None) -> Tensor:
    """Check that a plan's result is a tensor and, with `n`, has one number per sample."""
    if not isinstance(found, Tensor):
        raise TypeError(f"the {what} of a plan must be a tensor, got {type(found).__name__}")
    if n is not None and found.shape != (n,):
        raise ValueError(f"the {what} of a plan must be a number for each of {n} samples, got {tuple(found.shape)}")
    return found


def _stack(parts: list[Tensor]) -> Tensor:
    """Concatenate the slices' results, (n, ...). Values per feature are padded to the largest number of features."""
    widths = {part.shape[-1] for part in parts if part.dim() == 2}
    if len(widths) > 1:
        parts = [torch.nn.functional.pad(part, (0, max(widths) - part.shape[1])) for part in parts]
    return torch.cat(parts)
