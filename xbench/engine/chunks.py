"""Cuts the points of a plan into chunks, rectangles of (samples x points), and these into rows that fit.

As many points of a slice of samples as the row limit allows go through the model together; a point of a wide slice is
cut into pieces of rows. The points of a group stay together: their rows face each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.plan import Answer, Plan, Want, beside
from xbench.engine.evaluation import Batch, Evaluator, PlanEvaluation
from xbench.engine.order import AHEAD, batch_size, by_length, share
from xbench.engine.points import PointReader
from xbench.engine.repeats import Repeats


@dataclass(frozen=True)
class Chunks:
    """The chunks of a plan on a slice of the samples.

    Attributes:
        how: how its rows are evaluated.
        samples: (m,) positions of the samples.
        room: rows of points that memory holds.
        evaluator: sends rows.
    """

    plan: Plan
    how: PlanEvaluation
    samples: Tensor
    room: int
    evaluator: Evaluator

    def answers(self) -> Iterator[Answer]:
        """One answer per point, in order."""
        if self.plan.common and len(self.samples) > 1 and self.how.subject.by_points_alone:
            return self._beside_common()
        return self._columns()

    def _columns(self) -> Iterator[Answer]:
        """Chunks of whole groups, in which each sample has a row at every point."""
        m, g = len(self.samples), self.plan.group
        points, left = PointReader(self.plan.points), self.plan.n_points // g
        # Rows of unequal length are sorted by length, which needs more rows than one evaluation takes.
        ahead = 1 if self.how.subject.padded is None else AHEAD
        repeats = Repeats(self.plan.period or self.plan.n_points) if self._may_repeat else None
        while True:
            limit = self.how.limit
            units = max(1, min(ahead * limit, max(limit, self.room)) // (m * g)) if m else 1
            units = math.ceil(left / 2) if units < left < 1.5 * units else units  # avoids a single last point
            taken = points.take(units * g)
            if not taken:
                return
            # (unit, member, sample) -> (member, unit x sample): each member of the groups is one contiguous part.
            stacked = _stacked(taken, m)
            del taken
            units = len(stacked) // g
            left -= units
            if repeats is not None:
                new = repeats.new(stacked)
                if not bool(new.all()):
                    rows = stacked[new].unsqueeze(0)
                    del stacked
                    yield from repeats.filled(self._only(rows, new), new)
                    continue
            flat = stacked.unflatten(0, (units, g)).transpose(0, 1).reshape(g, units * m, -1)
            del stacked
            answer = by_length(self.how.subject.padded, flat, self.samples.repeat(units), self._pieces)
            del flat
            if repeats is not None:
                repeats.learn(answer.value.view(units, m))
            for unit in range(units):
                for member in range(g):
                    at = (member * units + unit) * m
                    yield answer.part(slice(at, at + m))

    @property
    def _may_repeat(self) -> bool:
        """Whether equal points may share an answer. Not under create_graph: each answer needs its own graph."""
        plan, subject = self.plan, self.how.subject
        return plan.want == Want.VALUE and plan.group == 1 and plan.rule is None and not subject.create_graph

    def _only(self, flat: Tensor, new: Tensor) -> Tensor | None:
        """The values at the points (1, r, d), which are the `new` rows of (units, m); None if there are none."""
        self.evaluator.skip(new.numel() - flat.shape[1])
        if not flat.shape[1]:
            return None
        return by_length(self.how.subject.padded, flat, self.samples.expand(new.shape)[new], self._pieces).value

    def _pieces(self, flat: Tensor, samples: Tensor) -> Answer:
        """Evaluate columns (g, u, d) in pieces of at most the limit's rows; the answer has g x u rows."""
        g, units, d = flat.shape
        pieces: list[Answer] = []
        done = 0
        while done < units:
            size = batch_size(self.how.subject.padded, samples[done:], max(1, self.how.limit // g))
            rows = flat[:, done : done + size].reshape(g * size, d)
            which = samples[done : done + size].repeat(g)
            piece = self.evaluator.answer(
                self.how, Batch(rows, which, self.how.rule, asked=g * size, divisible=size > 1)
            )
            if piece is None:
                continue  # smaller rows now
            pieces.append(piece)
            done += size
        return _joined(pieces, g)

    def _beside_common(self) -> Iterator[Answer]:
        """Chunks of whole groups whose last point is one row for all samples: it passes once per evaluation.

        The rows are, sample by sample, those at the other points of the groups; behind them the common ones.
        """
        m, g = len(self.samples), self.plan.group
        points, left = PointReader(self.plan.points), self.plan.n_points // g
        while left:
            taken = points.take(g * share(left, max(1, self.how.limit // (m * (g - 1) + 1))))
            if not taken:
                return
            each = [point for stack in taken for point in stack]
            units = len(each) // g
            left -= units
            own = torch.stack([point for member in range(g - 1) for point in each[member::g]], 1)
            own, common = own.unflatten(1, (g - 1, units)), torch.cat(each[g - 1 :: g])  # (m, g - 1, u, d), (u, d)
            del taken, each
            unit = 0
            while unit < units:
                part, parts = self._part(own[:, :, unit:], common[unit:])
                unit += part
                yield from parts

    def _part(self, own: Tensor, common: Tensor) -> tuple[int, Iterator[Answer]]:
        """How many of the groups pass together, and the answers to their points."""
        (m, others, units, _), samples = own.shape, self.samples
        pieces: list[Answer] = []
        behind: Answer | None = None
        done = count = 0
        while done < m:
            if done == 0:
                count = max(1, min(units, self.how.limit // (m * others + 1)))
            size = batch_size(None, samples[done:], max(1, (self.how.limit // count - 1) // others))
            flat = torch.cat([own[done : done + size, :, :count].flatten(0, 2), common[:count]])
            which = torch.cat([samples[done : done + size].repeat_interleave(others), samples[done : done + 1]])
            rule = None if self.how.rule is None else beside(self.how.rule, size * others)
            rows = Batch(
                flat, which.repeat_interleave(count), rule,
                asked=(others + 1) * size * count, divisible=size > 1 or count > 1,
            )  # fmt: skip
            piece = self.evaluator.answer(self.how, rows)
            if piece is not None:
                first = size * others * count
                pieces.append(piece.part(slice(0, first)))
                behind = piece.part(slice(first, None)) if behind is None else behind
                done += size
        assert behind is not None, "there are samples"
        return count, _in_order(_joined(pieces, 1), behind, count, others, m)


def _in_order(own: Answer, common: Answer, count: int, others: int, m: int) -> Iterator[Answer]:
    """The answers to the points of `count` groups, from rows (m, others, count) and the common ones (count)."""
    for unit in range(count):
        for member in range(others):
            yield own.part(slice(member * count + unit, None, others * count))
        yield common.part(slice(unit, unit + 1)).of_all(m)


def _stacked(taken: Sequence[Tensor], m: int) -> Tensor:
    """Stacks of points as one, (k, m, d); a point of one row is the same for all samples."""
    if len(taken) == 1 and taken[0].shape[1] == m:
        return taken[0]
    return torch.cat([stack if stack.shape[1] == m else stack.expand(-1, m, -1) for stack in taken])


def _joined(pieces: Sequence[Answer], group: int) -> Answer:
    """Join answers of (g x size) rows each to one of (g x units) rows, ordered by member of the group."""
    if len(pieces) == 1:
        return pieces[0]

    def cat(parts: list[Tensor | None]) -> Tensor | None:
        present = [p.unflatten(0, (group, -1)) for p in parts if p is not None]
        return torch.cat(present, dim=1).flatten(0, 1) if present else None

    value = cat([piece.value for piece in pieces])
    assert value is not None
    return Answer(value, cat([piece.gradient for piece in pieces]), cat([piece.activation for piece in pieces]))
