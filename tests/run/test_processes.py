"""Several worker processes: the same table as with one, and a process that dies, hangs or is late costs one cell."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.jobs import BUSY, Run, blobs, cells, numbers
from xbench.store.store import Store

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def maps(store: str) -> dict[tuple[str, int], np.ndarray]:
    """The stored maps by algorithm and block."""
    found: dict[tuple[str, int], np.ndarray] = {}
    opened = Store(store)
    for path in sorted(Path(store, "cells").rglob("*.json")):
        record = opened.load(path.stem)
        if record is not None and record["kind"] == "attribution":
            found[str(record["algorithm"]), int(record["samples"][0].split("-")[1])] = opened.arrays(path.stem)["map_0"]
    return found


def test_one_two_and_three_workers_make_the_same_table(run: Run) -> None:
    job = ["algorithm=[saliency,gradient_shap]", "metric=[infidelity,sensitivity_max,completeness]"]
    job += ["dataset.n=26", "run.block=14"]
    assert blobs(run, *job, "run.devices=cpu", "name=one", "store=one") == 0
    expected, drawn = numbers("one"), maps("one")
    for workers, name in ((2, "two"), (3, "three")):
        timing = "run.timing=shared" if workers == 3 else "run.timing=exclusive"
        assert blobs(run, *job, f"run.devices=cpu*{workers}", timing, f"name={name}", f"store={name}") == 0
        pd.testing.assert_frame_equal(numbers(name), expected, rtol=1e-5, atol=1e-6)
        again = maps(name)
        assert again.keys() == drawn.keys()
        for key, values in drawn.items():
            np.testing.assert_allclose(again[key], values, rtol=1e-5, atol=1e-6)
        # The control draws its numbers and evaluates nothing: the draws themselves, to the last bit.
        assert all(np.array_equal(again[key], drawn[key]) for key in drawn if key[0] == "random")


def test_rows_say_what_ran_beside_them_and_runtimes_are_then_not_ranked_together(run: Run) -> None:
    assert blobs(run, "algorithm=[saliency]", "metric=[]", "run.devices=cpu*2", "store=a") == 0
    assert not cells().query("metric.isna() & algorithm.notna()")["timing"].str.contains("busy").any()
    assert blobs(run, "algorithm=[ig]", "metric=[]", "run.devices=cpu*2", "run.timing=shared", "store=a") == 0
    assert cells().query("algorithm == 'ig' & metric.isna()")["timing"].str.endswith(BUSY).all()
    assert blobs(run, "algorithm=[saliency,ig]", "metric=[]", "store=a", "name=both") == 0
    timed = cells("both").query("metric.isna() & algorithm.notna()").set_index("algorithm")["timing"]
    assert timed["ig"].endswith(BUSY)
    assert not timed["saliency"].endswith(BUSY)
    assert "different hardware" in Path("reports/both/tables/comparison.tex").read_text()


def test_a_killed_worker_costs_one_retry_and_loses_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code = blobs(
        run, "model.module.fault=dies once", "algorithm=[saliency,deeplift]", "metric=[completeness,infidelity]",
        "run.devices=cpu*2", "display=plain",
    )  # fmt: skip
    assert Path("died").exists()
    assert code == 0
    assert set(cells()["status"]) == {"ok"}
    assert "it gets another try" in capsys.readouterr().err


def test_a_cell_that_kills_its_worker_twice_has_crashed_and_the_others_go_on(run: Run) -> None:
    job = ["model.module.fault=dies", "algorithm=[saliency,deeplift]", "metric=[infidelity]", "controls=false"]
    assert blobs(run, *job, "run.devices=cpu*2") == 1
    status = dict(zip(cells()["algorithm"] + "/" + cells()["metric"].fillna(""), cells()["status"], strict=True))
    assert status["saliency/"] == "ok"
    assert status["saliency/infidelity"] == "ok"
    assert status["deeplift/"] == "crashed"
    assert status["deeplift/infidelity"] == "crashed"
    reasons = cells().query("status == 'crashed'")["reason"]
    assert reasons.str.contains("killed, as systems do when memory ends").all()


def test_a_device_where_every_process_dies_at_once_is_given_up(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    job = ["model.module.fault=dies in a worker", "algorithm=[saliency,deeplift]", "metric=[infidelity]"]
    started = time.monotonic()
    assert blobs(run, *job, "run.devices=cpu*2", "display=plain") == 1
    assert set(cells()["status"]) == {"crashed"}
    assert cells()["reason"].str.contains("no process starts: its process was killed").any()
    assert capsys.readouterr().err.count("3 times before it computed anything; given up") == 2
    assert time.monotonic() - started < 120


def test_a_cell_over_its_time_ends_as_timeout_and_the_others_go_on(run: Run) -> None:
    job = ["model.module.fault=hangs", "algorithm=[saliency,deeplift]", "metric=[]", "controls=false"]
    started = time.monotonic()
    assert blobs(run, *job, "run.timeout=15") == 1
    assert time.monotonic() - started < 120
    found = cells().set_index("algorithm")
    assert found.loc["saliency", "status"] == "ok"
    assert found.loc["deeplift", "status"] == "timeout"
    assert "run.timeout=15" in str(found.loc["deeplift", "reason"])


def test_two_commands_on_one_store_at_once_both_end_with_the_whole_table(run: Run, cache: Path) -> None:
    job = ["--config-dir", "conf", "dataset=blobs", "algorithm=[saliency,ig,deeplift]", "metric=[sensitivity_max]"]
    environment = os.environ | {"XBENCH_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    drivers = [
        subprocess.Popen(
            [sys.executable, "-m", "xbench", *job, f"name={name}", "display=none"], env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("first", "second")
    ]  # fmt: skip
    said = [driver.communicate(timeout=120) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], said
    assert set(cells("first")["status"]) == {"ok"}
    pd.testing.assert_frame_equal(numbers("first"), numbers("second"))
