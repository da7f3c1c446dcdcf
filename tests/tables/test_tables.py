"""Tables from stored cells: numbers against hand computation, states, ranking and the written files."""

import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.store_samples import ENVIRONMENT, N, cell, fill
from xbench.store.store import Store, StoreError, cell_key
from xbench.tables import latex, plain_text, tables
from xbench.tables.outcomes import TableColumn

FILES = ["scores.parquet", "summary.csv", "comparison.csv", "comparison.md", "comparison.tex", "cells.csv"]
FILES += ["environment.json"]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def sample(store):
    return tables.build(store, fill(store))


class Maker:
    """Writes small grids by hand: model "m", dataset "d", one attribution column and one metric."""

    def __init__(self, store):
        self.store, self.cells = store, []
        self.environment = store.save_environment(ENVIRONMENT)

    def plan(self, algorithm, metric, samples, status="planned", reason=None, block=0):
        record = cell("digits", "score" if metric else "attribution" if algorithm else "samples", algorithm, metric)
        key = cell_key({"a": algorithm, "m": metric, "block": block})
        ids = [f"s{block}-{index}" for index in range(samples)]
        record |= {"key": key, "model": "m", "dataset": "d", "samples": ids, "environment": self.environment}
        names = {name: record[name] for name in ("key", "kind", "model", "dataset", "algorithm", "metric")}
        self.cells.append(names | {"samples": samples, "status": status, "reason": reason})
        return record

    def done(self, algorithm, metric, columns, block=0, direction="lower", **changes):
        samples = len(next(iter(columns.values())))
        record = self.plan(algorithm, metric, samples, block=block)
        record["columns"] = {name: {"direction": direction, "unit": ""} for name in columns}
        record |= {"values": columns} | changes
        self.store.save(record)

    def failed(self, algorithm, metric, samples, status, reason, block=0):
        record = self.plan(algorithm, metric, samples, block=block)
        self.store.save_failure(record | {"status": status, "reason": reason})

    def build(self):
        manifest = {
            "name": "x",
            "created": "",
            "command": [],
            "config": {},
            "cells": self.cells,
            "n": 2,
            "seed": 0,
        }
        return tables.build(self.store, manifest)


@pytest.fixture
def maker(store):
    return Maker(store)


def entry(built, algorithm, column):
    return next(row for row in built.grid.rows if row.algorithm == algorithm).entries[column]


def test_scores_hold_every_planned_sample(sample):
    scores = sample.scores
    assert list(scores.columns) == ["model", "dataset", "algorithm", "metric", "sample", "value", "status"]
    assert len(scores) == 2 * 4 * 9 * N  # datasets x algorithms x columns x samples
    assert scores["sample"].notna().all()
    assert scores["value"].isna().equals(scores["status"] != "ok")
    assert scores["status"].value_counts().to_dict() == {"ok": 321, "oom": 54, "skipped": 54, "undefined": 3}
    assert set(scores.loc[scores["status"] == "oom", "metric"]) == set(sample.summary["metric"])


def test_summary_is_mean_and_counts_of_what_was_measured(maker):
    maker.done("ig", "error", {"error": [1.0, None, 3.0]})
    maker.done("ig", "error", {"error": [5.0]}, block=1)
    maker.failed("ig", "error", 2, "timeout", "60 s", block=2)
    built = maker.build()
    (row,) = built.summary.to_dict("records")
    low, high = row.pop("ci_low"), row.pop("ci_high")
    assert row == {
        "model": "m", "dataset": "d", "algorithm": "ig", "metric": "error",
        "mean": 3.0, "n": 4, "n_undefined": 1, "direction": "lower",
    }  # fmt: skip
    assert (low, high) == pytest.approx((1.0, 5.0), abs=0.7)
    assert built.scores["status"].tolist() == ["ok", "undefined", "ok", "ok", "timeout", "timeout"]
    assert built.scores["sample"].tolist() == ["s0-0", "s0-1", "s0-2", "s1-0", "s2-0", "s2-1"]


