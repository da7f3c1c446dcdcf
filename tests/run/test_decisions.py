"""Which rewrites of a model are used is decided once and kept in the store: no number depends on who came first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.jobs import Run, blobs, cells, numbers
from xbench.engine.rewrites import trial
from xbench.store.store import Store, cell_key

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KINKED = ["model.module._target_=tests.lab.Kinked", "dataset.n=12", "run.block=4"]
JOB = ["algorithm=[saliency,ig,deeplift]", "algorithm.ig.n_steps=20", "metric.infidelity.n_perturb_samples=10"]
JOB += ["metric.sensitivity_max.n_perturb_samples=4"]


def records(store: str) -> list[dict[str, Any]]:
    """Every finished cell that evaluates the model."""
    found = [json.loads(path.read_text()) for path in Path(store, "cells").rglob("*.json")]
    return [record for record in found if record["info"].get("rewrites") and record["status"] == "ok"]


def agree(name: str, other: str) -> None:
    """Every score of every sample to 1e-5 of itself, or of a millionth of the metric's largest where it is noise."""
    left, right = numbers(name), numbers(other)
    for metric in left["metric"].unique():
        a, b = (frame[frame["metric"] == metric].reset_index(drop=True) for frame in (left, right))
        pd.testing.assert_frame_equal(a, b, rtol=1e-5, atol=1e-6 * float(a["value"].abs().max()))


def killed(arguments: list[str], store: str, finished: tuple[int, ...]) -> None:
    """Start the command so many times, and kill it when the store has so many cells."""
    command = [sys.executable, "-m", "xbench", "--config-dir", "conf", "display=none", *arguments, f"store={store}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for count in finished:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(list(Path(store, "cells").rglob("*.json"))) < count and time.monotonic() < deadline:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_killed_resumed_and_undisturbed_runs_agree(run: Run) -> None:
    assert blobs(run, *KINKED, *JOB, "name=whole", "store=whole") == 0
    killed(["dataset=blobs", *KINKED, *JOB, "name=killed"], "killed", (9, 20))
    assert blobs(run, *KINKED, *JOB, "name=killed", "store=killed") == 0
    agree("killed", "whole")
    plain = [record for record in records("killed") if record["algorithm"] != "deeplift"]
    assert {record["info"]["rewrites"]["folded"] for record in plain} == {"used"}
    dies = ["model.module.fault=dies once in a worker", "run.devices=cpu*2"]
    assert blobs(run, *KINKED, *JOB, *dies, "name=workers", "store=workers") == 0
    assert Path("died").exists()
    assert set(cells("workers")["status"]) == {"ok"}
    agree("workers", "whole")


def test_the_order_of_methods_decides_nothing(run: Run) -> None:
    first = ["algorithm=[saliency]", "metric=[sensitivity_max]"]
    assert blobs(run, *KINKED, *first, "store=a") == 0
    assert blobs(run, *KINKED, *JOB, "store=a", "name=a") == 0
    assert blobs(run, *KINKED, *JOB, "store=b", "name=b", "run.block=12") == 0
    agree("a", "b")


def test_sentences_without_their_padding_agree_after_a_kill(run: Run) -> None:
    job = ["dataset=sst2", "algorithm=[saliency,ig,feature_ablation]", "n=12", "run.block=4"]
    job += ["metric=[infidelity,sensitivity_max]", "metric.sensitivity_max.n_perturb_samples=4"]
    assert run(*job, "name=whole", "store=whole", "display=none") == 0
    killed([*job, "name=killed"], "killed", (7,))
    assert run(*job, "name=killed", "store=killed", "display=none") == 0
    assert run(*job, "name=workers", "store=workers", "display=none", "run.devices=cpu*2") == 0
    agree("killed", "whole")
    agree("workers", "whole")
    assert {record["info"]["rewrites"]["padding left out"] for record in records("whole")} == {"used"}


def test_what_is_decided_is_not_tried_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert blobs(run, *KINKED, "algorithm=[saliency]", "metric=[]") == 0
    (path,) = Path("results/rewrites").iterdir()
    decided = json.loads(path.read_text())
    assert decided["decision"] == {"channels last": "used", "folded": "used"}
    assert decided["identity"]["samples"] == [f"blob-{i}" for i in range(8)]
    path.write_text(json.dumps(decided | {"decision": {"folded": "dropped: another machine found so"}}))
    monkeypatch.setattr(trial, "decide", lambda *_: pytest.fail("tried again"))
    assert blobs(run, *KINKED, "algorithm=[ig]", "metric=[]") == 0
    (last,) = [record for record in records("results") if record["algorithm"] == "ig"][:1]
    assert last["info"]["rewrites"] == {"folded": "dropped: another machine found so"}


def test_nothing_is_tried_while_a_cell_is_timed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*arguments: Any) -> Any:
        time.sleep(3)
        return decide(*arguments)

    decide = trial.decide
    monkeypatch.setattr(trial, "decide", slow)
    assert blobs(run, *KINKED, "algorithm=[saliency]", "metric=[]", "controls=false") == 0
    frame = pd.read_parquet("reports/latest/tables/scores.parquet")
    runtimes = frame[frame["metric"] == "runtime"]["value"]
    assert len(runtimes)
    assert runtimes.max() < 0.5


def test_exact_and_false_have_cells_of_their_own(run: Run) -> None:
    job = [*KINKED, "algorithm=[saliency]", "metric=[]", "controls=false", "store=a"]
    found = {}
    for value in ("true", "exact", "false"):
        assert blobs(run, *job, f"run.rewrites={value}") == 0
        found[value] = [record["info"]["rewrites"] for record in records("a")]
    assert len(list(Path("a/cells").rglob("*.safetensors"))) == 3 * len(found["true"]) * 2  # maps and pictures
    assert all(notes["folded"] == "used" for notes in found["true"])
    exact = [notes for notes in found["exact"] if notes["folded"] != "used"]
    assert exact
    assert all(notes["folded"].startswith("dropped: results differ by") for notes in exact)
    assert blobs(run, *job, "run.rewrites=always") == 2


def test_samples_that_cannot_be_tried_leave_the_model_as_it_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("the first sample is damaged")

    monkeypatch.setattr(trial, "decide", broken)
    assert blobs(run, *KINKED, "algorithm=[saliency]", "metric=[]") == 0
    notes = {note for record in records("results") for note in record["info"]["rewrites"].values()}
    assert notes == {"not tried: ValueError: the first sample is damaged"}


def test_of_two_that_decide_at_once_the_first_one_s_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, identity = Store(tmp_path), {"kind": "rewrites", "model": "m"}
    key = cell_key(identity)
    assert store.decision(key) is None
    assert store.decide(key, identity, {"folded": "used"}, "here") == {"folded": "used"}
    assert store.decide(key, identity, {"folded": "dropped"}, "there") == {"folded": "used"}
    (path,) = (tmp_path / "rewrites").iterdir()
    for damage in ("{", '{"decision": {"folded": 1}}', "[]"):
        path.write_text(damage)
        assert store.decision(key) is None
        assert store.decide(key, identity, {"folded": "dropped"}, "there") == {"folded": "dropped"}
