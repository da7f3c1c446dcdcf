"""Hydra's launchers on this machine: the same table as one process makes, and `xbench status` meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.jobs import BUSY, Run, blobs, cells, numbers
from xbench.config.compose import Composer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SWEEP = ["algorithm=saliency,gradient_shap", "metric=[infidelity,sensitivity_max]", "-m"]
WORKERS = {
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": [],  # starts all jobs at once, which are two
    "ray": ["+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false"],
}


def start(*arguments: str) -> subprocess.Popen[str]:
    """The command in a process of its own, as a user types it in this folder."""
    line = [sys.executable, "-m", "xbench", "--config-dir", "conf", "dataset=blobs", *arguments]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.parametrize("launcher", WORKERS)
def test_a_sweep_under_a_launcher_makes_the_table_of_one_process(run: Run, launcher: str) -> None:
    assert blobs(run, *SWEEP, "name=serial", "store=serial") == 0
    command = start(*SWEEP, f"hydra/launcher={launcher}", *WORKERS[launcher], "name=other", "store=other")
    said, _ = command.communicate(timeout=300)
    assert command.returncode == 0, said
    pd.testing.assert_frame_equal(numbers("other"), numbers("serial"), rtol=1e-5, atol=1e-6)
    timed = cells("other").query("metric.isna() & algorithm.notna()")["timing"]
    assert timed.str.endswith(BUSY).all()
    assert "xbench status other" in said
    assert blobs(run, *SWEEP, "name=other", "store=other", "reuse=only") == 0  # all of it is in the store
    assert not list(Path("other/runs").glob("*/*.json"))


def test_jobs_of_a_launcher_may_have_worker_processes_of_their_own(run: Run) -> None:
    command = start("algorithm=saliency,ig", "metric=[]", "-m", "hydra/launcher=joblib", "run.timeout=200", "store=s")
    said, _ = command.communicate(timeout=300)
    assert command.returncode == 0, said


def test_status_tells_what_a_command_is_doing_and_that_it_was_killed(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    command = start("algorithm=[deeplift]", "metric=[infidelity]", "model.module.fault=hangs", "store=s")
    try:
        told = _told_in_time(run, capsys)
    finally:
        command.kill()
        command.communicate()
    assert told["state"] == "running"
    assert "algorithm=[deeplift]" in told["command"]
    assert told["jobs"][0]["cells"] > told["jobs"][0]["done"]
    assert run("status", "s") == 0
    said = capsys.readouterr().out
    assert "job 0: lost" in said
    assert "type it again to go on" in said


def _told_in_time(run: Run, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """What status says once the first cell has begun."""
    for _ in range(480):
        if Path("s").is_dir():
            capsys.readouterr()
            assert run("status", "s", "--json") == 0
            told = json.loads(capsys.readouterr().out)
            if told and told[0]["jobs"][0].get("cell"):
                return told[0]
        time.sleep(0.25)
    raise AssertionError("the command said nothing for two minutes")


def test_status_of_a_store_at_rest_and_of_none(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert blobs(run, "algorithm=[saliency]", "metric=[]") == 0
    capsys.readouterr()
    assert run("status") == 0
    assert capsys.readouterr().out == "no command is at work on the store results\n"
    assert run("status", "nowhere") == 2
    assert "there is no store nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "state"),
    [({"host": "elsewhere", "written": 0.0}, "silent"), ({"host": "elsewhere", "written": 1e12}, "running")],
)
def test_a_job_on_another_machine_is_known_by_what_it_writes(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], told: dict[str, object], state: str
) -> None:
    facts = {"pid": 1, "began": 0.0, "cells": 4, "done": 1, "reused": 0, "failed": 1, "cell": "ig", "seconds_left": 9.0}
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "command.json").write_text(json.dumps({"command": ["xbench"], "jobs": 2, **told, **facts}))
    (folder / "00001.status.json").write_text(json.dumps({**facts, **told}))
    assert run("status", str(tmp_path)) == 0
    said = capsys.readouterr().out
    assert "job 0: waiting" in said
    assert f"job 1: {state}, 1 of 4 cells (0 reused, 1 failed)" in said


@pytest.mark.parametrize(
    ("left", "state"),
    [
        ({"interrupted": True, "error": None}, "interrupted"),
        ({"interrupted": False, "error": "the disk is full"}, "failed"),
        ({"interrupted": False, "error": None}, "finished"),
    ],
)
def test_a_job_that_is_over_says_how_it_ended(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], left: dict[str, object], state: str
) -> None:
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    facts = {"host": "elsewhere", "pid": 1, "began": 0.0}
    (folder / "command.json").write_text(json.dumps({"command": ["xbench"], "jobs": 1, **facts}))
    (folder / "00000.json").write_text(json.dumps({"cells": [], "notes": [], **left}))
    (tmp_path / "runs" / "two").mkdir()
    (tmp_path / "runs" / "two" / "command.json").write_text("{}")  # no file of ours
    assert run("status", str(tmp_path)) == 0
    assert f"job 0: {state}\n" in capsys.readouterr().out


@pytest.mark.parametrize("launcher", ["slurm", "ray_cluster"])
def test_the_presets_compose(run: Run, launcher: str) -> None:
    assert blobs(run, *SWEEP, f"hydra/launcher={launcher}", "plan=true") == 0


def _without_plugins(_self: Composer, group: str) -> list[str]:
    return sorted(path.stem for folder in (ROOT / "conf", Path("conf")) for path in (folder / group).glob("*.yaml"))


def test_a_launcher_without_a_sweep_or_without_its_plugin_is_refused(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert blobs(run, "hydra/launcher=joblib") == 2
    assert "add -m" in capsys.readouterr().err
    assert blobs(run, *SWEEP, "hydra/launcher=joblip") == 2
    assert "joblib" in capsys.readouterr().err
    monkeypatch.setattr(Composer, "options", _without_plugins)
    for launcher, extra in {"submitit_local": "submitit", "slurm": "submitit", "ray_cluster": "ray"}.items():
        assert blobs(run, *SWEEP, f"hydra/launcher={launcher}") == 2
        assert f"pip install 'xbench[{extra}]'" in capsys.readouterr().err
