"""Bootstrap intervals against exact enumeration, scipy and theory."""

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import bootstrap

from xbench.tables import stats
from xbench.tables.stats import mean_interval


def test_two_values_have_the_interval_of_all_resamples():
    # The means of {0, 1} resampled are 0, 1/2, 1/2, 1: each end has probability 1/4, far above 2.5 %.
    found = mean_interval([0.0, 1.0])
    assert found == (0.5, 0.0, 1.0, 2, 0)


def test_interval_is_near_the_quantiles_of_every_resample():
    values = [0.3, 1.0, 2.5, 2.6, 7.0]
    every = [np.mean(chosen) for chosen in product(values, repeat=5)]
    low, high = np.quantile(every, [0.025, 0.975])
    found = mean_interval(values)
    assert found.mean == pytest.approx(2.68, rel=1e-15)
    assert found.low == pytest.approx(low, abs=0.1)
    assert found.high == pytest.approx(high, abs=0.1)


def test_interval_agrees_with_scipy():
    values = np.random.default_rng(1).gamma(2.0, size=200)
    theirs = bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20000, rng=np.random.default_rng(2)
    ).confidence_interval
    found = mean_interval(values)
    assert found.low == pytest.approx(theirs.low, abs=0.1 * (theirs.high - theirs.low))
    assert found.high == pytest.approx(theirs.high, abs=0.1 * (theirs.high - theirs.low))


def test_coverage_on_normal_samples():
    generator = np.random.default_rng(3)
    intervals = [mean_interval(generator.normal(size=40)) for _ in range(400)]
    covered = np.mean([found.low <= 0 <= found.high for found in intervals])
    assert 0.90 < covered < 0.98  # the percentile interval is known to cover a little less than 95 %


def test_nothing_but_the_values_matters(monkeypatch):
    values = np.random.default_rng(4).normal(size=33)
    first = mean_interval(values)
    np.random.default_rng().normal(size=10)
    assert mean_interval(values[::-1]) == first
    assert mean_interval(list(values)) == first
    monkeypatch.setattr(stats, "_BLOCK", 100)  # drawn three rows at a time
    assert mean_interval(values) == first


def test_nan_is_counted_and_left_out():
    defined = [1.0, 2.0, 4.0]
    found = mean_interval([1.0, math.nan, 2.0, 4.0, math.nan])
    assert found[:3] == mean_interval(defined)[:3]
    assert (found.n, found.n_undefined) == (5, 2)


@pytest.mark.parametrize(("values", "n", "undefined"), [([], 0, 0), ([math.nan, math.nan], 2, 2)])
def test_no_defined_value_gives_nan(values, n, undefined):
    found = mean_interval(values)
    assert all(math.isnan(number) for number in found[:3])
    assert (found.n, found.n_undefined) == (n, undefined)


@pytest.mark.parametrize("values", [[0.1], [0.1] * 7, [math.nan, 0.1]])
def test_one_value_or_a_constant_has_no_width(values):
    assert mean_interval(values)[:3] == (0.1, 0.1, 0.1)


def test_level_is_checked():
    with pytest.raises(ValueError, match="level must be between 0 and 1, got 95"):
        mean_interval([1.0], level=95)
    narrow, wide = (mean_interval(range(10), level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