def test_blocks_planned_apart_stand_together(maker):
    for block in range(2):
        for algorithm in ("ig", "lime"):
            maker.done(algorithm, "error", {"error": [float(block)]}, block=block)
    built = maker.build()
    assert built.scores["algorithm"].tolist() == ["ig", "ig", "lime", "lime"]
    assert built.scores["value"].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert built.summary["n"].tolist() == [2, 2]


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
    assert maker.build().grid.notes == ("† every method, error, other: 1 of 2 undefined.",)


def test_a_mean_over_part_of_the_samples_is_marked_and_not_ranked(maker):
    for algorithm, value in (("a", 2.0), ("b", 3.0), ("c", 1.0)):
        maker.done(algorithm, "error", {"error": [value, value]})
        if algorithm != "c":
            maker.done(algorithm, "error", {"error": [value, value]}, block=1)
    maker.failed("c", "error", 2, "error", "RuntimeError: boom", block=1)
    built = maker.build()
    assert [row.entries["error"].best for row in built.grid.rows] == [True, False, False]
    assert entry(built, "c", "error").n_absent == 2
    assert "‡ not ranked: c, error: 2 of 4 samples measured." in built.grid.notes
    assert "– error: c: RuntimeError: boom" in built.grid.notes
    assert "| c | 1.00‡ |" in plain_text.markdown(built.grid)


def test_undefined_is_marked_counted_and_never_zero(maker):
    maker.done("ig", "error", {"error": [None, 0.5]})
    maker.done("lime", "error", {"error": [None, None]})
    built = maker.build()
    assert entry(built, "ig", "error").mean == 0.5
    assert entry(built, "lime", "error").status == "undefined"
    assert math.isnan(entry(built, "lime", "error").mean)
    assert built.grid.notes == ("† ig, error: 1 of 2 undefined; lime, error: 2 of 2 undefined.",)
    text = plain_text.markdown(built.grid)
    assert "| ig | 0.500† |" in text
    assert "| lime | – undefined† |" in text
    assert not entry(built, "ig", "error").best  # it is the only one with a mean


def test_a_cell_without_record_takes_the_state_of_what_it_needed(maker):
    maker.plan(None, None, 2)
    maker.failed("a", None, 2, "oom", "3 GiB")
    maker.plan("b", None, 2)
    for algorithm in ("a", "b"):
        maker.plan(algorithm, "error", 2)
    maker.plan("c", None, 2, status="skipped", reason="no gradient")
    built = maker.build()
    states = built.cells.set_index(["algorithm", "metric"])[["status", "reason"]]
    assert states.loc[("a", "error")].tolist() == ["oom", "its attribution has no result: 3 GiB"]
    assert states.loc[("b", "error"), "status"] == "missing"
    assert "interrupted" in states.loc[("b", "error"), "reason"]
    assert states.loc["c", "status"].tolist() == ["skipped"]
    assert entry(built, "a", "error").status == "oom"
    assert built.grid.notes[0] == "– missing: model or data, b: " + states.loc[("b", "error"), "reason"]
    assert "– oom: a: 3 GiB" in built.grid.notes
    # No cell of the metric finished: its own name stands for its columns.
    assert built.scores.query("metric == 'error'")["status"].tolist() == ["oom", "oom", "missing", "missing"]
    assert set(built.scores.query("algorithm == 'c'")["metric"]) == {
        "runtime", "forward_rows", "backward_rows", "peak_memory",
    }  # fmt: skip


def test_a_failed_model_explains_all_that_needed_it(maker):
    maker.failed(None, None, 2, "error", "weights do not fit")
    maker.plan("ig", None, 2)
    maker.plan("ig", "error", 2)
    built = maker.build()
    assert built.cells["status"].tolist() == ["error"] * 3
    assert built.grid.notes == ("– error: model or data, ig: weights do not fit",)
    assert built.scores["sample"].unique().tolist() == ["s0-0", "s0-1"]  # known from the failed record


def test_a_job_that_failed_before_its_cells_had_keys_still_has_rows(maker):
    for names in ((None, None), ("ig", None), ("ig", "error")):
        maker.plan(*names, 0, status="error", reason="FileNotFoundError: train.tsv")
    maker.cells = [planned | {"key": None} for planned in maker.cells]
    built = maker.build()
    assert built.cells["status"].tolist() == ["error"] * 3
    assert built.cells["samples"].tolist() == [0] * 3
    assert built.scores["status"].tolist() == ["error"] * 5  # four costs and the metric
    assert built.scores["sample"].isna().all()
    assert entry(built, "ig", "error").status == "error"
    assert "– error: model or data, ig: FileNotFoundError: train.tsv" in built.grid.notes


