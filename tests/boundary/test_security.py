"""What strangers' files can make a command do, and what of the user's own is written down."""

import ast
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import pandas as pd
import pytest
from omegaconf import OmegaConf
from rich.console import Console

import xbench
from tests.jobs import Run, blobs
from xbench.boundary.printable import printable
from xbench.boundary.redact import Redactor, by_name, is_secret
from xbench.cli import launchers
from xbench.cli.displays import PlainDisplay
from xbench.cli.live import RichDisplay
from xbench.config import devices
from xbench.store.environment import environment

CANARY = "hf_canary_0123456789"


def git(folder: Path, *words: str) -> str:
    line = ["git", "-c", "user.name=x", "-c", "user.email=x@x", *words]
    return subprocess.run(line, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With one commit of one file, and a program that leaves a mark when it is run."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "file.txt").write_text("one\n")
    git(folder, "add", "file.txt")
    git(folder, "commit", "-qm", "one")
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path / 'ran'}'\ncat\n")
    program.chmod(0o755)
    return folder


def recorded(folder: Path) -> dict[str, object]:
    found = environment(directory=folder)["git"]
    assert isinstance(found, dict)
    return found


def test_the_commit_and_whether_files_changed_are_recorded(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert recorded(repository) == {"commit": commit, "dirty": False}
    (repository / "new.txt").write_text("untracked")
    assert recorded(repository) == {"commit": commit, "dirty": False}
    (repository / "file.txt").write_text("two\n")
    assert recorded(repository) == {"commit": commit, "dirty": True}


def monitor(folder: Path, program: Path) -> None:
    git(folder, "config", "core.fsmonitor", str(program))


def hooks(folder: Path, program: Path) -> None:
    git(folder, "config", "core.hooksPath", str(program.parent))
    (program.parent / "post-index-change").symlink_to(program)


def filters(folder: Path, program: Path) -> None:
    (folder / ".gitattributes").write_text("* filter=a=b.c\n")
    with (folder / ".git" / "config").open("a") as file:
        file.write(f'[filter "a=b.c"]\n\tclean = {program}\n')


def included_filters(folder: Path, program: Path) -> None:
    (folder / ".gitattributes").write_text("* filter=evil\n")
    (folder / "more").write_text(f'[FILTER "evil"]\n\tprocess = {program}\n')
    git(folder, "config", "include.path", "../more")


@pytest.mark.parametrize("attack", [monitor, hooks, filters, included_filters])
def test_a_repository_runs_nothing(repository: Path, tmp_path: Path, attack: Callable[[Path, Path], None]) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    attack(repository, tmp_path / "program")
    (repository / "file.txt").write_text("two\n")
    os.utime(repository / "file.txt", (1, 1))
    (tmp_path / "ran").unlink(missing_ok=True)  # git may have run it for us a moment ago
    dirty = None if "filters" in attack.__name__ else True
    assert recorded(repository) == {"commit": commit, "dirty": dirty}
    assert not (tmp_path / "ran").exists()


def test_secrets_are_not_sent_to_a_launchers_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    monkeypatch.setenv("HF_TOKEN_PATH", "/where/the/token/is")
    monkeypatch.setenv("XBENCH_DATA", "/the/data")
    sent = cloudpickle.dumps(launchers.elsewhere(lambda: None))
    assert CANARY.encode() not in sent
    assert b"HF_TOKEN" in sent  # that it is lacking can be said
    assert b"/where/the/token/is" in sent
    assert b"/the/data" in sent


def test_what_counts_as_a_secret() -> None:
    assert all(map(is_secret, ("HF_TOKEN", "MY_API_KEY", "db_password", "AWS_SECRET_ACCESS_KEY")))
    assert not any(map(is_secret, ("HF_TOKEN_PATH", "HF_HOME", "KEYBOARD", "XBENCH_DATA")))


def test_values_of_the_environment_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"X": "value-of-x", "N": "5", "SHORT": "ok", "HF_TOKEN": CANARY}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ABSENT", raising=False)
    cfg = OmegaConf.create(
        {
            "path": "a/${oc.env:X}/b",
            "again": "${path}",
            "number": "${oc.decode:${oc.env:N}}",
            "other": "${oc.env:ABSENT,7}",
            "list": ["${oc.env:SHORT}"],
        }
    )
    named = by_name(cfg)
    assert named["path"] == named["again"] == "a/${oc.env:X}/b"
    assert (named["number"], named["other"], named["list"]) == ("${oc.env:N}", "7", ["${oc.env:SHORT}"])
    assert cfg.path == "a/value-of-x/b"  # afterwards as before
    redact = Redactor([cfg])
    assert redact(f"no a/value-of-x/b, {CANARY}, ok") == "no a/${oc.env:X}/b, ${oc.env:HF_TOKEN}, ok"
    assert redact({"list": ["ok"], "status": "ok"}) == {"list": ["${oc.env:SHORT}"], "status": "ok"}


