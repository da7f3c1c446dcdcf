"""Finds the rows per evaluation: bounded by memory, chosen by throughput, halved when memory runs out."""

from __future__ import annotations

from dataclasses import dataclass, field

_FIRST = 4  # rows of the first evaluation: safe for a large model, where more would gain little
CACHES = 32 * 2**20  # bytes: about the size of a CPU's caches; larger evaluations cause page faults
# (rows up to, multiple of `enough` bytes allowed): small batches are dominated by the cost of a call.
_LEVELS = ((32, 4.0), (128, 1.0), (1 << 30, 0.25))
PLENTY = 8 * 2**30  # bytes: enough to keep a GPU busy
_FAR = 1.25  # memory is extrapolated up to so many times the largest measured batch, and measured again beyond
_EQUAL = 0.95  # among throughputs this close the largest batch is kept: it needs the fewest calls


@dataclass(eq=False)
class RowLimit:
    """Rows per evaluation of one kind (same model, same device, same things read).

    The first, small evaluation measures the bytes per row. The search then starts at the rows that fit into `enough`
    bytes (more bytes for few rows, fewer for many), halves them as long as that is faster on useful work, and keeps the
    best. Rows never exceed the budget divided by the measured bytes per row. `fixed` rows disable the search.
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
        """Rows currently allowed in one evaluation."""
        affordable = 1 << 30 if self.fixed is not None else self._affordable()
        return max(1, min(self.rows, self._ceiling, affordable))

    @property
    def slice_limit(self) -> int:
        """The maximum number of samples in a slice: the memory limit, independent of the rows per evaluation."""
        return self.limit if self.fixed is not None else self._affordable()

    def needs_measuring(self, rows: int) -> bool:
        """Whether `rows` is far above every evaluation whose memory was measured."""
        return rows > _FAR * max(self.peak_bytes, default=0)

    def measured(self, rows: int, peak: int) -> None:
        """Record the peak bytes of an evaluation; until one is timed, they set the start of the search."""
        self.peak_bytes[rows] = peak
        if not self.settled and not self._rates:
            held = self.enough * rows / max(peak, 1)
            self.rows = max(_FIRST, *(min(most, _power_of_two(int(times * held))) for most, times in _LEVELS))

    def begin(self, budget: int) -> None:
        """Begin a run with its budget; after an earlier failure allow a few more rows, because free memory varies."""
        self.budget = budget
        self._ceiling = min(2 * self._ceiling, 1 << 30)

    def peak_at(self, rows: int) -> int:
        """Peak bytes of an evaluation of `rows`, from the nearest measured one of about this size or larger."""
        nearest = min((r for r in self.peak_bytes if r >= rows), default=max(self.peak_bytes))
        return self.peak_bytes[nearest] * rows // nearest

    def timed(self, rows: int, seconds: float) -> None:
        """Record the seconds of an evaluation; after two of about the allowed size, halve the rows or settle."""
        if self.settled or 4 * rows <= self.rows:
            return  # the budget may also keep the rows small: such times do not count
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
        """Record that memory ran out at `rows`: allow at most half from now on."""
        self._ceiling = max(rows // 2, 1)

    def _affordable(self) -> int:
        # Bytes per row from the largest evaluation, where the fixed part matters least.
        if not self.peak_bytes:
            return 1 << 30
        rows = max(self.peak_bytes)
        return max(1, self.budget * rows // max(self.peak_bytes[rows], 1))


def _power_of_two(number: int) -> int:
    """The largest power of two up to `number`, at least 1."""
    return 1 << max(0, number.bit_length() - 1)