def test_columns_of_two_metrics_with_one_name_are_told_apart(maker):
    maker.done("ig", "infidelity", {"infidelity": [1.0], "infidelity_scaled": [2.0]})
    maker.done("ig", "square", {"infidelity": [3.0], "extra": [4.0]})
    built = maker.build()
    means = dict(zip(built.summary["metric"], built.summary["mean"], strict=True))
    assert means == {
        "infidelity.infidelity": 1.0, "square.infidelity": 3.0, "infidelity_scaled": 2.0, "extra": 4.0,
    }  # fmt: skip
    order = [column.name for column in built.grid.columns]
    assert order == ["infidelity.infidelity", "square.infidelity", "infidelity_scaled", "extra"]


def test_column_order_is_fidelity_robustness_others_cost(maker):
    maker.done("ig", None, {"peak_memory": [1.0], "backward_rows": [1], "forward_rows": [1], "runtime": [1.0]})
    for metric in ("zzz", "completeness", "sensitivity_max", "aaa"):
        maker.done("ig", metric, {metric: [1.0]})
    names = ["infidelity_relative", "infidelity", "infidelity_scaled"]
    maker.done("ig", "infidelity", {name: [1.0] for name in names})
    assert [column.name for column in maker.build().grid.columns] == [
        "infidelity", "infidelity_scaled", "infidelity_relative", "sensitivity_max", "completeness",
        "zzz", "aaa", "runtime", "forward_rows", "backward_rows", "peak_memory",
    ]  # fmt: skip


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


def test_cells_table(sample):
    assert list(sample.cells.columns) == [
        "model", "dataset", "algorithm", "metric", "status", "reason", "seconds", "forward_rows",
        "backward_rows", "samples", "timing", "environment", "key",
    ]  # fmt: skip
    row = sample.cells.query("dataset == 'digits' and algorithm == 'ig' and metric.isna()").iloc[0]
    assert (row["status"], row["backward_rows"], row["samples"]) == ("ok", 50 * N, N)
    assert len(sample.cells) == 34


def test_files_are_written_and_read_back(sample, tmp_path):
    out = tmp_path / "tables"
    assert [path.name for path in tables.write(sample, out)] == FILES
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    pd.testing.assert_frame_equal(pd.read_parquet(out / "scores.parquet"), sample.scores)
    summary = pd.read_csv(out / "summary.csv")
    np.testing.assert_array_equal(summary["mean"], sample.summary["mean"])  # every digit survives
    environment = json.loads((out / "environment.json").read_text())
    assert list(environment["environments"].values()) == [ENVIRONMENT]
    assert environment["run"]["command"][0] == "xbench"


def test_the_same_store_gives_the_same_bytes(store, tmp_path):
    manifest = fill(store)
    shutil.copytree(store.root, tmp_path / "copy")
    tables.write(tables.build(store, manifest), tmp_path / "one")
    tables.write(tables.build(Store(tmp_path / "copy"), manifest), tmp_path / "two")
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_nothing_planned_and_nothing_finished_still_give_headers(store, maker, tmp_path):
    empty = maker.build()
    tables.write(empty, tmp_path / "empty")
    assert pd.read_csv(tmp_path / "empty" / "summary.csv").columns[0] == "model"
    assert list(pd.read_parquet(tmp_path / "empty" / "scores.parquet").columns)[-1] == "status"
    assert "\\toprule" in (tmp_path / "empty" / "comparison.tex").read_text()
    assert tables.terminal(empty)
    maker.failed("ig", None, 2, "crashed", "killed by signal 9")
    maker.plan("ig", "error", 2)
    tables.write(maker.build(), tmp_path / "failed")
    assert "– crashed" in (tmp_path / "failed" / "comparison.md").read_text()
    assert len(pd.read_csv(tmp_path / "failed" / "summary.csv")) == 5


