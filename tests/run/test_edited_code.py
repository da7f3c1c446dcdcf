"""Own code that changes between two commands: what it computes is computed again, and nothing else."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.jobs import Run, cells, table
from xbench.config import sources

pytestmark = pytest.mark.slow

PACKAGE = "own_code_for_a_test"
FILES = {
    "scale.py": "NET = METRIC = DATA = 1\nMETHOD = 1\n",
    "data.py": """import torch
from .scale import DATA

def samples():
    return torch.tensor([[0.5, 1.5], [1.5, 0.5]]).repeat(5, 1) * DATA, torch.arange(10) % 2
""",
    "net.py": f"""from torch import nn
from {PACKAGE} import scale

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Linear(2, 2, bias=False)
        nn.init.ones_(self.weight.weight)

    def forward(self, x):
        return self.weight(x) * 4 * scale.NET
""",
    "method.py": """from dataclasses import dataclass
from xbench.algorithms import Algorithm, Facts, Need
from xbench.core.plan import Plan, Want
from .scale import METHOD

@dataclass(frozen=True)
class Method(Algorithm):
    @property
    def facts(self):
        return Facts("Mine", "a test", needs=(Need.GRADIENT,))

    def plan(self, case, x):
        return Plan([x], 1, Want.GRADIENT, reduce=lambda found: next(found).slope * x * METHOD)
""",
    "metric.py": f"""from dataclasses import dataclass
import {PACKAGE}.scale
from xbench.metrics import Column, Metric, MetricFacts

@dataclass(frozen=True)
class Total(Metric):
    @property
    def facts(self):
        return MetricFacts("Total", "a test", {{"total": Column("higher")}})

    def score(self, case, x, maps):
        return {{"total": maps.values.double().sum(1) * {PACKAGE}.scale.METRIC}}
""",
    "unrelated.py": "x = 1\n",
}
CONF = {
    "dataset/own.yaml": "defaults: [{override /model@_global_.model: own}, _self_]\nname: own\nmodality: tabular\n"
                        f"_target_: xbench.datasets.function.Function\nn: 4\n"
                        f"samples: {{_target_: {PACKAGE}.data.samples, _partial_: true}}\n",
    "model/own.yaml": "_target_: xbench.models.custom.Custom\nname: own\n"
                      f"module: {{_target_: {PACKAGE}.net.Net, _partial_: true}}\n",
    "algorithm/own.yaml": f"# @package algorithm.own\n_target_: {PACKAGE}.method.Method\n",
    "metric/total.yaml": f"# @package metric.total\n_target_: {PACKAGE}.metric.Total\n",
}  # fmt: skip
COMMAND = ("--config-dir", "conf", "dataset=own", "algorithm=[own,saliency]", "metric=total", "controls=false",
           "display=plain")  # fmt: skip
Edit = Callable[[str, str, str], None]


@pytest.fixture
def edit(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Edit]:
    """Replaces text in a file of the package; the next command imports it anew, as a process of its own would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in FILES.items():
        (tmp_path / PACKAGE).mkdir(exist_ok=True)
        (tmp_path / PACKAGE / name).write_text(text)
    for name, text in CONF.items():
        (tmp_path / "conf" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "conf" / name).write_text(text)

    def forget() -> None:
        for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
            del sys.modules[name]
        monkeypatch.setattr(sources, "_taken", {})
        importlib.invalidate_caches()

    def edited(name: str, old: str, new: str) -> None:
        path = tmp_path / PACKAGE / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        forget()

    forget()
    yield edited
    forget()


def total() -> float:
    found = table().query("algorithm == 'own' and metric == 'total'")
    return float(found["mean"].item())


def stored() -> set[Path]:
    return set(Path("results/cells").rglob("*.json"))


EVERY = {"own", "saliency", None}
# What is edited, and the algorithms that have something to do again; None: the samples.
EDITS = {
    "the network": ("net.py", "* 4", "* 60", EVERY),
    "the algorithm": ("method.py", "* METHOD", "* METHOD * 15", {"own"}),
    "the metric": ("metric.py", ".METRIC", ".METRIC * 15", {"own", "saliency"}),
    "the data": ("data.py", "* DATA", "* DATA * 15", EVERY),
    "what all import": ("scale.py", "METHOD = ", "METHOD = 15 * ", EVERY),
}


@pytest.mark.parametrize("what", EDITS)
def test_edited_code_is_computed_again(run: Run, edit: Edit, what: str) -> None:
    *replaced, algorithms = EDITS[what]
    assert run(*COMMAND) == 0
    assert total() == 8.0
    before = stored()
    edit(*replaced)
    assert run(*COMMAND) == 0
    assert total() == 120.0
    assert {json.loads(path.read_text())["algorithm"] for path in stored() - before} == algorithms


def test_other_edits_leave_all_as_it_is(run: Run, edit: Edit, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*COMMAND) == 0
    before = stored()
    edit("unrelated.py", "1", "2")
    assert run(*COMMAND) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert stored() == before


def test_edited_code_is_computed_again_by_workers(run: Run, edit: Edit) -> None:
    assert run(*COMMAND, "run.devices=cpu*2") == 0
    assert total() == 8.0
    edit("net.py", "* 4", "* 60")
    assert run(*COMMAND, "run.devices=cpu*2") == 0
    assert total() == 120.0


EDITOR = """import torch
from pathlib import Path

def samples():
    path = Path(__file__).with_name({name!r})
    path.write_text(path.read_text().replace({old!r}, {new!r}))
    return torch.tensor([[0.5, 1.5], [1.5, 0.5]]).repeat(5, 1), torch.arange(10) % 2
"""


def edited_by_the_data(edit: Edit, name: str, old: str, new: str) -> None:
    """Reading the data edits another file, as somebody might who does not wait for the command to end."""
    edit("data.py", FILES["data.py"], EDITOR.format(name=name, old=old, new=new))


def test_workers_that_find_another_source_store_nothing(run: Run, edit: Edit) -> None:
    edited_by_the_data(edit, "net.py", "* 4", "* 60")
    assert run(*COMMAND, "run.devices=cpu*2") == 1
    found = cells()
    assert set(found["status"]) == {"error"}
    assert "files changed meanwhile" in found["reason"].iloc[0]
    edit("data.py", "samples", "samples")
    assert run(*COMMAND, "run.devices=cpu*2") == 0
    assert total() == 120.0


def test_a_module_that_changes_before_a_function_imports_it_ends_the_job(
    run: Run, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    edit("net.py", "scale.NET", "self.late()")
    late = f"    def late(self):\n        import {PACKAGE}.late\n        return {PACKAGE}.late.FACTOR\n"
    edit("net.py", "class Net(nn.Module):", f"class Net(nn.Module):\n{late}")
    Path(PACKAGE, "late.py").write_text("FACTOR = 1\n")
    edited_by_the_data(edit, "late.py", "= 1\n", "= 15\n")
    assert run(*COMMAND) == 2
    assert "late.py changed while the command ran; run it again" in capsys.readouterr().err
    edit("data.py", "samples", "samples")
    assert run(*COMMAND) == 0
    assert total() == 120.0
