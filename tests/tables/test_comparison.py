"""The comparison: what is best, who is called what, and what a reader is told below the numbers."""

import math

import pytest

from tests.store_samples import ENVIRONMENT
from tests.tables.maker import entry
from xbench.tables import plain_text


@pytest.mark.parametrize(("direction", "winner"), [("lower", "a"), ("higher", "c"), ("none", None)])
def test_best_follows_direction(maker, direction, winner):
    for algorithm, value in (("a", 1.0), ("b", 2.0), ("c", 3.0), ("random", 0.0), ("constant", 9.0)):
        maker.done(algorithm, "error", {"error": [value, value]}, direction=direction)
    built = maker.build()
    assert [row.algorithm for row in built.grid.rows if row.entries["error"].best] == ([winner] if winner else [])
    assert [row.algorithm for row in built.grid.rows if row.control] == ["random", "constant"]


def test_ties_are_all_best_and_full_precision_decides(maker):
    for algorithm, value in (("a", 0.1), ("b", 0.1 + 1e-12), ("c", 0.1)):
        maker.done(algorithm, "error", {"error": [value] * 3})
    assert [row.entries["error"].best for row in maker.build().grid.rows] == [True, False, True]


def test_a_lone_algorithm_is_not_best(maker):
    maker.done("ig", "error", {"error": [1.0]})
    maker.done("random", "error", {"error": [2.0]})
    assert not entry(maker.build(), "ig", "error").best


def test_what_is_undefined_for_every_method_alike_is_said_once(maker):
    for algorithm in ("a", "b", "c"):
        maker.done(algorithm, "error", {"error": [None, 0.5]})
        maker.done(algorithm, "other", {"other": [None, 0.5]})
    assert maker.build().grid.notes[0] == "† every method, Error, Other: 1 of 2 undefined."


def test_a_mean_over_part_of_the_samples_is_marked_and_not_ranked(maker):
    for algorithm, value in (("a", 2.0), ("b", 3.0), ("c", 1.0)):
        maker.done(algorithm, "error", {"error": [value, value]})
        if algorithm != "c":
            maker.done(algorithm, "error", {"error": [value, value]}, block=1)
    maker.failed("c", "error", 2, "error", "RuntimeError: boom", block=1)
    built = maker.build()
    assert [row.entries["error"].best for row in built.grid.rows] == [True, False, False]
    assert entry(built, "c", "error").n_absent == 2
    assert "‡ not ranked: c, Error: 2 of 4 samples measured." in built.grid.notes
    assert "– error: c: RuntimeError: boom" in built.grid.notes
    assert "| c | 1.00‡ |" in plain_text.markdown(built.grid)


def test_undefined_is_marked_counted_and_never_zero(maker):
    maker.done("ig", "error", {"error": [None, 0.5]})
    maker.done("lime", "error", {"error": [None, None]})
    built = maker.build()
    assert entry(built, "ig", "error").mean == 0.5
    assert entry(built, "lime", "error").status == "undefined"
    assert math.isnan(entry(built, "lime", "error").mean)
    assert built.grid.notes == ("† ig, Error: 1 of 2 undefined; lime, Error: 2 of 2 undefined.",)
    text = plain_text.markdown(built.grid)
    assert "| ig | 0.500† |" in text
    assert "| lime | – undefined† |" in text
    assert not entry(built, "ig", "error").best  # it is the only one with a mean


def test_runtimes_of_different_hardware_are_not_ranked(maker):
    other = ENVIRONMENT | {"hardware": ENVIRONMENT["hardware"] | {"cpu": "Other CPU"}}
    newer = maker.store.save_environment(ENVIRONMENT | {"git": None})
    cost = {"runtime": [0.5], "peak_memory": [1.0], "forward_rows": [3]}
    maker.done("a", None, cost)
    maker.done("b", None, {name: [2 * value[0]] for name, value in cost.items()}, environment=newer)
    same = maker.build()
    assert entry(same, "a", "runtime").best  # another commit, the same machine
    assert entry(same, "a", "peak_memory").best
    maker.done("c", None, cost, environment=maker.store.save_environment(other))
    mixed = maker.build()
    for row in mixed.grid.rows:
        assert not row.entries["runtime"].best
        assert not row.entries["peak_memory"].best
    assert entry(mixed, "a", "forward_rows").best
    assert mixed.grid.notes[-1] == "Runtime and peak memory were measured on different hardware and are not ranked."
    assert set(mixed.environment["environments"]) == set(mixed.cells["environment"])


