"""Models nobody can explain are found before a run, and said in the terminal, below the table and in the cells."""

from __future__ import annotations

import json
import os
import random
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import xbench
from tests.jobs import Run
from tests.models_for_tests import mlp
from xbench.run import remarks

X = torch.rand(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Faulty(nn.Module):
    """A linear model that does something else beside."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.linear = nn.Linear(4, 3).double()
        self.register_buffer("calls", torch.zeros(()))
        self.cache: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x)
        match self.fault:
            case "dropout":
                return F.dropout(out, 0.5, training=True)
            case "clock":
                return out * (1 + time.monotonic())
            case "numpy":
                return out + np.random.rand()  # noqa: NPY002
            case "python":
                return out + random.random()
            case "draws unseen":
                torch.rand(1)
            case "seeds itself":
                torch.manual_seed(3)
                return out + torch.rand(3)
            case "batch norm":
                return F.batch_norm(out, None, None, training=True)
            case "centred":
                return out - out.mean(0)
            case "squeezed":
                return out.squeeze(0)
            case "pairs":
                return out if len(x) % 2 == 0 else F.linear(x, self.linear.weight[:, :2])
            case "counts":
                self.calls += 1
            case "learns":
                self.linear.weight.data.add_(0.1)
            case "trains":
                self.train()
            case "moves":
                os.chdir("..")
            case "default type":
                torch.set_default_dtype(torch.float64)
            case "grad mode":
                torch.set_grad_enabled(True)
            case "writes":
                x -= 1
            case "caches":
                self.cache = out if self.cache is None else self.cache
        return out


SECOND = r"the same samples have other outputs a second time, by [\d.e-]+ of the largest: "
FAULTS = {
    "dropout": [SECOND + "it draws random numbers", "a call changes torch's random state"],
    "clock": [SECOND + "it draws or remembers"],
    "numpy": [SECOND + "it draws random numbers", "a call changes NumPy's random state"],
    "python": [SECOND + "it draws random numbers", "a call changes Python's random state"],
    "draws unseen": ["a call changes torch's random state"],
    "seeds itself": ["a call changes torch's random state"],
    "batch norm": ["it takes no sample by itself: ValueError: Expected more than 1 value per channel.*"],
    "centred": [r"a sample's output depends on the samples beside it, by [\d.e-]+ of the largest"],
    "squeezed": [r"a sample by itself has an output of shape \(3,\)"],
    "pairs": ["it takes no sample by itself: RuntimeError: .*"],
    "counts": [r"a call changes its weights or buffers \(calls\)"],
    "learns": [SECOND + "it draws or remembers", r"a call changes its weights or buffers \(linear\.weight\)"],
    "trains": ["a call changes which modules are in training mode"],
    "moves": ["a call changes the working directory"],
    "default type": ["a call changes torch's default type"],
    "grad mode": ["a call changes whether gradients are recorded"],
    "writes": ["it writes into its input, of which it is given copies"],
    "caches": [],
    "none": [],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_nothing_is_left_of_it(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model, x = Faulty(fault).eval(), X.clone()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    found = xbench.inconsistencies(model, x)
    assert len(found) == len(FAULTS[fault]), found
    for clause, wanted in zip(found, FAULTS[fault], strict=True):
        assert re.fullmatch(wanted, clause), clause
    assert os.getcwd() == str(tmp_path)
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert not any(module.training for module in model.modules())
    assert torch.equal(x, X)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()  # noqa: NPY002


def test_ten_rows_are_all_that_it_takes() -> None:
    rows = []
    model = mlp(4, 8, 3)
    model.register_forward_hook(lambda _module, args, _output: rows.append(len(args[0])))
    assert xbench.inconsistencies(model, X) == ()
    assert rows == [4, 4, 1, 1]
    assert xbench.inconsistencies(model, X[:1]) == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rounding_in_other_batches_is_no_fault(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layers = (nn.Conv1d(1, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 510, 256), nn.GELU(), nn.Linear(256, 10))
    assert xbench.inconsistencies(nn.Sequential(*layers).to(dtype), torch.randn(6, 1, 512, dtype=dtype)) == ()


def test_models_of_all_forms() -> None:
    """Further arguments, keywords, structures, a plain function, outputs that are no numbers, one number per sample."""

    def centred(x: Tensor, *, e: Tensor) -> dict[str, Tensor]:
        return {"raw": x * e, "logits": (x - x.mean(0)) * e}

    by_name, mates = {"x": X}, r"a sample's output depends on the samples beside it.*"
    (found,) = xbench.inconsistencies(centred, by_name, kwargs={"e": X + 1}, select="logits")
    assert re.fullmatch(mates, found)
    assert xbench.inconsistencies(centred, by_name, kwargs={"e": X + 1}, select="raw") == ()
    assert xbench.inconsistencies(lambda x: x * float("nan"), X) == ()
    assert xbench.inconsistencies(lambda x: x.sum(1), X) == ()
    assert xbench.inconsistencies(lambda x: x.sum(1).squeeze(), X) == ()
    assert xbench.inconsistencies(lambda x: x.argmax(1), X) == ()
    assert re.fullmatch(mates, xbench.inconsistencies(lambda x: x.argsort(0), X)[0])


def test_a_model_that_fails_is_left_to_who_evaluates_it() -> None:
    def broken(x: Tensor) -> Tensor:
        raise SystemExit(3)

    assert xbench.inconsistencies(broken, X) == ()
    assert xbench.inconsistencies(lambda x: x[:1], X) == ()


# In the command


GRID = ("dataset=blobs", "algorithm=[saliency]", "metric=[]", "controls=false", "display=plain", "run.block=4")
DRAWS = r"net on blobs: the same samples have other outputs a second time, by [\d.]+ of the largest: it draws random"


def command(run: Run, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str, str, str]:
    """The exit code, and what is said on standard error, on standard output, in the table and in the report."""
    code = run("--config-dir", "conf", *GRID, *arguments)
    captured = capsys.readouterr()
    table = Path("reports/latest/tables/comparison.md").read_text()
    page = Path("reports/latest/index.html").read_text()
    return code, captured.err, " ".join(captured.out.split()), table, page


@pytest.mark.slow
def test_the_command_says_what_was_found_also_when_all_is_reused(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, *texts = command(run, capsys, "model.module.fault=draws")
    assert code == 0
    assert all(re.search(DRAWS, text) for text in texts)
    records = [json.loads(path.read_text()) for path in Path("results/cells").rglob("*.json")]
    assert len(records) == 4  # of samples and maps, two blocks each
    said = {clause for record in records for clause in record["info"]["inconsistencies"]}
    assert said == set(records[0]["info"]["inconsistencies"])
    assert len(said) == 2
    monkeypatch.setattr(remarks, "inconsistencies", None)  # not looked for again: the cells tell, also of a part
    assert all(re.search(DRAWS, text) for text in command(run, capsys, "model.module.fault=draws")[1:])
    for path in Path("results/cells").rglob("*.json"):
        if json.loads(path.read_text())["kind"] == "attribution":
            path.unlink()
    found = command(run, capsys, "model.module.fault=draws")
    assert all(clause in " ".join(found[3].split()) for clause in said)


@pytest.mark.slow
def test_the_command_stops_or_does_not_look(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--config-dir", "conf", *GRID, "model.module.fault=centres", "run.consistency=stop") == 2
    said = capsys.readouterr().err
    assert "run.consistency=stop: net on blobs: a sample's output depends on the samples beside it" in said
    assert not list(Path("results").rglob("*.safetensors"))
    code, *texts = command(run, capsys, "model.module.fault=centres", "run.consistency=ignore")
    assert code == 0
    assert not any("beside it" in text for text in texts)
    assert command(run, capsys, "run.consistency=stop", "store=other")[0] == 0


@pytest.mark.slow
def test_workers_compute_the_cells_of_a_model_that_was_looked_at_once(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    code, *texts = command(run, capsys, "model.module.fault=centres", "run.devices=cpu*2")
    assert code == 0
    assert all("net on blobs: a sample&#39;s output" in t.replace("'", "&#39;") for t in texts)
