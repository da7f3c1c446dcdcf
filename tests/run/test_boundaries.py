"""Whatever a user's part raises, returns or does ends its own cell, with the reason, and never the job."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.faults import MAPS, RAISED, SCORES, SIGNALS
from tests.jobs import Run, blobs, cells
from xbench.report.__main__ import main as report
from xbench.store.store import Store
from xbench.tables.outcomes import resolve

pytestmark = pytest.mark.slow

JOB = ["controls=false", "n=4"]


@pytest.fixture(autouse=True)
def parts(run: Run) -> None:
    for group in ("algorithm", "metric"):
        (Path("conf") / group).mkdir()
    part("algorithm", "spoilt")
    part("metric", "size")


def part(group: str, name: str, fault: str = "none") -> str:
    """An option file for a faulty part; its name."""
    target = {"algorithm": "FaultyMethod", "metric": "FaultyMetric"}[group]
    (Path("conf") / group / f"{name}.yaml").write_text(
        f"# @package {group}.{name}\n_target_: tests.faults.{target}\nfault: {fault}\n"
    )
    return name


def faulty(group: str, faults: Iterable[str]) -> dict[str, str]:
    """An option per fault: the names, with the faults."""
    return {part(group, fault.replace(" ", "_"), fault): fault for fault in faults}


def outcomes() -> pd.DataFrame:
    """Status and reason of every cell, by algorithm and metric ("" for a map)."""
    found = cells().astype({"metric": object, "reason": object}).fillna({"metric": "", "reason": ""})
    return found.set_index(["algorithm", "metric"])[["status", "reason"]]


def test_what_an_algorithm_raises_is_the_reason_of_its_cell(run: Run) -> None:
    names = faulty("algorithm", RAISED)
    assert blobs(run, *JOB, f"algorithm=[{','.join(names)},saliency]", "metric=[size]") == 1
    found = outcomes()
    for name, fault in names.items():
        assert found.loc[(name, ""), "status"] == "error"
        assert found.loc[(name, ""), "reason"].startswith(RAISED[fault][1])
        assert RAISED[fault][1] in found.loc[(name, "size"), "reason"]
    assert set(found.loc["saliency", "status"]) == {"ok"}


def test_what_a_metric_raises_is_the_reason_of_its_cell(run: Run) -> None:
    names = faulty("metric", RAISED)
    assert blobs(run, *JOB, "algorithm=[saliency]", f"metric=[{','.join(names)},size]") == 1
    found = outcomes().loc["saliency"]
    for name, fault in names.items():
        assert found.loc[name, "status"] == "error"
        assert found.loc[name, "reason"].startswith(RAISED[fault][1])
    assert found.loc["size", "status"] == "ok"


def test_what_a_model_raises_is_the_reason_of_its_cell(run: Run) -> None:
    faults = [f"model.module.fault={','.join(RAISED)}", "model.module._target_=tests.faults.FaultyNet"]
    assert blobs(run, *JOB, *faults, "algorithm=[deeplift,saliency]", "metric=[]", "-m") == 1
    found = cells().set_index(["model", "algorithm"])
    for fault, (_, words) in RAISED.items():
        model = f"net fault={fault}"
        assert found.loc[(model, "deeplift"), "status"] == "error"
        assert found.loc[(model, "deeplift"), "reason"].startswith(words)
        assert found.loc[(model, "saliency"), "status"] == "ok"


def test_a_part_ends_no_worker(run: Run) -> None:
    names = faulty("algorithm", ("exit", "interrupt", "fork"))
    job = [*JOB, f"algorithm=[{','.join(names)},saliency]", "metric=[]", "run.timeout=60"]
    assert blobs(run, *job) == 1
    found = outcomes()
    for name, fault in names.items():
        assert found.loc[(name, ""), "status"] == "error"
        assert found.loc[(name, ""), "reason"].startswith(RAISED[fault][1])
    assert found.loc[("saliency", ""), "status"] == "ok"


@pytest.mark.parametrize("fault", SIGNALS)
def test_a_real_ctrl_c_ends_the_job_whatever_the_part_makes_of_it(run: Run, fault: str) -> None:
    job = [*JOB, "algorithm=[saliency,spoilt,ig]", "metric=[]", f"algorithm.spoilt.fault={fault}"]
    assert blobs(run, *job) == 130
    store = Store("results")
    found = {cell.group[2]: cell.status for cell in resolve(store, store.manifest("latest"))}
    assert found == {None: "ok", "saliency": "ok", "spoilt": "missing", "ig": "missing"}


@pytest.mark.parametrize("fault", ["exit", "interrupt", "mute"])
def test_a_model_that_leaves_while_it_loads_ends_its_job_alone(run: Run, fault: str) -> None:
    text = Path("conf/model/net.yaml").read_text()
    Path("conf/model/leaves.yaml").write_text(
        text.replace("tests.lab.Net", "tests.faults.UnmadeNet").replace("none", fault)
    )
    assert blobs(run, *JOB, "model=leaves,net", "algorithm=[saliency]", "metric=[]", "-m") == 1
    found = cells().set_index("model")
    assert found.loc["leaves", "status"] == "error"
    assert found.loc["leaves", "reason"].startswith(RAISED[fault][1])
    assert set(found.loc["net", "status"]) == {"ok"}


def test_not_applicable_at_run_time_is_skipped_with_its_scores(run: Run) -> None:
    job = [*JOB, "algorithm=[saliency,spoilt]", "metric=[size,completeness]"]
    assert blobs(run, *job, "algorithm.spoilt.fault=not applicable") == 0
    found = outcomes().loc["spoilt"]
    assert set(found["status"]) == {"skipped"}
    assert set(found["reason"]) == {"needs more light than these samples have"}
    assert blobs(run, *job, "metric.size.fault=not applicable") == 0
    assert set(outcomes().xs("size", level=1)["status"]) == {"skipped"}
    assert set(outcomes().xs("completeness", level=1)["status"]) == {"ok"}


def test_a_map_of_the_wrong_shape_is_the_reason_of_its_cell(run: Run) -> None:
    names = faulty("algorithm", MAPS)
    assert blobs(run, *JOB, f"algorithm=[{','.join(names)},saliency]", "metric=[size]") == 1
    found = outcomes()
    for name, fault in names.items():
        assert found.loc[(name, ""), "status"] == ("nonfinite" if fault == "infinite" else "error")
        assert MAPS[fault][1] in found.loc[(name, ""), "reason"]
    assert set(found.loc["saliency", "status"]) == {"ok"}


def test_scores_that_are_none_are_the_reason_of_their_cell(run: Run) -> None:
    names = faulty("metric", SCORES)
    assert blobs(run, *JOB, "algorithm=[saliency]", f"metric=[{','.join(names)},size]") == 1
    found = outcomes().loc["saliency"]
    for name, fault in names.items():
        assert found.loc[name, "status"] == ("nonfinite" if fault == "infinite" else "error")
        assert SCORES[fault][1] in found.loc[name, "reason"]
    assert found.loc["size", "status"] == "ok"


@pytest.mark.parametrize("devices", ["cpu", "cpu*2"])
def test_words_that_are_none_are_the_reason_of_their_cell(run: Run, devices: str) -> None:
    names = faulty("metric", ("label", "describe"))
    job = [*JOB, "n=8", "algorithm=[saliency]", f"metric=[{','.join(names)},size]", f"run.devices={devices}"]
    assert blobs(run, *job) == 1
    found = outcomes().loc["saliency"]
    assert set(found.loc[list(names), "status"]) == {"error"}
    assert "info.label has type MetricFacts" in found.loc["label", "reason"]
    assert "info.perturbation has type object" in found.loc["describe", "reason"]
    assert found.loc["size", "status"] == "ok"


def test_another_command_that_computes_all_again_takes_no_result_of_this_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    part("algorithm", "first", "dies elsewhere")
    part("algorithm", "second", "other command")
    words = [*JOB, "algorithm=[first,second]", "metric=[size]", "reuse=never"]
    monkeypatch.setenv("OTHER", json.dumps(["--config-dir", "conf", "dataset=blobs", "display=none", *words]))
    assert blobs(run, *words) == 0
    assert Path("killed elsewhere").exists()
    assert set(outcomes()["status"]) == {"ok"}


def test_a_result_that_cannot_be_written_costs_its_own_cell(run: Run) -> None:
    job = [*JOB, "algorithm=[saliency]", "metric=[size,completeness]"]
    assert blobs(run, *job) == 0
    key = cells().query("metric == 'size'")["key"].item()
    folder = Path("results/cells") / key[:2]
    shutil.rmtree(folder)
    folder.write_text("no folder")
    assert blobs(run, *job) == 1
    found = outcomes().loc["saliency"]
    assert found.loc["size", "status"] == "error"
    assert "cannot write" in found.loc["size", "reason"]
    assert found.loc["completeness", "status"] == "ok"


def test_a_worker_that_stops_in_mid_send_is_late_like_any_other(run: Run) -> None:
    part("algorithm", "spoilt", "stops in mid-send")
    began = time.monotonic()
    assert blobs(run, *JOB, "algorithm=[saliency,spoilt,ig]", "metric=[]", "run.timeout=10") == 1
    found = outcomes().xs("", level=1)
    assert found.loc["spoilt", "status"] == "timeout"
    assert found.loc[["saliency", "ig"], "status"].tolist() == ["ok", "ok"]
    assert time.monotonic() - began < 100


def test_an_answer_that_was_not_asked_for_is_no_other_cells(run: Run) -> None:
    part("algorithm", "spoilt", "says all twice")
    job = [*JOB, "algorithm=[spoilt,feature_ablation,ig]", "metric=[]", "run.timeout=100"]
    assert blobs(run, *job, "name=twice", "store=twice") == 0
    assert blobs(run, *JOB, "algorithm=[feature_ablation,ig]", "metric=[]", "store=once") == 0
    stores = Store("once"), Store("twice")
    for key in cells().query("metric.isna()")["key"]:
        once, twice = (store.load(key) for store in stores)
        assert once is not None
        assert twice is not None
        assert once["info"].get("label") == twice["info"].get("label")
        for name, values in stores[0].arrays(key).items():
            np.testing.assert_allclose(stores[1].arrays(key)[name], values, rtol=1e-5, atol=1e-6)


def typed(*words: str, out: int = subprocess.PIPE, err: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    line = [sys.executable, "-m", "xbench", *words]
    return subprocess.run(line, env=environment, stdout=out, stderr=err, text=True, timeout=300)


LAB = ["--config-dir", "conf", "dataset=blobs", *JOB]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, on the lab's data."""
    return typed(*LAB, *words)


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("display", ["plain", "json", "rich"])
def test_a_reader_that_leaves_costs_lines_and_no_cell(run: Run, unread: int, display: str) -> None:
    ended = typed(*LAB, "algorithm=[saliency]", "metric=[]", f"display={display}", out=unread)
    assert ended.returncode == 0
    assert "nobody reads the output any more" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert set(cells()["status"]) == {"ok"}


