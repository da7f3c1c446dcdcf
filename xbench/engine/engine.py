"""Runs a plan over the samples in chunks that fit.

A chunk is a rectangle of (samples x points). Samples are sliced first (only as far as memory demands), then as
many points of a slice as the row limit allows go through the model together; a point of a wide slice is cut into
pieces of rows. None of this is visible in the result.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import Tensor, nn

from xbench.case import Case
from xbench.engine.counters import Counters
from xbench.engine.memory import OutOfMemory, PeakMemory, is_out_of_memory, keep_freed, parse_bytes
from xbench.engine.rewrites import Rewrites
from xbench.engine.rows import CACHES, PLENTY, RowLimit
from xbench.engine.subject import Subject
from xbench.padded import Padded
from xbench.plan import Answer, Made, Noted, Plan, Rule, Several, Want
from xbench.speed import Speed

MakePlan = Callable[[Case, Tensor], Made]

_AHEAD = 4  # evaluations' worth of rows that are sorted by length
_POINTS_ALIVE = 8  # copies of a sample's elements: the point, the chunk, its clone, gradients, running sums

# What was learnt about a model stays with it as long as it lives: the next algorithm starts at full speed.
_LEARNT: weakref.WeakKeyDictionary[nn.Module, dict[tuple[object, ...], RowLimit]] = weakref.WeakKeyDictionary()


class NonFiniteError(RuntimeError):
    """The model gave NaN or infinity."""


class Engine:
    """Evaluates plans on one subject and counts what that costs.

    Args:
        subject: the model with its samples.
        memory: the budget for tensors during an evaluation, see `parse_bytes`.
        rows: a fixed number of rows per evaluation instead of the search for the best.
        progress: called after every piece with the rows done and the rows in all of this run.
        speed: which rewrites of the model are tried.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        memory: int | str | None = None,
        rows: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        speed: Speed | None = None,
    ) -> None:
        if rows is not None and rows < 1:
            raise ValueError(f"rows: expected a positive number or auto, got {rows}")
        if subject.device.type == "cpu":
            keep_freed()
        self.subject = subject
        self.counters = Counters()
        self._budget = parse_bytes(memory, subject.device)
        self._rows = rows
        self._begun: list[RowLimit] = []
        self._rewrites = Rewrites(speed or Speed())
        self._progress = progress
        self._done = self._of = 0  # rows of the current run
        # When the last piece ended: making the next points and reducing the answers count towards speed too.
        self._mark: float | None = None

    def run(
        self, make_plan: MakePlan, case: Case, x: Tensor, *, whole: bool = False, share: slice | None = None
    ) -> Tensor:
        """The plan's result for all samples, (n, ...), whatever the slicing; `whole` forbids it to adaptive plans.

        `share` names the samples to do when it is not all of them; the others are still their mates.
        """
        done, n = (0, len(case)) if share is None else (share.start, share.stop)
        self._done = self._of = 0
        self._mark = None
        parts: list[Tensor] = []
        count = n - done
        most = count if whole else self._room(x[0].numel() * x.element_size())
        while done < n:
            rows = slice(done, min(n, done + most))
            plan = make_plan(case.part(rows), x[rows])
            if isinstance(plan, Plan):
                self._of = self._of or count * plan.n_points
                most = max(1, min(most, self._limits(plan).slice_limit // plan.group))
                if plan.want & (Want.GRADIENT | Want.ACTIVATION):
                    width = self.subject.at(plan.read, None).read_layout.width
                    most = min(most, self._room(width * x.element_size()))
                if done + most < rows.stop:
                    rows = slice(done, done + most)
                    plan = make_plan(case.part(rows), x[rows])
            result = self._solve(plan, rows)
            if isinstance(result, Noted):
                self.counters.note(result.notes)
                result = result.map
            parts.append(result)
            done = rows.stop
        return _stack(parts)

    def _room(self, size: int) -> int:
        """Samples of a slice when `size` bytes of each enter or are read: several times that is alive at a time."""
        return max(1, self._budget // (_POINTS_ALIVE * max(size, 1)))

    def _solve(self, plan: Made, rows: slice) -> Tensor | Noted:
        """The result of whatever an algorithm made, on a slice of samples."""
        if isinstance(plan, Plan):
            return plan.reduce(self._answers(plan, self._limits(plan), rows))
        if isinstance(plan, Several):
            return plan.reduce(self._map(each, rows) for each in plan.plans)
        result: Tensor | None = None
        while True:
            try:
                step = next(plan) if result is None else plan.send(result)
            except StopIteration as finished:
                return finished.value
            if isinstance(step, Plan):  # how many there will be is not known: each adds its own
                self._of += step.n_points * (rows.stop - rows.start if step.samples is None else len(step.samples))
            result = self._map(step, rows)

    def _map(self, plan: Made, rows: slice) -> Tensor:
        result = self._solve(plan, rows)
        return result.map if isinstance(result, Noted) else result

    def _limits(self, plan: Plan) -> RowLimit:
        s = self.subject
        kind = (
            s.device, plan.want, repr(plan.rule), plan.group, str(s.inject), str(plan.second),
            str(plan.read or s.read), s.layout, str(s.readout.neuron), self._rows,
        )  # fmt: skip
        known = _LEARNT.setdefault(s.model, {})
        enough = PLENTY if s.device.type == "cuda" else CACHES
        limits = known.setdefault(kind, RowLimit(self._budget, self._rows, enough))
        if limits not in self._begun:
            limits.begin(self._budget)
            self._begun.append(limits)
        return limits

    def _answers(self, plan: Plan, limits: RowLimit, rows: slice) -> Iterator[Answer]:
        """One answer per point, in order, evaluated in chunks of whole groups of points."""
        samples = torch.arange(rows.start, rows.stop, device=self.subject.device)
        samples = samples if plan.samples is None else samples[plan.samples.to(samples.device)]
        subject = self.subject.at(plan.read, plan.second)
        m, g = len(samples), plan.group
        points, left = iter(plan.points), plan.n_points // g
        # Rows of unequal length are sorted: there have to be more than one evaluation takes.
        ahead, room = (1 if subject.padded is None else _AHEAD), self._room(4 * subject.layout.width)
        while True:
            units = max(1, min(ahead * limits.limit, max(limits.limit, room)) // (m * g)) if m else 1
            units = math.ceil(left / 2) if units < left < 1.5 * units else units  # no stray last point
            chunk = list(islice(points, units * g))
            if not chunk:
                return
            units = len(chunk) // g
            left -= units
            # (unit, member, sample) -> (member, unit x sample): members of a group face each other in halves.
            stacked = torch.stack(chunk) if len(chunk) > 1 else chunk[0].unsqueeze(0)
            flat = stacked.unflatten(0, (units, g)).transpose(0, 1).reshape(g, units * m, -1)
            del chunk, stacked
            answer = self._chunk(subject, flat, samples.repeat(units), plan.want, plan.rule, limits)
            del flat
            for unit in range(units):
                for member in range(g):
                    at = (member * units + unit) * m
                    yield answer.part(slice(at, at + m))

    def _chunk(
        self, subject: Subject, flat: Tensor, samples: Tensor, want: Want, rule: Rule | None, limits: RowLimit
    ) -> Answer:
        """Evaluate (g, u, d) points in pieces of at most `limits.limit` rows; the answer has g x u rows."""
        g, units, _ = flat.shape
        padded = subject.padded
        if padded is not None and units > 1:
            order = padded.falling(samples).to(flat.device)
            answer = self._pieces(subject, flat[:, order], samples[order], want, rule, limits)
            back = torch.cat([order.argsort() + member * units for member in range(g)])
            return answer.part(back)
        return self._pieces(subject, flat, samples, want, rule, limits)

    def _pieces(
        self, subject: Subject, flat: Tensor, samples: Tensor, want: Want, rule: Rule | None, limits: RowLimit
    ) -> Answer:
        g, units, _ = flat.shape
        pieces: list[Answer] = []
        done = 0
        while done < units:
            size = _size(subject.padded, samples[done:], max(1, limits.limit // g))
            piece = self._piece(subject, flat[:, done : done + size], samples[done : done + size], want, rule, limits)
            if piece is None:
                continue  # smaller rows now
            pieces.append(piece)
            done += size
        if len(pieces) == 1:
            return pieces[0]
        return _join(pieces, g)

    def _piece(
        self, subject: Subject, flat: Tensor, samples: Tensor, want: Want, rule: Rule | None, limits: RowLimit
    ) -> Answer | None:
        g, size, d = flat.shape
        rows = g * size
        failure: str | None = None
        try:
            answer = self._evaluate(subject, flat.reshape(rows, d), samples.repeat(g), want, rule, limits)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            failure = str(error)
        except MemoryError as error:
            failure = str(error)
        if failure is not None:
            # Outside the except block, which would keep the failed frames and their tensors alive.
            if size == 1:
                raise OutOfMemory(f"out of memory with a single example in flight: {failure}")
            limits.failed(rows)
            self.counters.repeated_rows += rows
            if self.subject.device.type == "cuda":
                torch.cuda.empty_cache()
            return None
        self.counters.count(rows, backward=Want.GRADIENT in want)
        self.counters.peak_bytes = max(self.counters.peak_bytes, limits.peak_at(rows))
        self._check(answer, samples.repeat(g))
        self._mark = time.perf_counter()
        self._done += rows
        if self._progress is not None:
            self._progress(self._done, self._of)
        return answer

    def _evaluate(
        self, subject: Subject, flat: Tensor, samples: Tensor, want: Want, rule: Rule | None, limits: RowLimit
    ) -> Answer:
        rows, device = len(flat), subject.device
        kind = self._rewrites.of(subject, samples, want, rule)
        measuring = limits.needs_measuring(rows)
        start = time.perf_counter()
        if measuring:
            with PeakMemory(device) as peak:
                answer = kind.subject.evaluate(flat, samples, want, rule)
            limits.measured(rows, math.ceil(peak.bytes / kind.subject.filled(samples)))  # as if all were the longest
        else:
            answer = kind.subject.evaluate(flat, samples, want, rule)
        if not limits.settled or kind.pending:
            synchronise(device)
        now = time.perf_counter()
        if not measuring and not limits.settled and self._mark is not None:
            limits.timed(rows, now - self._mark)
        # The meter slows an evaluation down: its time says nothing about the rows that are left.
        left = 0 if measuring else self._of - self._done - rows
        self._rewrites.consider(kind, flat, samples, want, rule, answer, now - start, left)
        self.counters.rewrites.update({**kind.notes, **kind.subject.remarks()})
        return answer

    def _check(self, answer: Answer, samples: Tensor) -> None:
        bad = ~torch.isfinite(answer.value)
        if answer.gradient is not None:
            bad = bad | ~torch.isfinite(answer.gradient).all(1)
        if bool(bad.any()):
            which = sorted(set(samples[bad].tolist()))
            shown = ", ".join(map(str, which[:5])) + (", ..." if len(which) > 5 else "")
            raise NonFiniteError(f"the model gave NaN or infinity for {len(which)} sample(s), at position {shown}")


def _size(padded: Padded | None, samples: Tensor, most: int) -> int:
    """How many of the samples go first: all of a length, or an equal share, so that there is no stray last row."""
    if padded is not None:
        return padded.batch(samples, most)
    return math.ceil(len(samples) / math.ceil(len(samples) / most))


def synchronise(device: torch.device) -> None:
    """Wait for the device, so that a clock read now means something."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _stack(parts: list[Tensor]) -> Tensor:
    """The slices' results, (n, ...). Values per feature are as wide as the sample with most features."""
    widths = {part.shape[-1] for part in parts if part.dim() == 2}
    if len(widths) > 1:
        parts = [torch.nn.functional.pad(part, (0, max(widths) - part.shape[1])) for part in parts]
    return torch.cat(parts)


def _join(pieces: list[Answer], group: int) -> Answer:
    """Answers of (g x size) rows each as one of (g x units) rows, members of a group apart."""

    def cat(parts: list[Tensor | None]) -> Tensor | None:
        present = [p.unflatten(0, (group, -1)) for p in parts if p is not None]
        return torch.cat(present, dim=1).flatten(0, 1) if present else None

    value = cat([piece.value for piece in pieces])
    assert value is not None
    return Answer(value, cat([piece.gradient for piece in pieces]), cat([piece.activation for piece in pieces]))