@pytest.mark.slow
def test_no_value_of_the_environment_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parameter from the environment, one that the shell put in, and an error that quotes it."""
    monkeypatch.setenv("OURS", "value-of-ours")
    monkeypatch.setenv("HF_TOKEN", CANARY)
    Path("leaky.py").write_text(
        "from tests.lab import Net\n\n\n"
        "class Leaky(Net):\n"
        "    def __init__(self, ours: str, token: str) -> None:\n"
        "        super().__init__('none')\n"
        "        self.told = f'{ours} {token}'\n\n"
        "    def forward(self, x):\n"
        "        if x.requires_grad:\n"
        "            raise RuntimeError(f'refused with {self.told}')\n"
        "        return super().forward(x)\n"
    )
    monkeypatch.syspath_prepend(".")
    given = ["model.module._target_=leaky.Leaky", "~model.module.fault", "+model.module.ours=${oc.env:OURS}"]
    assert blobs(run, *given, f"+model.module.token={CANARY}", "algorithm=[saliency]", "metric=[]") == 1
    written = [path for place in ("results", "reports") for path in Path(place).rglob("*") if path.is_file()]
    texts = {path: path.read_bytes() for path in written}
    for secret in (b"value-of-ours", CANARY.encode()):
        assert [path for path, content in texts.items() if secret in content] == []
    assert sum(b"oc.env:OURS" in content for content in texts.values()) >= 3  # cells, manifest, page
    assert any(b"refused with ${oc.env:OURS} ${oc.env:HF_TOKEN}" in content for content in texts.values())


BELL = "a\x1b]0;title\x07b\x1b[31mc\x9bd\u202ee\ud800f\rg"
SHOWN = r"a\x1b]0;title\x07b\x1b[31mc\x9bd\u202ee\ud800f\rg"


def test_control_characters_are_shown() -> None:
    assert printable(BELL) == SHOWN
    assert printable("plain\ttext\nü 例 é") == "plain\ttext\nü 例 é"


def test_displays_obey_nothing() -> None:
    progress, results = io.StringIO(), io.StringIO()
    plain = PlainDisplay(progress, results)
    plain.message(BELL)
    plain.cell_done(BELL, "error", 0.1, BELL)
    plain.result(BELL)
    rich = RichDisplay(*(Console(file=stream, force_terminal=False, width=400) for stream in (progress, results)))
    for label in (BELL, "[/nonsense]"):  # brackets are no markup
        rich.start(2, 0)
        rich.cell_started(label)
        rich.advance(label, 1, 2)
        rich.message(label)
        rich.cell_done(label, "error", 0.1, label)
        rich.result(label)
    rich.finish()
    said = progress.getvalue() + results.getvalue()
    assert said.count(SHOWN) >= 6
    assert "[/nonsense]" in said
    assert not set(said) & set("\x07\x9b\u202e\ud800\r")


@pytest.mark.slow
def test_labels_and_errors_reach_the_terminal_shown(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.csv").write_text("a,y\n" + "\n".join(f"{i},{'no' if i % 2 else 'yes'}" for i in range(60)))
    given = ["dataset=table", "dataset.path=t.csv", "dataset.target=y", "algorithm=[saliency]", "metric=[]"]
    assert run(*given, "model=linear", "display=plain", 'dataset.name="x\x1b[31my"') == 0
    assert run("--config-dir", "conf", "dataset=bl\x1b[31mobs") == 2
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert r"x\x1b[31my" in captured.out
    assert r"bl\x1b[31mobs" in captured.err


def test_nothing_prints_but_by_the_one_door() -> None:
    found = []
    for path in Path(xbench.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("print", "traceback.print_exc", "sys.stderr.write", "sys.stdout.write"):
                    found.append(path.name)
    assert found == ["printable.py"]


@pytest.mark.slow
def test_labels_that_a_spreadsheet_would_compute_are_quoted(run: Run) -> None:
    labels = ["'=1+1'", "'+1'", "'-1'", "'@x'"]
    for place, label in enumerate(labels):
        assert blobs(run, f"model.name={label}", "algorithm=[saliency]", "metric=[completeness]", f"name=n{place}") == 0
        for table in ("summary", "comparison", "cells"):
            frame = pd.read_csv(f"reports/n{place}/tables/{table}.csv")
            assert set(frame["model"]) == {f"'{label[1:-1]}"}
    numbers = pd.read_csv("reports/n0/tables/summary.csv")["mean"]
    assert numbers.dtype == float


@pytest.mark.parametrize("given", ["cpu*1000", "cpu*9", ["cpu*8", "cpu"]])
def test_workers_are_bounded(given: str | list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 2)
    with pytest.raises(ValueError, match="this machine has 2 processors, and at most 8 workers share a device"):
        devices.resolve(given)
    assert devices.resolve("cpu*8") == ["cpu"] * 8
    monkeypatch.setattr(devices, "cores", lambda: 64)
    assert len(devices.resolve("cpu*64")) == 64


def test_a_command_of_a_thousand_workers_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert blobs(run, "run.devices=cpu*1000") == 2
    assert "run.devices=cpu*1000: this machine has" in capsys.readouterr().err
    assert not Path("results").exists()


@pytest.mark.slow
def test_a_report_from_a_store_named_by_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", str(Path.cwd() / "scratch"))
    assert blobs(run, "algorithm=[saliency]", "metric=[]", "store=${oc.env:SCRATCH}/s") == 0
    line = [sys.executable, "-m", "xbench.report", "name=latest", "store=${oc.env:SCRATCH}/s"]
    variables = os.environ | {"PYTHONPATH": str(Path(xbench.__file__).parents[1])}
    made = subprocess.run(line, env=variables, text=True, capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    del variables["SCRATCH"]
    made = subprocess.run(line, env=variables, text=True, capture_output=True, check=False)
    assert made.returncode == 2
    assert "the variable SCRATCH is not set" in made.stderr
