"""Every two methods on every column: the rows of the table, the reasons, and what is marked in a comparison."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from tests.tables.maker import entry
from xbench.tables import latex, paired, pairwise, plain_text, tables


@pytest.fixture
def random():
    return np.random.default_rng(12)


def pair(built, algorithm, other, metric="error"):
    found = built.pairwise.query("algorithm == @algorithm and other == @other and metric == @metric")
    assert len(found) == 1
    return found.iloc[0]


@pytest.mark.parametrize(("direction", "sign"), [("higher", 1), ("lower", -1), ("none", math.nan)])
def test_a_row_has_the_statistics_of_its_pair(maker, random, direction, sign):
    a, b = random.normal(0.3, 1, 20), random.normal(0, 1, 20)
    for name, values in (("a", a), ("b", b), ("random", a - 1)):
        maker.done(name, "error", {"error": list(values)}, direction=direction)
    built = maker.build()
    row = pair(built, "a", "b")
    assert row[["model", "dataset", "n", "undefined", "absent"]].tolist() == ["m", "d", 20, 0, 0]
    assert row["difference"] == pytest.approx(a.mean() - b.mean())
    low, high = (part[0] for part in paired.mean_differences((a - b)[None])[1:3])
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert row["p"] == pytest.approx(wilcoxon(a, b, zero_method="pratt", method="exact").pvalue)
    assert row["p_better"] == pytest.approx(np.mean(sign * (a - b) > 0) if sign in (1, -1) else math.nan, nan_ok=True)
    rank = paired.signed_rank((a - b)[None]).rank_biserial[0]
    assert row["rank_biserial"] == pytest.approx(sign * rank, nan_ok=True)
    assert row["reason"] == ("no direction is better" if math.isnan(sign) else "")
    assert pair(built, "a", "random")["p_better"] == pytest.approx({1: 1, -1: 0}.get(sign, math.nan), nan_ok=True)


def test_pairs_of_methods_and_pairs_with_a_control_are_adjusted_by_themselves(maker, random):
    for index, name in enumerate(("a", "b", "c", "random", "constant")):
        maker.done(name, "error", {"error": list(random.normal(index / 4, 1, 12))})
    built = maker.build().pairwise
    control = built["algorithm"].isin(["random", "constant"]) | built["other"].isin(["random", "constant"])
    assert control.sum() == 7
    for family in (control, ~control):
        np.testing.assert_allclose(built.loc[family, "p_holm"], paired.holm(built.loc[family, "p"].to_numpy()))


def test_pairs_are_compared_some_at_a_time(maker, random, monkeypatch):
    for index, name in enumerate(("a", "b", "c", "random")):
        maker.done(name, "error", {"error": list(random.normal(index / 4, 1, 12))})
    whole = maker.build().pairwise
    monkeypatch.setattr(pairwise, "_HELD", 30)
    pd.testing.assert_frame_equal(maker.build().pairwise, whole)


def test_samples_without_both_values_are_left_out_and_counted(maker):
    maker.done("a", "error", {"error": [1.0, None, 3.0, 4.0]})
    maker.done("b", "error", {"error": [2.0, 2.0, None, 6.0]})
    maker.done("c", "error", {"error": [None] * 4})
    maker.done("a", "error", {"error": [9.0, 9.0]}, block=1)
    maker.failed("b", "error", 2, "oom", "no memory", block=1)
    maker.done("c", "error", {"error": [1.0, None]}, block=1)
    built = maker.build()
    counts = {name: pair(built, *name)[["n", "undefined", "absent"]].tolist() for name in (("a", "b"), ("a", "c"))}
    assert counts == {("a", "b"): [2, 2, 2], ("a", "c"): [1, 5, 0]}
    assert pair(built, "a", "b")["difference"] == -1.5
    assert pair(built, "a", "c")["reason"] == "one sample: no interval"
    assert pair(built, "a", "c")["p"] == 1.0
    nothing = pair(built, "b", "c")
    assert nothing["reason"] == "no sample with both values"
    assert nothing[["difference", "low", "high", "p", "p_holm", "p_better", "rank_biserial"]].isna().all()


def test_every_missing_or_unusual_number_has_its_reason(maker):
    one = [0.0] * 9
    few = [0.5, *one[1:]]
    maker.done("a", "error", {"same": one, "constant": one, "few": one})
    maker.done("b", "error", {"same": one, "constant": [1.0] * 9, "few": few})
    maker.done("a", None, {"runtime": one})
    maker.done("b", None, {"runtime": [2.0] * 9})
    built = maker.build()
    reasons = {name: pair(built, "a", "b", name)["reason"] for name in ("same", "constant", "few", "runtime")}
    assert reasons == {
        "same": "equal on every sample",
        "constant": "the same difference on every sample",
        "few": "too few different values to resample: Student's t interval",
        "runtime": "a cost is measured per block of samples: not tested",
    }
    assert pair(built, "a", "b", "same")[["p", "p_better", "rank_biserial"]].tolist() == [1.0, 0.5, 0.0]
    assert pair(built, "a", "b", "constant")[["p", "low", "high"]].tolist() == [2 / 2**9, -1.0, -1.0]
    runtime = pair(built, "a", "b", "runtime")
    assert runtime["difference"] == -2.0
    assert runtime[["low", "high", "p", "p_holm", "p_better", "rank_biserial"]].isna().all()


def scores(random, shifts, n=40):
    noise = random.normal(size=n)
    return {name: list(noise + shift + 0.2 * random.normal(size=n)) for name, shift in shifts.items()}


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_the_best_and_all_that_are_not_significantly_worse_are_marked(maker, random, direction):
    sign = 1 if direction == "higher" else -1
    for name, values in scores(random, {"a": 0, "b": sign * 1.0, "c": sign * 1.01, "random": sign * 3}).items():
        maker.done(name, "error", {"error": values}, direction=direction)
        maker.done(name, None, {"runtime": [float(ord(name[0]))] * 40})
    built = maker.build()
    assert [row.entries["error"].marked for row in built.grid.rows] == [False, True, True, False]
    assert sum(row.entries["error"].best for row in built.grid.rows) == 1
    assert [row.entries["runtime"].marked for row in built.grid.rows] == [
        True,
        False,
        False,
        False,
    ]  # by its mean alone
    assert built.comparison["error_marked"].tolist() == [False, True, True, False]
    assert plain_text.markdown(built.grid).count("**") == 2 * 3
    assert latex.table(built.grid).count(r"\textbf") == 3
    text = plain_text.terminal(built.grid)
    assert text.count("*") == 3 + 1
    for shown in (text, plain_text.markdown(built.grid), latex.table(built.grid)):
        assert "all that are not significantly worse (Wilcoxon signed-rank" in " ".join(shown.split())


def test_a_significant_difference_the_other_way_is_not_worse(maker):
    # b is better on nearly every sample and has the worse mean, because of one sample.
    maker.done("a", "error", {"error": [0.0] * 30}, direction="higher")
    maker.done("b", "error", {"error": [1.0] * 29 + [-100.0]}, direction="higher")
    built = maker.build()
    assert pair(built, "a", "b")["p_holm"] < 0.05
    assert entry(built, "a", "error").best
    assert entry(built, "b", "error").marked


def test_what_is_not_ranked_is_not_marked(maker, random):
    found = list(random.normal(size=20))
    for name in ("a", "b", "c"):
        maker.done(name, "error", {"error": found})
        maker.done(name, "kind", {"kind": found}, direction="none")
        if name != "c":
            maker.done(name, "error", {"error": found}, block=1)
    maker.failed("c", "error", 20, "error", "RuntimeError: boom", block=1)
    built = maker.build()
    assert [row.entries["error"].marked for row in built.grid.rows] == [True, True, False]
    assert not any(row.entries["kind"].marked for row in built.grid.rows)


@pytest.mark.parametrize(("pairs", "needed"), [(1, 6), (3, 7), (10, 9), (780, 15)])
def test_so_many_samples_are_needed_for_any_significant_difference(maker, pairs, needed):
    assert pairwise.samples_needed(pairs) == needed
    for n in (needed - 1, needed):
        p = paired.signed_rank(np.ones((1, n))).p[0]
        assert (paired.holm(np.full(pairs, p)).min() < pairwise.LEVEL) == (n == needed)
    if pairs == 3:
        for name in ("a", "b", "c"):
            maker.done(name, "error", {"error": [float(ord(name))] * 6})
        assert maker.build().grid.notes == (
            "With n = 6 no difference can be significant: 3 pairs of methods on m, d need 7 samples.",
        )
        assert all(row.entries["error"].marked for row in maker.build().grid.rows)
        for name in ("a", "b", "c"):
            maker.done(name, "error", {"error": [float(ord(name))]}, block=1)
        assert maker.build().grid.notes == ()
        assert [row.entries["error"].marked for row in maker.build().grid.rows] == [True, False, False]


def test_practical_equivalence_is_asked_for_by_column(maker, random):
    for name, values in scores(random, {"a": 0, "b": 0.01, "c": 1}).items():
        maker.done(name, "error", {"error": values})
        maker.done(name, "kind", {"kind": values}, direction="none")
    found = maker.build().equivalence("error", rope=0.2)
    assert found[["algorithm", "other", "n"]].to_numpy().tolist() == [["a", "b", 40], ["a", "c", 40], ["b", "c", 40]]
    assert (found[["better", "equal", "worse"]].to_numpy().argmax(1) == [1, 0, 0]).all()  # lower is better
    with pytest.raises(KeyError, match="no column 'eror'; did you mean error"):
        maker.build().equivalence("eror", rope=0.2)
    with pytest.raises(ValueError, match="no direction of 'kind' is better"):
        maker.build().equivalence("kind", rope=0.2)


def test_the_table_is_written_and_read_back(sample, maker, tmp_path):
    assert set(sample.pairwise["dataset"]) == {"digits", "sst2-standin"}
    tables.write(sample, tmp_path)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "pairwise.parquet"), sample.pairwise)
    read = pd.read_csv(tmp_path / "pairwise.csv", keep_default_na=False, na_values={"p": [""]})
    assert read["reason"].tolist() == sample.pairwise["reason"].tolist()
    assert len(maker.build().pairwise) == 0
    assert maker.build().pairwise.dtypes.equals(sample.pairwise.dtypes)