@pytest.mark.parametrize("display", ["plain", "rich"])
def test_nobody_at_all_reads(run: Run, unread: int, display: str) -> None:
    job = ["algorithm=[saliency]", "metric=[]", f"display={display}"]
    assert typed(*LAB, *job, out=unread, err=unread).returncode == 0
    assert set(cells()["status"]) == {"ok"}


@pytest.mark.parametrize(
    "words", ["list algorithm", "list algorithm ig", "--help", "--cfg job", "--version", "status ."]
)
def test_a_reader_that_leaves_has_what_it_wanted(run: Run, unread: int, words: str) -> None:
    ended = typed(*words.split(), out=unread)
    assert ended.returncode == 0
    assert ended.stderr.splitlines() == ["nobody reads the output any more; the rest of it is left out"]


def test_a_terminal_that_is_closed_leaves_a_run_that_can_be_reported_and_is_tidied(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    part("algorithm", "spoilt", "hang up")
    assert command("algorithm=[saliency,spoilt]", "metric=[]", "display=none", "name=cut").returncode == -signal.SIGHUP
    assert report(["name=cut"]) == 0
    found = cells("cut").set_index("algorithm")["status"]
    assert found["saliency"] == "ok"
    assert found["spoilt"] == "missing"
    assert len(list(Path("results/runs").iterdir())) == 1
    assert run("status") == 0
    assert "it ended before its report" in capsys.readouterr().out
    assert blobs(run, *JOB, "algorithm=[saliency]", "metric=[]") == 0
    assert not Path("results/runs").exists()


def test_a_manifest_is_saved_as_each_job_of_a_sweep_begins(run: Run) -> None:
    part("algorithm", "spoilt", "hang up")
    assert command("algorithm=saliency,spoilt,ig", "metric=[]", "display=none", "-m").returncode == -signal.SIGHUP
    store = Store("results")
    found = {cell.group[2]: cell.status for cell in resolve(store, store.manifest("latest"))}
    assert found == {None: "ok", "saliency": "ok", "spoilt": "missing"}


def test_a_full_disk_is_told_with_its_reason(run: Run) -> None:
    part("algorithm", "spoilt", "full disk")
    ended = command("algorithm=[saliency,spoilt,ig]", "metric=[]", "display=plain")
    assert ended.returncode == 1
    assert "File too large" in ended.stderr
    assert "is not writable" in ended.stderr
    assert "job 0" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert report(["name=latest"]) == 0
    found = cells().set_index("algorithm")["status"]
    assert found["saliency"] == "ok"
    assert found["ig"] == "missing"


def test_places_below_the_home_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path("home").absolute()
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert blobs(run, *JOB, "algorithm=[saliency]", "metric=[]", "store='~/s'", "reports='~/r'") == 0
    assert (home / "r" / "latest" / "index.html").exists()
    assert report(["name=latest", "store=~/s", "reports=~/r"]) == 0
    assert list((home / "s" / "cells").rglob("*.json"))
    assert not Path("~").exists()
