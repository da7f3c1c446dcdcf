"""How many rows go through the model at once: bounded by memory, found by throughput, halved when memory ends."""

from __future__ import annotations

from dataclasses import dataclass, field

_FIRST = 4  # rows of the first evaluation: safe also for a large model, where more would gain little
CACHES = 32 * 2**20  # bytes: about what a CPU's caches hold; larger evaluations cost page faults there
# (rows up to, multiple of `enough` bytes allowed): small batches are dominated by the cost of a call.
_LEVELS = ((32, 4.0), (128, 1.0), (1 << 30, 0.25))
PLENTY = 8 * 2**30  # bytes: with that much in flight a GPU is busy
_FAR = 1.25  # memory is extrapolated up to so many times the largest measured batch, and measured again beyond
_EQUAL = 0.95  # of levels this close the largest is kept: it has the fewest calls


@dataclass(eq=False)
class RowLimit:
    """Rows per evaluation of one kind (same model, same device, same things read).

    The first, small evaluation tells what a row takes. From then on as many rows as `enough` bytes hold go through
    the model at once (more bytes where those are few, fewer where they are many), and half as many wherever that turns
    out faster on useful work; the best is kept. Never beyond the budget divided by the measured bytes per row. `fixed`
    rows switch the search off.
    """

    budget: int
    fixed: int | None = None
    enough: int = CACHES
    rows: int = _FIRST
    settled: bool = False
    peak_bytes: dict[int, int] = field(default_factory=dict)
    _rates: dict[int, list[float]] = field(default_factory=dict)
    _ceiling: int = 1 << 30

    def __post_init__(self) -> None:
        if self.fixed is not None:
            self.rows, self.settled = self.fixed, True

    @property
    def limit(self) -> int:
        """Rows allowed in one evaluation now."""
        affordable = 1 << 30 if self.fixed is not None else self._affordable()
        return max(1, min(self.rows, self._ceiling, affordable))

    @property
    def slice_limit(self) -> int:
        """The most samples worth keeping in flight: what memory allows, however many rows are evaluated at once."""
        return self.limit if self.fixed is not None else self._affordable()

    def needs_measuring(self, rows: int) -> bool:
        """Whether `rows` is far more than any evaluation whose memory was measured."""
        return rows > _FAR * max(self.peak_bytes, default=0)

    def measured(self, rows: int, peak: int) -> None:
        """Record the peak bytes of an evaluation; as long as none was timed, they say where to start."""
        self.peak_bytes[rows] = peak
        if not self.settled and not self._rates:
            held = self.enough * rows / max(peak, 1)
            self.rows = max(_FIRST, *(min(most, _power_of_two(int(times * held))) for most, times in _LEVELS))

    def begin(self, budget: int) -> None:
        """A new run: its budget, and after an earlier failure a careful try at more, for memory comes and goes."""
        self.budget = budget
        self._ceiling = min(2 * self._ceiling, 1 << 30)

    def peak_at(self, rows: int) -> int:
        """Peak bytes of an evaluation of `rows`, from the nearest measured one that is at least as large, or nearly."""
        nearest = min((r for r in self.peak_bytes if r >= rows), default=max(self.peak_bytes))
        return self.peak_bytes[nearest] * rows // nearest

    def timed(self, rows: int, seconds: float) -> None:
        """Record the seconds of an evaluation; after two about as large as allowed, go down or settle."""
        if self.settled or 4 * rows <= self.rows:
            return  # also when the budget keeps the rows small: nothing was learnt about speed
        rates = self._rates.setdefault(self.rows, [])
        rates.append(rows / max(seconds, 1e-9))
        if len(rates) < 2:
            return
        speeds = {allowed: max(seen) for allowed, seen in self._rates.items() if len(seen) > 1}
        best = max(speeds.values())
        good = max(allowed for allowed, speed in speeds.items() if speed >= _EQUAL * best)
        if self.rows < good or self.rows == 1:
            self.rows, self.settled = good, True
        else:
            self.rows //= 2

    def failed(self, rows: int) -> None:
        """Memory ended at `rows`: half of that at most, from now on."""
        self._ceiling = max(rows // 2, 1)

    def _affordable(self) -> int:
        # Per-row bytes from the largest evaluation seen: the fixed part weighs least there.
        if not self.peak_bytes:
            return 1 << 30
        rows = max(self.peak_bytes)
        return max(1, self.budget * rows // max(self.peak_bytes[rows], 1))


def _power_of_two(number: int) -> int:
    """The largest one that is not above `number`, at least 1."""
    return 1 << max(0, number.bit_length() - 1)
