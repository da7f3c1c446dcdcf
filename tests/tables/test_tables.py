"""Scores, summary, cells and files from stored cells: numbers against hand computation, and states."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.store_samples import ENVIRONMENT, N, fill
from tests.tables.maker import entry
from xbench.store.store import Store, StoreError
from xbench.tables import tables

FILES = ["scores.parquet", "summary.csv", "comparison.csv", "comparison.md", "comparison.tex", "cells.csv"]
FILES += ["pairwise.csv", "pairwise.parquet"]
FILES += ["curves.parquet", "agreement.csv", "agreement.parquet", "trust.csv", "trust.parquet"]
FILES += ["environment.json"]


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
    summary = pd.read_csv(out / "summary.csv", dtype={"mean": str})  # older pandas round numbers
    np.testing.assert_array_equal(summary["mean"].astype(float), sample.summary["mean"])  # every digit survives
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
