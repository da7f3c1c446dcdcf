"""Sends the points of a plan through the model in chunks that fit into memory, and counts the costs.

A chunk is a rectangle of (samples x points). As many points of a slice of samples as the row limit allows go through
the model together; a point of a wide slice is cut into pieces of rows.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor, nn

from xbench.core.padding import Padded
from xbench.core.plan import Answer, Plan, Rule, Want
from xbench.engine.counters import Counters
from xbench.engine.memory import OutOfMemory, PeakMemory, is_out_of_memory
from xbench.engine.repeats import Repeats
from xbench.engine.rewrites.choice import EvaluationKind, Form, Rewrites
from xbench.engine.rows import CACHES, PLENTY, RowLimit
from xbench.engine.subject import Subject

_AHEAD = 4  # number of evaluations whose rows are sorted by length together
_POINTS_ALIVE = 8  # live copies of a sample's elements: the point, the chunk, its clone, gradients, running sums

# Row limits are kept as long as the model lives: the next algorithm starts at full speed.
_LEARNT: weakref.WeakKeyDictionary[nn.Module, dict[tuple[object, ...], RowLimit]] = weakref.WeakKeyDictionary()


class NonFiniteError(RuntimeError):
    """The model returned NaN or infinity."""


@dataclass(frozen=True)
class _Kind:
    """The settings with which all rows of a plan are evaluated."""

    form: Form
    want: Want
    rule: Rule | None
    limits: RowLimit

    @property
    def subject(self) -> Subject:
        return self.form.subject


class Passes:
    """The passes of an engine's run through the model.

    Attributes:
        counters: the costs of the passes.
        of: total rows of this run, as far as known.
        known: total rows, if known before the first evaluation; else None.
    """

    def __init__(
        self,
        subject: Subject,
        budget: int,
        rows: int | None,
        progress: Callable[[int, int], None] | None,
        rewrites: Rewrites | None,
    ) -> None:
        self.counters = Counters()
        self.of = 0
        self.known: int | None = None
        self._subject = subject
        self._budget = budget
        self._rows = rows
        self._rewrites = rewrites
        self._progress = progress
        self._begun: list[RowLimit] = []
        self._done = 0
        # End of the last piece: computing points and reducing answers count towards the speed too.
        self._mark: float | None = None

    def begin(self) -> None:
        """Begin a new run."""
        self.of = self._done = 0
        self.known = None
        self._mark = None

    def room(self, size: int) -> int:
        """The samples in a slice if `size` bytes of each enter or are read; several copies are alive at a time."""
        return max(1, self._budget // (_POINTS_ALIVE * max(size, 1)))

    def limits(self, plan: Plan) -> RowLimit:
        """The row limit of a plan's evaluations."""
        s = self._subject
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

    def answers(self, plan: Plan, rows: slice) -> Iterator[Answer]:
        """One answer per point, in order, for a slice of the samples."""
        samples = torch.arange(rows.start, rows.stop, device=self._subject.device)
        samples = samples if plan.samples is None else samples[plan.samples.to(samples.device)]
        kind = _Kind(self._form(plan, samples), plan.want, plan.rule, self.limits(plan))
        if plan.shared is not None and len(samples) > 1 and kind.subject.by_points_alone:
            return self._beside_one(plan, plan.shared, kind, samples)
        return self._in_groups(plan, kind, samples)

    def _form(self, plan: Plan, samples: Tensor) -> Form:
        subject = self._subject.at(plan.read, plan.second)
        if self._rewrites is None or plan.n_points == 0:
            return Form(subject)
        return self._rewrites.of(subject, samples, EvaluationKind.of(plan), self.known)

    def _in_groups(self, plan: Plan, kind: _Kind, samples: Tensor) -> Iterator[Answer]:
        """Evaluate chunks of whole groups of points."""
        m, g = len(samples), plan.group
        points, left = iter(plan.points), plan.n_points // g
        # Rows of unequal length are sorted by length, which needs more rows than one evaluation takes.
        ahead = 1 if kind.subject.padded is None else _AHEAD
        room = self.room(4 * kind.subject.layout.width)
        repeats = Repeats(plan.period or plan.n_points) if self._may_repeat(kind, g) else None
        while True:
            limit = kind.limits.limit
            units = max(1, min(ahead * limit, max(limit, room)) // (m * g)) if m else 1
            units = math.ceil(left / 2) if units < left < 1.5 * units else units  # avoids a single last point
            chunk = list(islice(points, units * g))
            if not chunk:
                return
            units = len(chunk) // g
            left -= units
            # (unit, member, sample) -> (member, unit x sample): each member of the groups is one contiguous part.
            stacked = torch.stack(chunk) if len(chunk) > 1 else chunk[0].unsqueeze(0)
            if repeats is not None:
                new = repeats.new(chunk, stacked)
                if not bool(new.all()):
                    rows = stacked[new].unsqueeze(0)
                    del chunk, stacked
                    yield from repeats.filled(self._only(kind, rows, samples, new), new)
                    continue
            flat = stacked.unflatten(0, (units, g)).transpose(0, 1).reshape(g, units * m, -1)
            del chunk, stacked
            answer = self._chunk(kind, flat, samples.repeat(units))
            del flat
            if repeats is not None:
                repeats.learn(answer.value.view(units, m))
            for unit in range(units):
                for member in range(g):
                    at = (member * units + unit) * m
                    yield answer.part(slice(at, at + m))

    def _may_repeat(self, kind: _Kind, group: int) -> bool:
        """Whether equal points may share an answer. Not under create_graph: each answer needs its own graph."""
        return kind.want == Want.VALUE and group == 1 and kind.rule is None and not kind.subject.create_graph

    def _only(self, kind: _Kind, flat: Tensor, samples: Tensor, new: Tensor) -> Tensor | None:
        """The values at the points (1, r, d), which are the `new` rows of (units, m); None if there are none."""
        skipped = new.numel() - flat.shape[1]
        self.counters.count(skipped, backward=False)
        self._done += skipped
        return self._chunk(kind, flat, samples.expand(new.shape)[new]).value if flat.shape[1] else None

    def _chunk(self, kind: _Kind, flat: Tensor, samples: Tensor) -> Answer:
        """Evaluate (g, u, d) points in pieces of at most the limit's rows; the answer has g x u rows."""
        g, units, _ = flat.shape
        padded = kind.subject.padded
        if padded is not None and units > 1:
            order = padded.falling(samples).to(flat.device)
            answer = self._pieces(kind, flat[:, order], samples[order])
            back = torch.cat([order.argsort() + member * units for member in range(g)])
            return answer.part(back)
        return self._pieces(kind, flat, samples)

    def _pieces(self, kind: _Kind, flat: Tensor, samples: Tensor) -> Answer:
        g, units, d = flat.shape
        pieces: list[Answer] = []
        done = 0
        while done < units:
            size = _size(kind.subject.padded, samples[done:], max(1, kind.limits.limit // g))
            rows = flat[:, done : done + size].reshape(g * size, d)
            piece = self._piece(kind, rows, samples[done : done + size].repeat(g), more=size > 1)
            if piece is None:
                continue  # smaller rows now
            pieces.append(piece)
            done += size
        return _join(pieces, g)

    def _beside_one(self, plan: Plan, shared: Callable[[int], Rule], kind: _Kind, samples: Tensor) -> Iterator[Answer]:
        """(input, reference) pairs with one reference for all samples: the reference passes once per chunk.

        The answers to the second point repeat those to the first.
        """
        m, points, left = len(samples), iter(plan.points), plan.n_points // 2
        while left:
            units = _share(left, max(1, kind.limits.limit // (m + 1)))
            chunk = list(islice(points, 2 * units))
            left -= units
            x, x0 = torch.stack(chunk[::2], 1), torch.stack([point[0] for point in chunk[1::2]])  # (m, u, d), (u, d)
            del chunk
            unit = 0
            while unit < len(x0):
                pieces: list[Answer] = []
                done = count = 0
                while done < m:
                    if done == 0:
                        count = max(1, min(len(x0) - unit, kind.limits.limit // (m + 1)))
                    size = _size(None, samples[done:], max(1, kind.limits.limit // count - 1))
                    of = slice(unit, unit + count)
                    flat = torch.cat([x[done : done + size, of], x0[None, of]]).flatten(0, 1)
                    which = torch.cat([samples[done : done + size], samples[done : done + 1]])
                    piece = self._piece(
                        replace(kind, rule=shared(size)), flat, which.repeat_interleave(count),
                        more=size > 1 or count > 1, asked=2 * size * count,
                    )  # fmt: skip
                    if piece is not None:
                        pieces.append(piece.part(slice(0, size * count)))
                        done += size
                answer = _join(pieces, 1)
                for each in range(count):
                    own = answer.part(slice(each, None, count))
                    yield from (own, own)
                unit += count

    def _piece(
        self, kind: _Kind, flat: Tensor, samples: Tensor, *, more: bool, asked: int | None = None
    ) -> Answer | None:
        """The answer to rows (r, d); None if memory ran out and fewer rows must be tried. `more`: more rows follow.

        `asked`: rows to count, if the plan asked for more than are sent.
        """
        rows = len(flat)
        failure: str | None = None
        try:
            answer = self._evaluate(kind, flat, samples)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            failure = str(error)
        except MemoryError as error:
            failure = str(error)
        if failure is not None:
            # Outside the except block, which would keep the failed frames and their tensors alive.
            if not more:
                raise OutOfMemory(f"out of memory with a single example in flight: {failure}")
            kind.limits.failed(rows)
            self.counters.repeated_rows += rows
            if self._subject.device.type == "cuda":
                torch.cuda.empty_cache()
            return None
        asked = rows if asked is None else asked
        self.counters.count(asked, backward=Want.GRADIENT in kind.want)
        self.counters.peak_bytes = max(self.counters.peak_bytes, kind.limits.peak_at(rows))
        _check(answer, samples)
        self._mark = time.perf_counter()
        self._done += asked
        if self._progress is not None:
            self._progress(self._done, self.of)
        return answer

    def _evaluate(self, kind: _Kind, flat: Tensor, samples: Tensor) -> Answer:
        rows, device, limits = len(flat), kind.subject.device, kind.limits
        measuring = limits.needs_measuring(rows)
        if measuring:
            with PeakMemory(device) as peak:
                answer = kind.subject.evaluate(flat, samples, kind.want, kind.rule)
            limits.measured(rows, math.ceil(peak.bytes / kind.subject.filled(samples)))  # scaled to full length
        else:
            answer = kind.subject.evaluate(flat, samples, kind.want, kind.rule)
        if not limits.settled:
            synchronise(device)
        # Measuring memory slows an evaluation down.
        if not measuring and not limits.settled and self._mark is not None:
            limits.timed(rows, time.perf_counter() - self._mark)
        self.counters.rewrites.update({**kind.form.notes, **kind.subject.remarks()})
        return answer


def _check(answer: Answer, samples: Tensor) -> None:
    bad = ~torch.isfinite(answer.value)
    if answer.gradient is not None:
        bad = bad | ~torch.isfinite(answer.gradient).all(1)
    if bool(bad.any()):
        which = sorted(set(samples[bad].tolist()))
        shown = ", ".join(map(str, which[:5])) + (", ..." if len(which) > 5 else "")
        raise NonFiniteError(f"the model gave NaN or infinity for {len(which)} sample(s), at position {shown}")


def _size(padded: Padded | None, samples: Tensor, most: int) -> int:
    """The samples in the next piece: those of one length, or an equal share, which avoids a single last row."""
    if padded is not None:
        return padded.batch(samples, most)
    return _share(len(samples), most)


def _share(count: int, most: int) -> int:
    """An equal share of a count, at most `most`."""
    return math.ceil(count / math.ceil(count / most))


def synchronise(device: torch.device) -> None:
    """Wait for the device, so that the clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _join(pieces: Sequence[Answer], group: int) -> Answer:
    """Join answers of (g x size) rows each to one of (g x units) rows, ordered by member of the group."""
    if len(pieces) == 1:
        return pieces[0]

    def cat(parts: list[Tensor | None]) -> Tensor | None:
        present = [p.unflatten(0, (group, -1)) for p in parts if p is not None]
        return torch.cat(present, dim=1).flatten(0, 1) if present else None

    value = cat([piece.value for piece in pieces])
    assert value is not None
    return Answer(value, cat([piece.gradient for piece in pieces]), cat([piece.activation for piece in pieces]))