def test_an_unwritable_folder_is_a_store_error(sample, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        tables.write(sample, tmp_path / "file")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (1.0, "1.00"), (0.9996, "1.00"), (0.12345, "0.123"), (12.345, "12.3"),
        (123.45, "123"), (1234.0, "1234"), (-0.5, "-0.500"), (0.001, "0.00100"), (0.00099, "9.90e-4"),
        (1.234e-12, "1.23e-12"), (99999.9, "1.00e5"), (1.5e7, "1.50e7"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert plain_text.number(value) == text


def test_markdown(sample):
    lines = plain_text.markdown(sample.grid).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert table[0].startswith("| model | dataset | algorithm | infidelity ↓ | infidelity scaled ↓ |")
    assert table[0].endswith("| runtime (ms) ↓ | forward rows ↓ | backward rows ↓ | peak memory (MiB) ↓ |")
    first = table[2]
    assert first.startswith("| cnn | digits | Integrated Gradients | **0.0543** [0.0384, 0.0760] |")
    assert first.endswith("| 50 | 13.0 |")
    assert "*Random map* (control)" in table[5]
    assert "**" not in table[5]
    assert any("2 of 6 undefined" in line for line in lines)


def test_one_model_and_dataset_need_no_columns(maker):
    maker.done("ig", "error", {"error": [1.0]})
    text = plain_text.markdown(maker.build().grid)
    assert "| algorithm | error ↓ |" in text
    assert "m on d, n = 1" in text


def test_latex_escapes_and_splits(sample, maker):
    text = latex.table(sample.grid)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert text.count(r"\toprule") == 2
    assert r"\textbf{0.0543}\,$_{0.0384}^{0.0760}$" in text
    assert r"\textbf{0.155}$\dagger$" in text
    assert r"text\_cnn" in text
    assert not re.search(r"(?<!\\)[%#&](?![^\n]*\\\\)", text)
    info = {"label": r"50% & _{x}^\~$#<|>", "control": False}
    maker.done("odd", None, {"runtime": [1.0]}, info=info)
    maker.done("odd", "error", {"error": [1e-7, 3e-7]})
    escaped = latex.table(maker.build().grid)
    label = r"50\% \& \_\{x\}\textasciicircum{}\textbackslash{}\textasciitilde{}\$\#"
    label += r"\textless{}\textbar{}\textgreater{}"
    assert label in escaped
    assert r"2.00$\times$10\textsuperscript{$-$7}" in escaped
    assert r"$_{1.00{\times}10^{-7}}^{3.00{\times}10^{-7}}$" in escaped


def test_latex_sets_the_greek_of_relevance_propagation(maker):
    maker.done("lrp", None, {"runtime": [1.0]}, info={"label": "LRP-ε-γ-α2β1", "control": False})
    assert r"LRP-$\varepsilon$-$\gamma$-$\alpha$2$\beta$1 & " in latex.table(maker.build().grid)


def test_terminal_is_readable(sample):
    text = tables.terminal(sample, width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert re.search(r"Integrated Gradients +0\.0543\* +0\.0739\* +0\.155\*†", text)
    assert re.search(r"DeepLIFT +oom +oom", text)
    assert "Random map (control)" in text
    narrow = tables.terminal(sample, width=40)
    assert len(narrow.splitlines()) > len(text.splitlines())


def test_headers_show_units_and_directions():
    assert plain_text.title(TableColumn("hits", "hits", "higher", "%")) == "hits (%) ↑"
    assert plain_text.title(TableColumn("size", "size", "none", "")) == "size"


def test_what_the_metrics_do_to_the_samples_is_said_once_and_with_the_data_where_it_differs(maker):
    maker.done("ig", "infidelity", {"infidelity": [1.0]}, info={"perturbation": "removed words"})
    maker.done("lime", "infidelity", {"infidelity": [1.0]}, info={"perturbation": "removed words"})
    maker.done("ig", "completeness", {"completeness": [1.0]}, info={"perturbation": ""})
    assert maker.build().grid.notes == ("Perturbations: infidelity: removed words.",)
    maker.done("ig", "infidelity", {"infidelity": [1.0]}, block=1, dataset="e", info={"perturbation": "squares"})
    maker.cells[-1]["dataset"] = "e"
    assert maker.build().grid.notes[0] == "Perturbations: infidelity: removed words (d); infidelity: squares (e)."


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
