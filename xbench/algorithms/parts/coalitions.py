"""Distinct random coalitions of features for the regression whose solution are the Shapley values.

In that regression all sizes 1..k-1 are equally important: the leverage scores of the coalitions of one size,
1 / C(k, size) each, sum to 1. So every size gets the same share c of the draws, or all its coalitions if there are
fewer: a coalition is drawn with probability p = min(1, c / C(k, size)), where the p of all coalitions sum to the number
of draws. Its weight is the Shapley kernel divided by p, which keeps the sums of the regression unbiased.
Source: Musco, Witter 2025, "Provably Accurate Shapley Value Estimation via Leverage Score Sampling" (arXiv 2410.01917).
In the paper the number of draws is random; here it is fixed, and each size gets its expected number, rounded.
"""

from __future__ import annotations

from itertools import combinations, islice

import numpy as np


def draw_determining(rng: np.random.Generator, k: int, count: int, paired: bool) -> tuple[np.ndarray, np.ndarray]:
    """Draw coalitions that, with the known sum, determine all k values if `count` is at least k - 1.

    A pair is one equation, not two: for a linear model its second coalition follows from the first and the sum. If
    there are too few pairs, coalitions are drawn one by one; if a draw leaves values undetermined by chance, it is
    repeated.
    """
    enough = count >= k - 1
    paired = paired and not (enough and -(-count // 2) < k - 1)
    drawn = draw_coalitions(rng, k, count, paired)
    while enough and not _determine(drawn[0]):
        drawn = draw_coalitions(rng, k, count, paired)
    return drawn


def _determine(present: np.ndarray) -> bool:
    """Whether the sums of values over the coalitions (S, k), and over all features, determine the k values."""
    k = present.shape[1]
    z = present.astype(float)
    return bool(np.linalg.matrix_rank(z.T @ z + 1, hermitian=True) == k)


def draw_coalitions(rng: np.random.Generator, k: int, count: int, paired: bool) -> tuple[np.ndarray, np.ndarray]:
    """Distinct coalitions (count, k) bool, neither empty nor full, and their weights (count,): kernel / probability.

    `count` is at most 2^k - 2. Paired: each is followed by its complement; if `count` is odd, a random one is dropped.
    """
    draws = -(-count // 2) if paired else count
    sizes = np.arange(1, (k // 2 if paired else k - 1) + 1)
    # Coalitions of half the features have the same size as their complements: half as many pairs.
    units = np.where(paired & (2 * sizes == k), 1, 2)
    numbers = _how_many(k, 4 * draws + 4)[sizes - 1] * units // 2
    counts, expected = _allot(rng, numbers, units, draws)
    weights = (k - 1) / (sizes * (k - sizes)) * units / (2 * expected)  # the kernel of the whole size / its share
    rare = numbers <= 2 * counts
    parts = [
        _choose(rng, k, int(size), int(number), int(wanted))
        for size, number, wanted in zip(sizes[rare], numbers[rare], counts[rare], strict=True)
    ]
    common = np.repeat(sizes[~rare], counts[~rare])
    present = np.concatenate([*parts, _differ(rng, k, common, paired)])
    weights = np.concatenate([np.repeat(weights[some], counts[some]) for some in (rare, ~rare)])
    if paired:
        present, weights = np.stack([present, ~present], 1).reshape(-1, k), weights.repeat(2)
    if len(present) > count:
        kept = np.delete(np.arange(len(present)), rng.integers(len(present)))
        return present[kept], weights[kept] * len(present) / count
    return present, weights


def _how_many(k: int, most: int) -> np.ndarray:
    """C(k, size) for the sizes 1..k-1, at most `most`."""
    found = np.full(k - 1, most)
    number = 1
    for size in range(1, k // 2 + 1):
        number = number * (k - size + 1) // size
        if number >= most:
            break
        found[size - 1] = found[k - size - 1] = number
    return found


def _allot(
    rng: np.random.Generator, numbers: np.ndarray, units: np.ndarray, draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """The number of `draws` of each size, and its expectation: the share by `units`, at most `numbers`.

    One random offset rounds all numbers up or down and keeps their sum (systematic sampling, in integers).
    """
    whole = np.zeros(len(numbers), dtype=bool)
    while True:
        left, share = draws - numbers[whole].sum(), units[~whole].sum()
        more = ~whole & (numbers * share <= units * left)
        if not more.any():
            break
        whole |= more
    counts, expected, share = numbers.copy(), numbers.astype(float), max(1, share)
    ends = (left * units[~whole].cumsum() + rng.integers(share)) // share
    counts[~whole] = np.diff(ends, prepend=0)
    expected[~whole] = left * units[~whole] / share
    return counts, expected


def _choose(rng: np.random.Generator, k: int, size: int, number: int, wanted: int) -> np.ndarray:
    """`wanted` of the first `number` coalitions of a size in lexicographic order, where feature 0 comes first."""
    inverted = 2 * size > k
    few = k - size if inverted else size
    members = np.array(list(islice(combinations(range(k), few), number))).reshape(number, few)
    present = np.zeros((wanted, k), dtype=bool)
    np.put_along_axis(present, members[np.sort(rng.permutation(number)[:wanted])], True, axis=1)
    return ~present if inverted else present


def _differ(rng: np.random.Generator, k: int, sizes: np.ndarray, paired: bool) -> np.ndarray:
    """One coalition per entry of `sizes`, all distinct; paired: no two are complements of each other."""
    present = np.zeros((len(sizes), k), dtype=bool)
    again = np.arange(len(sizes))
    while len(again):
        drawn = rng.permuted(np.arange(k) < sizes[again, None], axis=1)
        # Of two complements of equal size, the one with feature 0 represents the pair.
        present[again] = drawn ^ (paired & (2 * sizes[again] == k) & ~drawn[:, 0])[:, None]
        _, first = np.unique(np.packbits(present, axis=1), axis=0, return_index=True)
        again = np.setdiff1d(np.arange(len(sizes)), first)
    return present
