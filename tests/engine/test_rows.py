"""The search for the number of rows: pure arithmetic on measured bytes and seconds."""

import pytest

from xbench.engine.rows import RowLimit

MB = 2**20
GB = 10**9


def evaluate(limit: RowLimit, seconds_per_row, bytes_per_row: int = 1, times: int = 1) -> list[int]:
    """Act like the engine: evaluate as many rows as allowed, measure a new size, time the others."""
    sizes = []
    for _ in range(times):
        rows = limit.limit
        sizes.append(rows)
        if limit.needs_measuring(rows):
            limit.measured(rows, rows * bytes_per_row)
        elif not limit.settled:
            limit.timed(rows, rows * seconds_per_row(rows))
    return sizes


def test_rows_start_where_enough_bytes_are_taken_and_halve_while_that_is_faster():
    """Seconds per row fall down to 32 rows and rise below."""
    limit = RowLimit(1000 * GB, enough=128 * MB)
    slow = {4: 8.0, 8: 4.0, 16: 2.0, 32: 1.0, 64: 1.5, 128: 2.5}
    sizes = evaluate(limit, lambda rows: slow[rows], bytes_per_row=MB, times=20)
    assert sizes == [4] + [128] * 3 + [64] * 2 + [32] * 2 + [16] * 2 + [32] * 10
    assert limit.settled


def test_of_equal_speeds_the_largest_rows_are_kept():
    limit = RowLimit(1000 * GB, enough=128 * MB)
    assert evaluate(limit, lambda rows: 1.0, bytes_per_row=MB, times=8) == [4] + [128] * 3 + [64] * 2 + [128] * 2
    assert limit.settled


def test_what_does_not_grow_with_the_rows_does_not_keep_them_few():
    """Ten megabytes that one evaluation takes however few its rows are."""
    limit = RowLimit(1000 * GB, enough=64 * MB)
    for _ in range(4):
        if limit.needs_measuring(limit.limit):
            limit.measured(limit.limit, 10 * MB + limit.limit * MB)
    assert limit.limit == 32


def test_enough_is_stretched_where_it_holds_few_rows():
    """What a call costs shows in few rows; never beyond 32 of them, or four times as many bytes."""
    for size, rows in ((MB, 32), (2 * MB, 32), (4 * MB, 32), (8 * MB, 16), (100 * MB, 4)):
        limit = RowLimit(1000 * GB, enough=32 * MB)
        limit.measured(4, 4 * size)
        assert limit.limit == rows


def test_large_examples_go_through_a_few_at_a_time():
    limit = RowLimit(1000 * GB, enough=20 * MB)
    assert set(evaluate(limit, lambda rows: 1.0, bytes_per_row=100 * MB, times=20)) == {4, 2}
    assert limit.limit == 4


def test_the_budget_bounds_the_rows_however_fast_more_would_be():
    limit = RowLimit(budget=50_000)
    sizes = evaluate(limit, lambda rows: 1 / rows, bytes_per_row=1000, times=20)
    assert max(sizes) == 50
    assert not limit.settled  # a larger budget goes on with the search


def test_a_new_run_has_its_own_budget_and_tries_more_after_a_failure():
    limit = RowLimit(GB)
    evaluate(limit, lambda rows: 1 / rows, bytes_per_row=1000, times=3)
    limit.begin(5000)
    assert limit.limit == 5
    limit.begin(GB)
    before = limit.limit
    limit.failed(before)
    assert limit.limit == before // 2
    limit.begin(GB)
    assert limit.limit == before


def test_a_budget_below_the_first_evaluation_takes_effect_at_once():
    limit = RowLimit(budget=5_000)
    sizes = evaluate(limit, lambda rows: 1.0, bytes_per_row=1000, times=4)
    assert sizes == [4, 5, 5, 5]
    assert limit.slice_limit == 5


def test_a_row_above_the_budget_is_tried_nevertheless():
    limit = RowLimit(budget=10)
    evaluate(limit, lambda rows: 1.0, bytes_per_row=1000)
    assert limit.limit == limit.slice_limit == 1


def test_fixed_rows_are_not_searched():
    limit = RowLimit(GB, fixed=7)
    assert limit.settled
    assert limit.slice_limit == 7
    assert evaluate(limit, lambda rows: 1.0, times=3) == [7, 7, 7]


def test_a_failure_halves_the_rows_for_good():
    limit = RowLimit(GB, enough=64)
    evaluate(limit, lambda rows: 1 / rows, times=2)
    assert limit.limit == 64
    limit.failed(64)
    assert limit.limit == 32
    limit.failed(9)
    assert limit.limit == 4
    assert evaluate(limit, lambda rows: 1 / rows, times=30)[-1] == 4
    limit.failed(1)
    assert limit.limit == 1


def test_an_evaluation_smaller_than_allowed_says_nothing_about_speed():
    """The last chunk of a slice must not make the search settle."""
    limit = RowLimit(GB, enough=64)
    limit.measured(16, 16)
    for _ in range(5):
        limit.timed(1, 1.0)
    assert not limit.settled
    assert limit.limit == 64


def test_the_peak_is_that_of_the_nearest_larger_evaluation_in_proportion():
    limit = RowLimit(GB)
    limit.measured(16, 1600)
    limit.measured(32, 6400)
    assert limit.peak_at(16) == 1600
    assert limit.peak_at(32) == 6400
    assert limit.peak_at(24) == 4800
    assert limit.peak_at(4) == 400


@pytest.mark.parametrize(("rows", "new"), [(16, False), (5, False), (20, False), (21, True)])
def test_only_far_larger_evaluations_are_measured_again(rows, new):
    limit = RowLimit(GB)
    assert limit.needs_measuring(1)
    limit.measured(16, 1600)
    assert limit.needs_measuring(rows) == new