def test_a_lost_environment_is_null_and_counts_as_other_hardware(maker):
    maker.done("a", None, {"runtime": [0.5]})
    maker.done("b", None, {"runtime": [0.6]}, environment="0" * 12)
    built = maker.build()
    assert built.environment["environments"]["0" * 12] is None
    assert not entry(built, "a", "runtime").best


def test_labels_name_the_algorithm_where_they_are_shared(maker):
    info = {"label": "Integrated Gradients", "control": False}
    maker.done("ig", None, {"runtime": [1.0]}, info=info)
    maker.done("ig_200", None, {"runtime": [1.0]}, info=info)
    maker.done("noise", None, {"runtime": [1.0]}, info={"label": "Noise", "control": True})
    rows = maker.build().grid.rows
    assert [row.label for row in rows] == [
        "Integrated Gradients (ig)", "Integrated Gradients (ig_200)", "Noise",
    ]  # fmt: skip
    assert [row.control for row in rows] == [False, False, True]


def test_caption_and_subjects_say_the_data(sample):
    assert sample.grid.subjects["cnn", "digits"] == "cnn (accuracy 0.981) on digits, n = 6"
    assert "stand-in data: sentences of a small grammar" in sample.grid.caption
    assert "95 % bootstrap intervals" in sample.grid.caption


def test_comparison_is_raw_numbers(sample):
    table = sample.comparison.set_index(["dataset", "algorithm"])
    summary = sample.summary.set_index(["dataset", "algorithm", "metric"])
    for metric in ("infidelity", "runtime", "peak_memory"):
        assert table.loc[("digits", "ig"), f"{metric}_mean"] == summary.loc[("digits", "ig", metric), "mean"]
        assert table.loc[("digits", "ig"), f"{metric}_ci_low"] == summary.loc[("digits", "ig", metric), "ci_low"]
    assert table.loc[("digits", "ig"), "peak_memory_mean"] == 13 * 2**20
    assert table.loc[("sst2-standin", "deeplift"), "infidelity_status"] == "oom"
    assert math.isnan(table.loc[("sst2-standin", "deeplift"), "infidelity_mean"])


def test_what_the_metrics_do_to_the_samples_is_said_once_and_with_the_data_where_it_differs(maker):
    maker.done("ig", "infidelity", {"infidelity": [1.0]}, info={"perturbation": "removed words"})
    maker.done("lime", "infidelity", {"infidelity": [1.0]}, info={"perturbation": "removed words"})
    maker.done("ig", "completeness", {"completeness": [1.0]}, info={"perturbation": ""})
    assert maker.build().grid.notes[0] == "Perturbations: infidelity: removed words."
    maker.done("ig", "deletion", {"deletion": [1.0]}, info={"perturbation": "removed words"})
    assert maker.build().grid.notes[0] == "Perturbations: infidelity, deletion: removed words."
    maker.done("ig", "infidelity", {"infidelity": [1.0]}, block=1, dataset="e", info={"perturbation": "squares"})
    maker.cells[-1]["dataset"] = "e"
    assert maker.build().grid.notes[0] == (
        "Perturbations: infidelity: removed words (d); infidelity: squares (e); deletion: removed words."
    )


def test_a_metric_that_suits_no_method_is_a_note_and_no_column(maker):
    for name in ("a", "b"):
        maker.done(name, None, {"runtime": [0.5]})
        maker.done(name, "error", {"error": [1.0]})
        maker.plan(name, "pointing", 1, status="skipped", reason="needs masks")
        maker.plan(name, "mass", 1, status="skipped", reason="needs masks")
    for metric in (None, "error", "pointing", "mass", "rank"):  # has no map at all
        maker.plan("d", metric, 1, status="skipped", reason="needs attention")
    maker.plan("a", "rank", 1, status="skipped", reason="needs more")
    maker.done("b", "rank", {"rank": [1.0]})
    built = maker.build()
    assert [column.name for column in built.grid.columns] == ["error", "rank", "runtime"]
    assert "– skipped: pointing, mass: needs masks" in built.grid.notes
    assert "– skipped: a: needs more" in built.grid.notes
    assert "– skipped: d: needs attention" in built.grid.notes
    assert set(built.scores["metric"]) >= {"pointing", "mass"}  # the tables of samples hold every planned score
