"""Paired statistics against scipy, enumeration, slow loops and simulation."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import rankdata, ttest_1samp, wilcoxon

from xbench.tables import paired, stats
from xbench.tables.paired import bayesian_signed_rank, better, differences, holm, mean_differences, signed_rank


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(11)


def by_flips(row: np.ndarray) -> float:
    """The p-value from all signs, written from the definition."""
    ranks = np.where(row == 0, 0, rankdata(np.abs(row)))
    found = abs((np.sign(row) * ranks).sum())
    sums = [abs((np.array(signs) * ranks).sum()) for signs in product((-1, 1), repeat=len(row))]
    return float(np.mean([each >= found - 1e-9 for each in sums]))


@pytest.mark.parametrize("n", [2, 3, 8, 20, 50, 51, 200])
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_signed_rank_test_is_that_of_scipy(random: np.random.Generator, n: int, shift: float) -> None:
    rows = random.standard_t(3, size=(20, n)) + shift
    method = "exact" if n <= paired.EXACT else "approx"
    expected = [wilcoxon(row, zero_method="pratt", method=method).pvalue for row in rows]
    np.testing.assert_allclose(signed_rank(rows).p, expected, rtol=1e-10)


def test_ties_and_zeros_are_those_of_scipy_where_the_normal_distribution_stands_in(random: np.random.Generator) -> None:
    rows = np.round(2 * random.normal(0.1, 1, size=(20, 80))) / 2
    assert (rows == 0).any(1).all()
    expected = [wilcoxon(row, zero_method="pratt", method="approx").pvalue for row in rows]
    np.testing.assert_allclose(signed_rank(rows).p, expected, rtol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_ties_and_zeros_are_exact_for_few_samples(random: np.random.Generator, n: int) -> None:
    rows = np.concatenate([random.integers(-2, 3, size=(20, n)), np.zeros((1, n)), np.ones((1, n))]).astype(float)
    np.testing.assert_allclose(signed_rank(rows).p, [by_flips(row) for row in rows], rtol=1e-12)


def test_the_rank_biserial_correlation_is_what_favours_less_what_does_not(random: np.random.Generator) -> None:
    rows = random.integers(-3, 4, size=(10, 12)).astype(float)
    for row, found in zip(rows, signed_rank(rows).rank_biserial, strict=True):
        ranks = rankdata(np.abs(row))
        plus, minus = ranks[row > 0].sum(), ranks[row < 0].sum()
        assert found == pytest.approx((plus - minus) / (plus + minus), rel=1e-12)
    assert signed_rank(np.array([[1.0, 2, 3], [-1, -2, -3], [0, 0, 0]])).rank_biserial.tolist() == [1, -1, 0]


def test_better_counts_ties_by_half() -> None:
    rows = np.array([[1.0, -1, 0, 0], [1, 2, 3, math.nan], [math.nan] * 4])
    np.testing.assert_array_equal(better(rows), [0.5, 1.0, math.nan])


def test_holm_by_hand() -> None:
    found = holm(np.array([0.04, math.nan, 0.01, 0.03, 0.5]))
    np.testing.assert_allclose(found, [0.09, math.nan, 0.04, 0.09, 0.5])
    np.testing.assert_array_equal(holm(np.array([0.7, 0.6])), [1.0, 1.0])
    assert holm(np.array([])).size == 0


def test_holm_rejects_what_the_sequential_procedure_rejects(random: np.random.Generator) -> None:
    for _ in range(50):
        p = random.random(8) ** 4
        rejected = np.zeros(8, dtype=bool)
        for step, place in enumerate(np.argsort(p)):
            if p[place] > 0.05 / (8 - step):
                break
            rejected[place] = True
        np.testing.assert_array_equal(holm(p) <= 0.05, rejected)


def test_pairs_are_in_order_and_rounding_is_a_tie() -> None:
    values = np.array([[1.0, 2.0], [1.0 + 1e-7, 1.0], [0.0, math.nan]])
    pairs = (np.array([0, 0, 1]), np.array([1, 2, 2]))
    np.testing.assert_array_equal(differences(values, pairs), [[0, 1], [1, math.nan], [1 + 1e-7, math.nan]])
    assert differences(np.array([[1e-9], [2e-9]]), np.triu_indices(2, 1))[0, 0] == -1e-9  # small numbers are no ties


def test_what_is_undefined_changes_nothing_of_the_rest(random: np.random.Generator) -> None:
    rows = random.standard_t(3, size=(6, 30)) + 0.3
    rows[1, 3] = rows[2, :10] = np.nan
    whole = [signed_rank(rows).p, signed_rank(rows).rank_biserial, better(rows), *mean_differences(rows)[:3]]
    for index, row in enumerate(rows):
        alone = row[~np.isnan(row)][None, ::-1]  # nor does the order of the samples
        each = [signed_rank(alone).p, signed_rank(alone).rank_biserial, better(alone), *mean_differences(alone)[:3]]
        np.testing.assert_allclose([part[index] for part in whole], [part[0] for part in each], rtol=1e-9)
    assert bayesian_signed_rank(rows[2], 0.1) == bayesian_signed_rank(rows[2, 10:], 0.1)


@pytest.mark.parametrize("tail", ["above", "below"])
def test_the_interval_is_that_of_a_slow_loop(random: np.random.Generator, tail: str) -> None:
    row = np.sort(np.exp(random.normal(size=12)))
    row = row if tail == "above" else 20 - row[::-1]
    assert row.mean() > 0
    error = row.std(ddof=1) / math.sqrt(12)
    ratios = []
    for shares in stats.drawn_shares(12):
        drawn = np.repeat(row, np.round(12 * shares).astype(int))
        ratios.append((drawn.mean() - row.mean()) / (drawn.std(ddof=1) / math.sqrt(12)))
    ratios.sort()
    theirs = ttest_1samp(row, 0).confidence_interval(0.95)
    found = mean_differences(row[None])
    assert found.low[0] == pytest.approx(min(theirs.low, row.mean() - ratios[-50] * error), rel=1e-9)
    assert found.high[0] == pytest.approx(max(theirs.high, row.mean() - ratios[49] * error), rel=1e-9)
    wider = (found.low[0] < theirs.low - 1e-9, found.high[0] > theirs.high + 1e-9)
    assert wider == (tail == "below", tail == "above")
    assert found.resampled.all()


def test_the_other_order_has_the_opposite_interval(random: np.random.Generator) -> None:
    rows = np.exp(random.normal(size=(5, 20))) - 1
    one, other = mean_differences(rows), mean_differences(-rows)
    np.testing.assert_allclose(one.low, -other.high, rtol=1e-12)
    np.testing.assert_allclose(one.high, -other.low, rtol=1e-12)


def test_few_differences_and_many_samples_have_the_interval_of_student(random: np.random.Generator) -> None:
    few = np.zeros(32)
    few[0] = 1.0
    many = random.normal(size=paired.MOST_RESAMPLED + 1)
    for row in (few, many):
        theirs, found = ttest_1samp(row, 0).confidence_interval(0.9), mean_differences(row[None], 0.9)
        assert (found.low[0], found.high[0]) == pytest.approx((theirs.low, theirs.high))
        assert not found.resampled.any()


def test_resamples_of_equal_values_have_no_spread_but_rounding(random: np.random.Generator) -> None:
    rows = np.repeat(random.random((200, 1)), 37, axis=1)
    rows[:, 0] += random.random(200)  # a third of the resamples lack it
    assert not mean_differences(rows).resampled.any()


def test_no_one_and_equal_samples_have_numbers_or_none() -> None:
    rows = np.array([[math.nan] * 7, [2.0] + [math.nan] * 6, [0.1] * 7, [0.0] * 7])
    found = mean_differences(rows)
    np.testing.assert_array_equal(found.mean, [math.nan, 2.0, 0.1, 0.0])
    np.testing.assert_array_equal(found.low, [math.nan, math.nan, 0.1, 0.0])
    np.testing.assert_array_equal(found.high, [math.nan, math.nan, 0.1, 0.0])
    np.testing.assert_array_equal(signed_rank(rows).p, [math.nan, 1.0, 2 * 0.5**7, 1.0])
    assert all(part.shape == (0,) for part in (*mean_differences(rows[:0]), *signed_rank(rows[:0])))
    with pytest.raises(ValueError, match="level must be between 0 and 1, got 95"):
        mean_differences(rows, 95)


def test_blocks_of_resamples_and_pairs_change_nothing(
    random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random.standard_t(3, size=(7, 25))
    whole = mean_differences(rows)
    monkeypatch.setattr(stats, "_BLOCK", 1000)
    monkeypatch.setattr(paired, "_HELD", 4001)
    np.testing.assert_allclose(mean_differences(rows)[:3], whole[:3], rtol=1e-9)


def slow_posterior(row: np.ndarray, rope: float, draws: int) -> np.ndarray:
    """`bayesian_signed_rank` with every sum written out."""
    values = np.append(row, 0.0)
    sums = values[:, None] + values
    above = (sums > 2 * rope) + (sums == 2 * rope) / 2
    below = (sums < -2 * rope) + (sums == -2 * rope) / 2
    wins = np.zeros(3)
    for weights in np.random.default_rng(3).dirichlet([1.0] * len(row) + [0.5], size=draws):
        high, low = weights @ above @ weights, weights @ below @ weights
        wins[np.argmax([low, 1 - high - low, high])] += 1
    return wins / draws


@pytest.mark.parametrize(("shift", "rope"), [(0.2, 0.0), (0.2, 0.3), (-0.3, 0.3), (0.0, 0.6)])
def test_the_posterior_is_that_of_a_slow_loop(random: np.random.Generator, shift: float, rope: float) -> None:
    row = np.round(random.normal(shift, 1, size=15), 1)
    found = bayesian_signed_rank(row, rope)
    assert sum(found) == pytest.approx(1)
    np.testing.assert_allclose(found, slow_posterior(row, rope, 4000), atol=0.035)  # three standard errors


@pytest.mark.parametrize("rope", [0.0, 0.2])
def test_the_posterior_is_that_of_baycomp(random: np.random.Generator, rope: float) -> None:
    baycomp = pytest.importorskip("baycomp")
    row = random.normal(0.15, 1, size=30)
    theirs = baycomp.SignedRankTest.probs(np.zeros(30), row, rope, nsamples=20000)  # their difference is y - x
    ours = bayesian_signed_rank(row, rope)
    np.testing.assert_allclose((ours.below, ours.within, ours.above)[:: 2 - (rope > 0)], theirs, atol=0.03)


def test_equal_methods_are_practically_equal() -> None:
    assert bayesian_signed_rank(np.zeros(9), 0.1) == (0, 1, 0)
    assert bayesian_signed_rank(np.zeros(9)) == (0.5, 0, 0.5)
    assert bayesian_signed_rank(np.full(20, 3.0), 0.1) == (0, 0, 1)
    assert all(math.isnan(part) for part in bayesian_signed_rank(np.array([math.nan])))
    with pytest.raises(ValueError, match="rope must be at least 0, got -1"):
        bayesian_signed_rank(np.ones(3), -1)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "ties"), [(20, False), (60, False), (60, True)])
def test_of_equal_methods_at_most_one_table_in_twenty_has_a_significant_pair(n: int, ties: bool) -> None:
    tables, methods = 2000, 5
    random = np.random.default_rng([5, n])
    scores = np.exp(random.normal(size=(tables, 1, n)) + random.standard_t(3, size=(tables, methods, n)))
    scores = np.round(np.log(scores)) if ties else scores
    rows = np.concatenate([differences(table, np.triu_indices(methods, 1)) for table in scores])
    p = signed_rank(rows).p.reshape(tables, -1)
    assert np.mean(p < 0.05) > 0.03  # single tests have their level
    assert 0.02 < np.mean([holm(row).min() < 0.05 for row in p]) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("n", "least"), [(8, 0.90), (32, 0.91), (200, 0.93)])
def test_intervals_of_heavy_tailed_differences_cover_the_mean(n: int, least: float) -> None:
    random = np.random.default_rng([6, n])
    skewed = np.exp(random.normal(size=(1000, n))) - math.exp(0.5)
    symmetric = random.standard_t(3, size=(1000, n))
    for rows in (skewed, symmetric):
        found = mean_differences(rows)
        assert np.mean((found.low <= 0) & (found.high >= 0)) >= least
