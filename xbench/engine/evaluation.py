"""Sends rows through the model: again in smaller numbers where memory ends, measured and timed as far as that tells."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.plan import Answer, Rule, Want
from xbench.engine.counters import Counters
from xbench.engine.memory import OutOfMemory, PeakMemory, is_out_of_memory
from xbench.engine.rewrites.choice import Form
from xbench.engine.rows import RowLimit
from xbench.engine.subject import Subject


class NonFiniteError(RuntimeError):
    """The model returned NaN or infinity."""


@dataclass(frozen=True)
class PlanEvaluation:
    """The settings with which all rows of a plan are evaluated."""

    form: Form
    want: Want
    rule: Rule | None
    limits: RowLimit

    @property
    def subject(self) -> Subject:
        return self.form.subject

    @property
    def limit(self) -> int:
        """Rows allowed in one evaluation now."""
        return self.limits.limit


@dataclass(frozen=True)
class Batch:
    """Rows that pass the model at once.

    Attributes:
        flat: (r, d) points.
        samples: (r,) int64, the sample of each row.
        rule: the backward rule for rows in this order.
        asked: how many rows of the plan they answer.
        divisible: fewer rows can be tried where memory ends.
    """

    flat: Tensor
    samples: Tensor
    rule: Rule | None
    asked: int
    divisible: bool


class Evaluator:
    """Evaluates the rows of one engine's run.

    Attributes:
        counters: what that costs.
        of: total rows of this run, as far as known.
    """

    def __init__(self, device: torch.device, progress: Callable[[int, int], None] | None) -> None:
        self.counters = Counters()
        self.of = 0
        self._device = device
        self._progress = progress
        self._done = 0
        # End of the last rows: computing points and reducing answers count towards the speed too.
        self._mark: float | None = None

    def begin(self) -> None:
        """Begin a new run."""
        self.of = self._done = 0
        self._mark = None

    def skip(self, rows: int) -> None:
        """Count rows whose answer is known."""
        self.counters.count(rows, backward=False)
        self._done += rows

    def answer(self, how: PlanEvaluation, rows: Batch) -> Answer | None:
        """The answer to these rows; None where memory ends, and fewer are to be tried."""
        count = len(rows.flat)
        failure: str | None = None
        try:
            answer = self._evaluate(how, rows)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            failure = str(error)
        except MemoryError as error:
            failure = str(error)
        if failure is not None:
            # Outside the except block, which would keep the failed frames and their tensors alive.
            if not rows.divisible:
                raise OutOfMemory(f"out of memory with a single example in flight: {failure}")
            how.limits.failed(count)
            self.counters.repeated_rows += count
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            return None
        self.counters.count(rows.asked, backward=Want.GRADIENT in how.want)
        self.counters.peak_bytes = max(self.counters.peak_bytes, how.limits.peak_at(count))
        _check(answer, rows.samples)
        self._mark = time.perf_counter()
        self._done += rows.asked
        if self._progress is not None:
            self._progress(self._done, self.of)
        return answer

    def _evaluate(self, how: PlanEvaluation, rows: Batch) -> Answer:
        count, subject, limits = len(rows.flat), how.subject, how.limits
        measuring = limits.needs_measuring(count)
        if measuring:
            with PeakMemory(subject.device) as peak:
                answer = subject.evaluate(rows.flat, rows.samples, how.want, rows.rule)
            # Scaled to full length.
            limits.measured(count, math.ceil(peak.bytes / subject.filled(rows.samples)))
        else:
            answer = subject.evaluate(rows.flat, rows.samples, how.want, rows.rule)
        if not limits.settled:
            synchronise(subject.device)
        # Measuring memory slows an evaluation down.
        if not measuring and not limits.settled and self._mark is not None:
            limits.timed(count, time.perf_counter() - self._mark)
        self.counters.rewrites.update({**how.form.notes, **subject.remarks()})
        return answer


def _check(answer: Answer, samples: Tensor) -> None:
    bad = ~torch.isfinite(answer.value)
    if answer.gradient is not None:
        bad = bad | ~torch.isfinite(answer.gradient).all(1)
    if bool(bad.any()):
        which = sorted(set(samples[bad].tolist()))
        shown = ", ".join(map(str, which[:5])) + (", ..." if len(which) > 5 else "")
        raise NonFiniteError(f"the model gave NaN or infinity for {len(which)} sample(s), at position {shown}")


def synchronise(device: torch.device) -> None:
    """Wait for the device, so that the clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
