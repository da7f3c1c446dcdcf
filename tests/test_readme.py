"""Every example of the README runs: the notebook block, and the user's own parts with the command they end in.

What CONTRIBUTING.md points at is there, and one version stands everywhere.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(python|yaml)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
FILES = {match[1]: text for _, text in BLOCKS if (match := re.search(r"^# (my_\w+/[\w/.]+)", text, re.MULTILINE))}


def test_the_notebook_examples_run() -> None:
    codes = [text for kind, text in BLOCKS if kind == "python" and re.search(r"xbench\.(attribute|importance)", text)]
    assert len(codes) == 3
    names: dict[str, object] = {}
    for code in codes:
        exec(compile(code, "README.md", "exec"), names)  # the README is ours
    maps, infidelity = names["maps"], names["infidelity"]
    assert isinstance(maps, torch.Tensor)
    assert maps.shape == (5, 8)
    assert isinstance(infidelity, torch.Tensor)
    assert infidelity.shape == (5,)


@pytest.mark.slow
@pytest.mark.parametrize("program", [["{python}", "-m", "xbench"], ["{bin}/xbench"]], ids=["python -m", "script"])
def test_a_user_s_own_parts_run(program: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (command,) = re.findall(r"^    (xbench --config-dir .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    write_weights = (
        "from my_lab.net import Net; from safetensors.torch import save_file; save_file(Net().state_dict(), "
        "'net.safetensors')"
    )
    subprocess.run([sys.executable, "-c", write_weights], check=True)
    start = [word.format(python=sys.executable, bin=Path(sys.executable).parent) for word in program]
    done = subprocess.run([*start, *shlex.split(command)[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = pd.read_csv("reports/latest/tables/summary.csv")
    assert {"ig", "sign_gradient", "random", "constant"} == set(summary["algorithm"])
    assert {"infidelity", "concentration"} <= set(summary["metric"])
    assert set(summary["dataset"]) == {"stripes"}
    (code,) = [text for kind, text in BLOCKS if kind == "python" and "xbench.results" in text]
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)  # the README is ours
    assert names["medians"].index.isin(set(summary["algorithm"])).all()
    assert {array.shape for array in names["stored"].values()} == {(1, 8, 8)}


def test_the_table_of_presets_is_true() -> None:
    from xbench.cli.preflight import preflight
    from xbench.config.compose import Composer

    composer = Composer(None, None)
    text = (ROOT / "README.md").read_text().split("| `algorithm=` |")[1].split("\n\n")[0]
    table = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))

    def named(preset: str) -> set[str]:
        words, within = set(re.findall(r"\w+", table[preset])), re.findall(r"`(\w+)`", table[preset])
        return {n for n in words if "_target_" in _option(n)}.union(*map(named, within))

    def _option(name: str) -> str:
        path = ROOT / "conf" / "algorithm" / f"{name}.yaml"
        return path.read_text() if path.exists() else ""

    presets = {path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml") if "_target_" not in path.read_text()}
    assert presets == table.keys() - {"NAME"}
    for preset in presets - {"all"}:
        (job,) = preflight(composer, [f"algorithm={preset}", "controls=false"], False)
        assert set(job.cfg.algorithm) == named(preset), preset
    (job,) = preflight(composer, ["algorithm=all", "controls=false"], False)
    assert set(job.cfg.algorithm) == set.union(*(named(preset) for preset in presets - {"all", "layer"}))


def test_the_table_of_data_names_every_data_set_with_its_model() -> None:
    text = (ROOT / "README.md").read_text().split("| `dataset=` |")[1].split("\n\n")[0]
    rows = [[re.findall(r"`(\w+)`", cell) for cell in row.split("|")[1:-1]] for row in text.splitlines()[2:]]
    files = {path.stem: path.read_text() for path in (ROOT / "conf" / "dataset").glob("*.yaml")}
    assert sorted(name for names, *_ in rows for name in names) == sorted(files)
    for names, *_, models in rows:
        for name in names:
            assert re.search(r"/model@_global_.model: (\w+)", files[name])[1] == models[0], name
            assert {path.stem for path in (ROOT / "conf" / "model").glob("*.yaml")} >= set(models)


def commands() -> list[str]:
    tour = (ROOT / "README.md").read_text().split("## A tour")[1].split("| `algorithm=` |")[0]
    return [line.split("  #")[0].strip() for line in tour.splitlines() if line.startswith("    xbench")]


@pytest.mark.parametrize("command", commands())
def test_every_line_of_the_tour_is_accepted(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xbench.cli.listing import main as list_options
    from xbench.cli.preflight import preflight, relax
    from xbench.cli.status import main as tell_status
    from xbench.config.compose import Composer
    from xbench.report.__main__ import parse

    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)[1:]
    if words[:1] == ["list"]:
        assert list_options(words[1:]) == 0
        return
    if words[:1] == ["report"]:
        assert parse(words[1:])["name"] == "paper"
        return
    if words == ["status"]:
        (tmp_path / "results").mkdir()
        assert tell_status(words[1:]) == 0
        return
    composer = Composer(None, None)
    assert preflight(composer, relax(composer, [w for w in words if w != "-m"]), "-m" in words)


def test_what_contributing_points_at_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = {word for word in re.findall(r"`([\w./-]+/[\w./-]+)`", text) if "NAME" not in word and word[0] != "."}
    assert len(paths) > 20
    assert not [path for path in paths if not (ROOT / path).exists()]
    targets = set(re.findall(r"make ([a-z-]+)", text))
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_one_version_stands_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.findall(r"^## (\S+) - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert (cited["version"], cited["date-released"]) == newest
    assert cited["version"] == version
