"""Means over samples with bootstrap intervals."""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
_SEED = 20190
_BLOCK = 2**22  # drawn indices held at once: 32 MiB


class Interval(NamedTuple):
    """The mean of the defined values and its bootstrap interval; NaN if there is no defined value."""

    mean: float
    low: float
    high: float
    n: int  # all values
    n_undefined: int  # NaN values


def mean_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> Interval:
    """Percentile bootstrap interval of the mean over samples.

    Resample n values with replacement 2,000 times; the interval runs between the (1 - level)/2 and
    (1 + level)/2 quantiles of the means. Source: An Introduction to the Bootstrap, B. Efron and
    R. Tibshirani, 1993, section 13.3. The draws are keyed by n alone and the values are sorted first, so
    the interval depends only on the values, not on their order, other rows or a global generator.

    NaN is undefined: it is counted and left out of the mean. Without a defined value, mean and interval are NaN; with
    one, or if all are equal, the interval has width zero (and does not show the spread).

    Args:
        values: (n,) one per sample; finite or NaN.
        level: coverage, between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    every = np.asarray(values, dtype=np.float64)
    defined = np.sort(every[~np.isnan(every)])
    undefined = every.size - defined.size
    if not defined.size:
        return Interval(math.nan, math.nan, math.nan, every.size, undefined)
    mean = math.fsum(defined) / defined.size  # exact sum: equal values give exactly that value
    if defined[0] == defined[-1]:
        value = float(defined[0])
        return Interval(value, value, value, every.size, undefined)
    tail = (1 - level) / 2
    low, high = np.quantile(_resampled_means(defined), [tail, 1 - tail])
    return Interval(mean, float(low), float(high), every.size, undefined)


def mean_intervals(values: np.ndarray, level: float = 0.95) -> list[Interval]:
    """`mean_interval` of every column of (n, m), up to the last digits; the draws of equal counts are made once."""
    every = np.asarray(values, dtype=np.float64)
    counts = (~np.isnan(every)).sum(0)
    found: dict[int, Interval] = {}
    for count in np.unique(counts):
        columns = np.flatnonzero(counts == count)
        if count < 2:
            found |= {int(column): mean_interval(every[:, column], level) for column in columns}
            continue
        defined = np.sort(every[:, columns], axis=0)[:count]  # NaN goes last
        shares = drawn_shares(int(count))
        tail = (1 - level) / 2
        for column, own in zip(columns, defined.T, strict=True):
            if own[0] == own[-1]:
                found[int(column)] = mean_interval(every[:, column], level)
                continue
            low, high = np.quantile(shares @ own, [tail, 1 - tail])
            mean = math.fsum(own) / int(count)
            found[int(column)] = Interval(mean, float(low), float(high), len(every), len(every) - int(count))
    return [found[column] for column in range(every.shape[1])]


@functools.lru_cache(maxsize=4)
def drawn_shares(n: int) -> np.ndarray:
    """How much of each of n values is in the mean of each resample, (`RESAMPLES`, n)."""
    return np.concatenate(list(drawn_blocks(n)))


def drawn_blocks(n: int) -> Iterator[np.ndarray]:
    """`drawn_shares` some resamples at a time, (r, n) each, in bounded memory."""
    generator = np.random.default_rng([_SEED, n])
    rows = max(1, _BLOCK // n)
    for start in range(0, RESAMPLES, rows):
        drawn = generator.integers(n, size=(min(rows, RESAMPLES - start), n))
        places = drawn + n * np.arange(len(drawn))[:, None]
        yield np.bincount(places.ravel(), minlength=drawn.size).reshape(drawn.shape) / n


def _resampled_means(values: np.ndarray) -> np.ndarray:
    """Means of `RESAMPLES` samples drawn with replacement from `values` (n,), in bounded memory."""
    generator = np.random.default_rng([_SEED, values.size])
    rows = max(1, _BLOCK // values.size)
    parts = [
        values[generator.integers(values.size, size=(min(rows, RESAMPLES - start), values.size))].mean(axis=1)
        for start in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(parts)
