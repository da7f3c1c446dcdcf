"""How many rows go through the model at once: bounded by memory, found by throughput, halved when memory ends."""

from __future__ import annotations

from dataclasses import dataclass, field

_FIRST = 4  # rows of the first evaluation: safe also for a large model, where more would gain little
_TINY = 2 * 2**20  # bytes: evaluations this small are all overhead, so the next level is four times as large
CACHES = 32 * 2**20  # bytes: about what a CPU's caches hold; larger evaluations only cost page faults there
_WORSE = 0.9  # a level this much slower than one half or a quarter as large ends the search
_PATIENCE = 4  # so much beyond the fastest level: one slow level may be a busy machine's
_EQUAL = 0.95  # of levels this close the largest is kept: it has the fewest calls


@dataclass(eq=False)
class RowLimit:
    """Rows per evaluation of one kind (same model, same device, same things read).

    Starts small and goes up on useful work until rows per second get worse or an evaluation takes `enough` bytes,
    then keeps the best; never beyond the budget divided by the measured bytes per row. `fixed` rows switch the
    search off.
    """

    budget: int
    fixed: int | None = None
    enough: int | None = None
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
        """Whether `rows` is more than any evaluation whose memory was measured."""
        return rows > max(self.peak_bytes, default=0)

    def measured(self, rows: int, peak: int) -> None:
        """Record the peak bytes of an evaluation."""
        self.peak_bytes[rows] = peak

    def begin(self, budget: int) -> None:
        """A new run: its budget, and after an earlier failure a careful try at more, for memory comes and goes."""
        self.budget = budget
        self._ceiling = min(2 * self._ceiling, 1 << 30)

    def peak_at(self, rows: int) -> int:
        """Peak bytes of an evaluation of `rows`, from the nearest measured one that is at least as large."""
        nearest = min(r for r in self.peak_bytes if r >= rows)
        return self.peak_bytes[nearest] * rows // nearest

    def timed(self, rows: int, seconds: float) -> None:
        """Record the seconds of an evaluation; after two about as large as allowed, go up or settle."""
        rates = self._rates.setdefault(rows, [])
        rates.append(rows / max(seconds, 1e-9))
        if self.settled or 4 * rows <= self.rows or len(rates) < 2:
            return  # also when the budget keeps the rows small: nothing was learnt about speed
        speeds = {r: max(seen) for r, seen in self._rates.items() if len(seen) > 1}
        best = max(speeds.values())
        good = [r for r, speed in speeds.items() if speed >= _EQUAL * best]
        step = 4 if self.peak_at(rows) < _TINY else 2
        beyond = self.enough is not None and step * self.peak_at(rows) > self.enough
        if beyond or (speeds[rows] < _WORSE * best and rows >= _PATIENCE * max(good)):
            self.rows, self.settled = max(good), True
        else:
            self.rows *= step

    def failed(self, rows: int) -> None:
        """Memory ended at `rows`: half of that at most, from now on."""
        self._ceiling = max(rows // 2, 1)

    def _affordable(self) -> int:
        # Per-row bytes from the largest evaluation seen: the fixed part weighs least there.
        if not self.peak_bytes:
            return 1 << 30
        rows = max(self.peak_bytes)
        return max(1, self.budget * rows // max(self.peak_bytes[rows], 1))
