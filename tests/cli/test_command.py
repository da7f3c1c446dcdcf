"""From argv to exit code, with a runner that computes nothing."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

import xbench.report
import xbench.tables.tables
from xbench.__main__ import main
from xbench.cli import session
from xbench.cli.plan import text as plan_text
from xbench.config.keys import RUN, SETTINGS
from xbench.core.names import BASELINES
from xbench.modalities import MODALITIES
from xbench.run.planned import Outcome, PlannedCell, of_config
from xbench.run.progress import Display

ROOT = Path(__file__).parents[2]
Status = Callable[[PlannedCell], str]


def entries(cfg: DictConfig, status: Status) -> list[dict[str, Any]]:
    found = []
    for cell in of_config(cfg):
        node = OmegaConf.to_container(cfg.algorithm[cell.algorithm]) if cell.algorithm else None
        identity = [cell.kind, cell.model, cell.dataset, node, cell.algorithm, cell.metric, cfg.seed]
        outcome = status(cell)
        found.append(
            {
                "key": hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
                **{name: getattr(cell, name) for name in ("kind", "model", "dataset", "algorithm", "metric")},
                "samples": cfg.n or 0,
                "status": outcome,
                "reason": None if outcome == "ok" else "because",
            }
        )
    return found


class Runner:
    """A stand-in for `xbench.run.runner`: every cell ends with `status`."""

    def __init__(self, status: Status = lambda cell: "ok") -> None:
        self.status = status
        self.configs: list[DictConfig] = []

    def run_job(self, cfg: DictConfig, display: Display, begun: object = None) -> Outcome:
        self.configs.append(cfg)
        found = entries(cfg, self.status)
        display.start(len(found), sum(entry["status"] == "reused" for entry in found))
        for entry in found:
            if entry["status"] != "reused":
                display.cell_done(f"{entry['algorithm']} {entry['metric']}", entry["status"], 0.1, entry["reason"])
        return Outcome(found, interrupted=any(entry["status"] == "planned" for entry in found))

    def plan_job(self, cfg: DictConfig) -> list[dict[str, Any]]:
        return entries(cfg, self.status)


Command = Callable[..., tuple[int, dict[str, Any] | None]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the command in an empty folder; gives the exit code and the manifest."""

    def write(_store: object, _manifest: object, directory: Path, **_: object) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "index.html").write_text("a report")
        return directory / "index.html"

    def run(*words: str, runner: object = None) -> tuple[int, dict[str, Any] | None]:
        monkeypatch.setattr(session, "load_runner", lambda: runner or Runner())
        monkeypatch.setattr(sys, "argv", ["xbench", *words])
        code = main()
        saved = tmp_path / "results" / "manifests" / "latest.json"
        return code, json.loads(saved.read_text()) if saved.exists() else None

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(xbench.tables.tables, "build", lambda _store, manifest: manifest)
    monkeypatch.setattr(xbench.tables.tables, "terminal", lambda manifest: f"a table of {len(manifest['cells'])} cells")
    monkeypatch.setattr(xbench.report, "write", write)
    return run


@pytest.mark.slow
def test_a_sweep_and_a_list_give_the_same_cells(command: Command) -> None:
    code, swept = command("algorithm=ig,deeplift", "dataset=sst2", "metric=infidelity", "-m")
    assert code == 0
    assert swept is not None
    code, listed = command("algorithm=[ig,deeplift]", "dataset=sst2", "metric=infidelity")
    assert code == 0
    assert listed is not None
    assert swept["cells"] == listed["cells"]
    assert len(swept["cells"]) == 1 + 4 * 2  # samples; two algorithms and two controls, a map and a score each
    assert swept["command"] == ["xbench", "algorithm=ig,deeplift", "dataset=sst2", "metric=infidelity", "-m"]
    assert (swept["n"], swept["seed"], swept["name"]) == (32, 0, "latest")
    assert {cell["status"] for cell in swept["cells"]} == {"planned"}


