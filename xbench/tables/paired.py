"""Differences of two methods on the same samples: tests, effect sizes, intervals. Pure functions of arrays.

A row of `differences` (P, n) is one pair of methods, a column one sample. NaN is a sample on which one of the two has
no number: it is left out of that pair alone, so that every result is that of the pair's other samples.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc, stdtrit

from xbench.tables.agreement import Numbers
from xbench.tables.stats import RESAMPLES, drawn_blocks

EXACT = 50  # up to so many samples the distribution of the ranks is computed, beyond it the normal one stands for it
MOST_RESAMPLED = 5000  # beyond so many samples the bootstrap tells nothing that Student's t does not
_TIED = 1e-5  # share of the larger magnitude: two float32 sums in another order differ by less
_NO_SPREAD = 1e-12  # share of a resample's mean square that is its variance; below it all of its values are equal
_HELD = 2**22  # differences held at once: 32 MiB
_DRAWS = 4000  # of a posterior distribution
_SEED = 20191


class SignedRanks(NamedTuple):
    """The signed-rank test of each pair, (P,) each; NaN where no sample is left."""

    p: Numbers
    rank_biserial: Numbers


class Intervals(NamedTuple):
    """Mean differences with their intervals, (P,) each."""

    mean: Numbers
    low: Numbers
    high: Numbers
    resampled: NDArray[np.bool_]  # False: too few samples differ to be resampled, or there are too many samples


class Posterior(NamedTuple):
    """The probability that each is the most probable: a difference below, within and above the region."""

    below: float
    within: float
    above: float


def differences(values: Numbers, pairs: tuple[NDArray[np.intp], NDArray[np.intp]]) -> Numbers:
    """The first less the second row of each pair, (P, n), from the rows' values (A, n).

    Two values are tied, and their difference is 0, where they differ by at most 1e-5 of the larger magnitude: maps of
    one method under two names differ by rounding, and a test of ranks takes every difference for one.
    """
    first, second = pairs
    gap = values[first] - values[second]
    size = np.abs(values)
    found: Numbers = np.where(np.abs(gap) <= _TIED * np.maximum(size[first], size[second]), 0.0, gap)
    return found


def signed_rank(differences: Numbers) -> SignedRanks:
    """The two-sided signed-rank test of each pair, with Pratt's zeros, and the matched-pairs rank-biserial correlation.

    Samples are ranked by |d|, equal ones share their mean rank, and zeros keep their ranks but count for neither side:

        W+ = sum of the ranks with d > 0,   W- = sum of the ranks with d < 0
        p  = P(max(W+, W-) or more | ranks) * 2, at most 1, each sign being + or - with probability 1/2
        r  = (W+ - W-) / (W+ + W-), 0 if all are zero

    Up to 50 samples p is exact, given ties and zeros; beyond, z = (W+ - W-) / sqrt(sum of squared ranks) is normal.
    Sources: F. Wilcoxon 1945, "Individual Comparisons by Ranking Methods"; J. W. Pratt 1959, "Remarks on Zeros and Ties
    in the Wilcoxon Signed Rank Procedures"; D. S. Kerby 2014, "The Simple Difference Formula" (doi
    10.2466/11.IT.3.1).
    """
    size = np.abs(differences)
    order = np.argsort(size, axis=1)
    signs = np.nan_to_num(np.sign(np.take_along_axis(differences, order, axis=1)))
    ranks = np.where(signs == 0, 0.0, _mean_ranks(np.take_along_axis(size, order, axis=1)))
    count = (~np.isnan(differences)).sum(1)
    plus, minus = (np.where(signs == side, ranks, 0).sum(1) for side in (1, -1))
    total = plus + minus
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(total > 0, np.abs(plus - minus) / np.sqrt(np.square(ranks).sum(1)), 0.0)
        correlation = np.where(total > 0, (plus - minus) / total, 0.0)
    p = erfc(z / math.sqrt(2))
    small = np.flatnonzero((count > 0) & (count <= EXACT))
    if small.size:
        doubled = (2 * ranks[small]).astype(np.int64)  # a mean rank may end in a half
        different, which = np.unique(doubled[:, :EXACT], axis=0, return_inverse=True)
        tails = [_tail(tuple(row[row > 0].tolist())) for row in different]
        most = (2 * np.maximum(plus, minus)[small]).astype(np.int64)
        p[small] = [min(1.0, 2 * tails[row][w]) for row, w in zip(which.ravel(), most, strict=True)]
    nothing = count == 0
    p[nothing] = correlation[nothing] = np.nan
    return SignedRanks(p, correlation)


def better(differences: Numbers) -> Numbers:
    """The share of samples with a positive difference, ties by half, (P,); NaN where no sample is left.

    The probability that the first of the pair has the larger value on a sample (common-language effect size).
    """
    count = (~np.isnan(differences)).sum(1)
    wins = (differences > 0).sum(1) + (differences == 0).sum(1) / 2
    share: Numbers = np.where(count > 0, wins / np.maximum(count, 1), np.nan)
    return share


def holm(p: Numbers) -> Numbers:
    """p-values adjusted for all that are tested together, in their order; NaN is no test.

        p'(k) = max over j <= k of min(1, (m - j + 1) p(j)),   p(1) <= ... <= p(m)

    The chance of any false positive is at most the level. Source: S. Holm 1979, "A Simple Sequentially Rejective
    Multiple Test Procedure".
    """
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return adjusted


def mean_differences(differences: Numbers, level: float = 0.95) -> Intervals:
    """The mean of each pair's differences and its interval; NaN where no sample, and no interval where one, is left.

    Each end is the wider one of two intervals: the bootstrap-t, of the quantiles of (mean* - mean) / se* in 2,000
    resamples, and Student's t. The former follows a skewed distribution, the latter a symmetric one with heavy tails;
    `docs/statistics.md` has the measured coverage of both and of others. Student's t alone is taken where more than
    (1 - level)/2 of the resamples of one side have no spread, as where few samples differ, and beyond 5,000 samples.
    The draws are keyed by the number of samples, and the values sorted: only the values matter, and the pair in the
    other order has the opposite interval.
    Source: B. Efron and R. Tibshirani 1993, "An Introduction to the Bootstrap", section 12.5.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    pairs = len(differences)
    mean, low, high = (np.full(pairs, np.nan) for _ in range(3))
    resampled = np.zeros(pairs, dtype=bool)
    counts = (~np.isnan(differences)).sum(1)
    for n in np.unique(counts[counts > 0]):
        of = np.flatnonzero(counts == n)
        for start in range(0, len(of), max(1, _HELD // max(int(n), RESAMPLES))):
            some = of[start : start + max(1, _HELD // max(int(n), RESAMPLES))]
            mean[some], low[some], high[some], resampled[some] = _intervals(differences[some], int(n), level)
    return Intervals(mean, low, high, resampled)


def bayesian_signed_rank(differences: Numbers, rope: float = 0.0) -> Posterior:
    """How probable a pair's difference (n,) is below, within and above the region [-rope, rope].

    The Dirichlet process has the weights w ~ Dir(1/2, 1, ..., 1) over d_0 = 0 and the differences; a draw says

        above = sum_ij w_i w_j [d_i + d_j > 2 rope],   below alike,   within = 1 - above - below

    (an equality counts half), and the probabilities are the shares of 4,000 draws in which each is the largest. NaN
    is left out; without a difference all are NaN. Source: A. Benavoli, F. Mangili, G. Corani, M. Zaffalon, F. Ruggeri
    2014, "A Bayesian Wilcoxon signed-rank test based on the Dirichlet process".

    Raises:
        ValueError: `rope` is negative.
    """
    if rope < 0:
        raise ValueError(f"rope must be at least 0, got {rope}")
    known = differences[~np.isnan(differences)]
    if not known.size:
        return Posterior(math.nan, math.nan, math.nan)
    values = np.sort(np.append(known, 0.0))
    alpha = np.ones(len(values))
    alpha[np.searchsorted(values, 0.0)] = 0.5
    weights = np.ascontiguousarray(np.random.default_rng([_SEED, known.size]).dirichlet(alpha, size=_DRAWS).T)
    above = _more_than(values, weights, 2 * rope)
    below = _more_than(-values[::-1], weights[::-1], 2 * rope)
    shares = np.stack([below, 1 - above - below, above])
    largest = shares >= shares.max(0) - 1e-12  # a tie up to rounding is a tie
    return Posterior(*(largest / largest.sum(0)).mean(1).tolist())


def _mean_ranks(ordered: Numbers) -> Numbers:
    """The ranks from 1 on of the entries of each row, which is in order; equal ones share their mean rank."""
    n = ordered.shape[1]
    place = np.arange(n)
    starts = np.ones(ordered.shape, dtype=bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ends = np.ones(ordered.shape, dtype=bool)
    ends[:, :-1] = starts[:, 1:]
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, place, n)[:, ::-1], axis=1)[:, ::-1]
    ranks: Numbers = (first + last) / 2 + 1
    return ranks


@functools.lru_cache(maxsize=4096)
def _tail(ranks: tuple[int, ...]) -> Numbers:
    """P(W >= w) for w = 0, 1, ... of W, the sum of the ranks whose sign is +, each with probability 1/2."""
    density = np.zeros(sum(ranks) + 1)
    density[0] = 1.0
    for rank in ranks:
        density[rank:] += density[: density.size - rank].copy()
        density /= 2
    tail: Numbers = np.cumsum(density[::-1])[::-1]
    return tail


def _intervals(differences: Numbers, n: int, level: float) -> tuple[Numbers, Numbers, Numbers, NDArray[np.bool_]]:
    """`mean_differences` of pairs that all have n samples left."""
    values = np.sort(differences, axis=1)[:, :n]  # NaN goes last
    mean = values.mean(1)
    constant = values[:, 0] == values[:, -1]
    mean[constant] = values[constant, 0]  # and not its sum's rounding
    if n == 1:
        return mean, np.full(len(mean), np.nan), np.full(len(mean), np.nan), np.zeros(len(mean), dtype=bool)
    flipped = mean < 0  # the pair in the other order is resampled in the same way
    values[flipped] = -values[flipped, ::-1]
    centred = values - np.abs(mean)[:, None]
    error = np.sqrt(np.square(centred).sum(1) / (n * (n - 1)))
    error[constant] = 0
    tail = (1 - level) / 2
    upper = np.full(len(mean), stdtrit(n - 1, 1 - tail))
    lower = -upper
    resampled = np.zeros(len(mean), dtype=bool)
    if n <= MOST_RESAMPLED:
        first, last = _bootstrap_t(centred, tail)
        resampled = np.isfinite(first) & np.isfinite(last) & ~constant
        # The scale of a resample has the divisor n, that of the sample n - 1.
        factor = math.sqrt((n - 1) / n)
        lower[resampled] = np.minimum(lower, factor * first)[resampled]
        upper[resampled] = np.maximum(upper, factor * last)[resampled]
    size = np.abs(mean)
    low, high = size - upper * error, size - lower * error
    return mean, np.where(flipped, -high, low), np.where(flipped, -low, high), resampled


def _bootstrap_t(centred: Numbers, tail: float) -> tuple[Numbers, Numbers]:
    """The quantiles at `tail` and 1 - `tail` of a resample's mean by its standard error, from (P, n) with mean 0."""
    n = centred.shape[1]
    ratios = np.empty((RESAMPLES, len(centred)))
    start = 0
    for shares in drawn_blocks(n):
        means, squares = shares @ centred.T, shares @ np.square(centred).T
        variances = squares - np.square(means)
        variances[variances <= _NO_SPREAD * squares] = 0
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios[start : start + len(shares)] = np.nan_to_num(
                means / np.sqrt(variances / n), nan=0.0, posinf=np.inf, neginf=-np.inf
            )
        start += len(shares)
    places = max(0, round(tail * RESAMPLES) - 1)
    ratios.partition((places, RESAMPLES - 1 - places), axis=0)
    return ratios[places], ratios[RESAMPLES - 1 - places]


def _more_than(values: Numbers, weights: Numbers, bound: float) -> Numbers:
    """Sum over i, j of w_i w_j [v_i + v_j > bound], an equality by half, for values in order and weights (n, R)."""
    rest = np.zeros((len(values) + 1, weights.shape[1]))
    rest[:-1] = np.cumsum(weights[::-1], axis=0)[::-1]  # of the values from here on
    least, most = (np.searchsorted(values, bound - values, side=side) for side in ("left", "right"))
    sums: Numbers = (weights * (rest[least] + rest[most])).sum(0) / 2
    return sums