def test_plain_command_is_a_quick_default(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    runner = Runner()
    assert command(runner=runner)[0] == 0
    (cfg,) = runner.configs
    assert (cfg.choice.dataset, cfg.n, list(cfg.algorithm)[2]) == ("digits", 32, "ig")
    said = capsys.readouterr()
    assert "a table of 50 cells" in said.out
    assert "report: reports/latest/index.html" in said.out
    assert "[50/50] ok" in said.err


@pytest.mark.slow
def test_nothing_is_left_but_results_and_the_report(command: Command, tmp_path: Path) -> None:
    command("algorithm=ig,deeplift", "metric=[]", "-m")
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["reports/latest/index.html", "results/manifests/latest.json"]
    assert not (tmp_path / "results" / "runs").exists()


@pytest.mark.slow
def test_flags_may_stand_anywhere(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine" / "algorithm").mkdir(parents=True)
    (tmp_path / "mine" / "algorithm" / "my_ig.yaml").write_text(
        "# @package algorithm.my_ig\n_target_: xbench.algorithms.IntegratedGradients\n"
    )
    runner = Runner()
    code, _ = command("-m", "algorithm=ig,my_ig", "--config-dir", "mine", "n=4", "metric=[]", runner=runner)
    assert code == 0
    assert [next(iter(cfg.algorithm)) for cfg in runner.configs] == ["ig", "my_ig"]


@pytest.mark.slow
def test_failed_cells_are_listed_with_the_command_that_retries_them(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = Runner(lambda cell: "oom" if (cell.algorithm, cell.metric) == ("ig", "infidelity") else "ok")
    code, manifest = command("algorithm=[ig]", "reuse=missing", runner=runner)
    assert code == 1
    assert manifest is not None
    said = capsys.readouterr().err
    assert "oom: ig infidelity on digits/cnn: because" in said
    assert "tried again by: xbench 'algorithm=[ig]'\n" in said


@pytest.mark.slow
def test_a_job_that_breaks_does_not_stop_the_others(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Runner):
        def run_job(self, cfg: DictConfig, display: Display, begun: object = None) -> Outcome:
            if "ig" in cfg.algorithm:
                raise RuntimeError("no such weights")
            return super().run_job(cfg, display)

    code, manifest = command("algorithm=ig,deeplift", "metric=[]", "-m", runner=Broken())
    assert code == 1
    assert manifest is not None
    assert "deeplift" in {cell["algorithm"] for cell in manifest["cells"]}
    assert "job 0 (algorithm=ig metric=[]): RuntimeError: no such weights" in capsys.readouterr().err


def test_a_job_without_a_trace_is_a_failure(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "job", lambda cfg, publish: None)
    assert command("algorithm=[]", "metric=[]")[0] == 1
    assert "its process ended without a result" in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupted_sweep_keeps_what_is_done(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    runner = Runner(lambda cell: "planned" if cell.metric else "ok")
    code, manifest = command("algorithm=ig,deeplift", "metric=infidelity", "-m", runner=runner)
    assert code == 130
    assert len(runner.configs) == 1
    assert manifest is not None
    said = capsys.readouterr().err
    assert "interrupted: 4 cells done, run the same command to continue" in said
    assert "to see it as it is: python -m xbench.report name=latest store=results reports=reports" in said
    assert not Path("reports").exists() or not list(Path("reports").rglob("*.html"))


def test_without_a_report_the_table_is_printed_and_nothing_written(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    code, manifest = command("algorithm=[ig]", "metric=[infidelity]", "report=false")
    assert code == 0
    assert manifest is not None
    out = capsys.readouterr().out
    assert "a table of" in out
    assert "report:" not in out
    assert not list(Path("reports").rglob("*.html"))


def test_the_same_command_again_does_nothing(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("algorithm=[]", "metric=[]", runner=Runner(lambda cell: "reused"))[0] == 0
    assert "nothing to do: all 3 cells were in the store already" in capsys.readouterr().out


def test_a_report_that_fails_is_not_a_lost_run(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(xbench.report, "write", fail)
    code, manifest = command("algorithm=[]", "metric=[]")
    assert code == 1
    assert manifest is not None
    said = capsys.readouterr()
    assert "a table of 3 cells" in said.out
    assert "python -m xbench.report name=latest store=results reports=reports" in said.err


@pytest.mark.slow
def test_swept_settings_are_rows_of_their_own(command: Command) -> None:
    _, manifest = command("algorithm=ig", "algorithm.ig.n_steps=10,20", "metric=[]", "-m")
    assert manifest is not None
    names = [cell["algorithm"] for cell in manifest["cells"]]
    assert names == [None, "ig n_steps=10", "ig n_steps=20", "random", "constant"]


def test_json_lines(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    command("display=json", "algorithm=[ig]", "metric=[]")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events][:2] == ["expect", "start"]
    assert events[-2]["report"] == "reports/latest/index.html"
    assert events[-2]["cells"] == {"ok": 4}
    assert events[-1] == {"event": "finish"}


def test_plan_prints_the_matrix_and_runs_nothing(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = Runner(lambda cell: "skipped" if cell.algorithm == "constant" and cell.metric else "to run")
    code, manifest = command("plan=true", "algorithm=ig", "metric=infidelity", runner=runner)
    assert (code, manifest, runner.configs) == (0, None, [])
    assert capsys.readouterr().out.splitlines() == [
        "cnn on digits",
        "            map  infidelity",
        "  samples   run",
        "  ig        run  run",
        "  random    run  run",
        "  constant  run  skipped",
        "",
        "skipped: 1 cell, 1 reason",
        "  constant infidelity on digits/cnn: because",
        "",
        "time: unknown, for no cell like these is in the store",
        "",
        "7 cells: 6 to run, 1 skipped",
    ]
    assert list(tmp_path.iterdir()) == []


def test_plan_counts_the_blocks_of_a_cell() -> None:
    cell = {"model": "cnn", "dataset": "digits", "algorithm": "ig", "metric": None, "reason": None}
    shown = plan_text([{**cell, "status": "reused"}, {**cell, "status": "to run"}, {**cell, "status": "to run"}])
    assert "1 reused, 2 run" in shown
    assert "run?" in plan_text([{**cell, "status": "unknown until loaded"}])


def test_a_store_that_cannot_be_written_is_an_error_before_the_work(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    runner = Runner()
    assert command("store=file/results", runner=runner)[0] == 2
    assert runner.configs == []
    assert "store=PATH" in capsys.readouterr().err


def python(*words: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "cli")])
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_help_names_every_key(tmp_path: Path) -> None:
    out, err = python("-m", "xbench", "--help", folder=tmp_path).communicate(timeout=60)
    assert err == ""
    for key in (*SETTINGS, *(f"run.{name}" for name in RUN if name not in ("id", "beside"))):
        assert f"{key} " in out or f"{key}:" in out, key
    assert "deeplift" in out
    text = " ".join(out.split())
    for name, modality in MODALITIES.items():
        assert f" {name}: {', '.join(modality.features)}" in text
    assert all(f" {name}" in text for name in BASELINES)
    assert list(tmp_path.iterdir()) == []


def test_misspelt_names_cost_no_torch(tmp_path: Path) -> None:
    script = """
import sys
from xbench.__main__ import main
for words in ("algoritm=ig", "algorithm=[ig,fsat]", "algorithm=ig,igg -m", "+unknown=1", "--cfg job sed=1"):
    sys.argv = ["xbench", *words.split()]
    assert main() == 2, words
for words, code in (("models", 0), ("datasets", 0), ("algorithms igg", 2), ("algoritms", 2)):
    sys.argv = ["xbench", "list", *words.split()]
    assert main() == code, words
heavy = {"torch", "pandas", "transformers", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    process = python("-c", script, folder=tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    lines = err.splitlines()
    for line, guess in zip(lines, ["algorithm", "fast", "ig", "All", "seed", "ig", "algorithms"], strict=True):
        assert line.startswith("xbench: ")
        assert guess in line
    assert list(tmp_path.iterdir()) == []


def test_module_exits_with_the_code(tmp_path: Path) -> None:
    process = python("-m", "xbench", "algorithm=igg", folder=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert "did you mean ig" in err
    assert "Traceback" not in err


def test_version_is_ours(tmp_path: Path) -> None:
    out, _ = python("-m", "xbench", "--version", folder=tmp_path).communicate(timeout=60)
    assert out.startswith("xbench ")


def test_tab_completion(tmp_path: Path) -> None:
    script = "import sys; sys.argv[0] = 'xbench'; from xbench.__main__ import main; sys.exit(main())"
    line = {"COMP_LINE": "xbench dataset=", "COMP_POINT": "15"}
    out, _ = python("-c", script, "-sc", "query=bash", folder=tmp_path, **line).communicate(timeout=60)
    assert "dataset=digits" in out
    assert "dataset=sst2" in out
    process = python("-c", script, "-sc", "install=bash", folder=tmp_path)
    assert "complete" in process.communicate(timeout=60)[0]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_is_done(tmp_path: Path, number: signal.Signals) -> None:
    script = """
import sys, time
import test_command, xbench.report, xbench.tables.tables
from xbench.__main__ import main
from xbench.cli import session

class Slow(test_command.Runner):
    def run_job(self, cfg, display, begun=None):
        found = test_command.entries(cfg, lambda cell: "planned" if cell.metric else "ok")
        try:
            print("working", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            return test_command.Outcome(found, interrupted=True)

session.load_runner = Slow
xbench.tables.tables.build = lambda store, manifest: manifest
xbench.tables.tables.terminal = lambda tables: "a table"
sys.argv = ["xbench", "algorithm=ig,deeplift", "-m"]
sys.exit(main())
"""
    process = python("-c", script, folder=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "a table" in out
    assert "interrupted: 4 cells done" in err
    assert (tmp_path / "results" / "manifests" / "latest.json").exists()
