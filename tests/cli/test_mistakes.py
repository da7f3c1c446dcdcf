"""Mistakes that are known before any model runs: one line, exit code 2, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.jobs import Run, blobs, cells
from xbench.boundary.own_code import first_cause, one_line

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dataset=table", "dataset.path=nope.csv", "dataset.target=a"], "there is no file nope.csv"),
        (["dataset=table", "dataset.path=data.csv", "dataset.target=colour"], "colour"),
        (["+model.weights=nope.safetensors"], "weights file nope.safetensors does not exist"),
        (["+model.weights=other.safetensors"], "first.weight"),
        (["layer=conv1"], "the model has no layer 'conv1'"),
        (["target=42"], "target 42 of sample blob-0 is out of range: the model has 3 outputs, 0 to 2"),
        (["target=42", "run.devices=cpu*2"], "target 42"),
        (["neuron=[second,7]"], "neuron"),
        (["model=text_cnn"], "is for text data"),
        (["model.module.fault=shape"], "shape"),
        (["target=42,43", "-m"], "job 1 "),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    run: Run, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    save_file(torch.nn.Linear(2, 2).state_dict(), "other.safetensors")
    Path("data.csv").write_text("a,b,c\n" + "1,2,x\n2,1,y\n" * 20)
    before = sorted(Path().rglob("*"))
    assert blobs(run, "algorithm=saliency", *arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith("xbench: ")]) == 1
    assert sorted(path for path in Path().rglob("*") if "__pycache__" not in str(path)) == before


def test_one_bad_job_does_not_stop_the_good_ones(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert blobs(run, "target=0,42", "algorithm=saliency", "metric=[]", "controls=false", "-m") == 1
    assert sorted(cells()["status"]) == ["error", "ok", "ok"]
    assert capsys.readouterr().err.count("target 42 of sample blob-0") == 1


def test_a_failed_cell_names_the_user_s_own_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert blobs(run, "algorithm=kernel_shap", "model.module.fault=raises", "metric=[]", "controls=false") == 1
    (reason,) = cells().query("algorithm == 'kernel_shap'")["reason"]
    assert "RuntimeError: sensor offline" in reason
    assert "lab.py:" in reason
    assert ", in _break)" in reason
    assert 'tracebacks: "What failed" in reports/latest/index.html' in capsys.readouterr().err


def test_a_method_that_cannot_be_computed_says_so_under_reuse_only(run: Run) -> None:
    assert blobs(run, "algorithm=gradcam", "metric=[]", "controls=false", "reuse=only") == 0
    found = cells().set_index("algorithm")["reason"]
    assert found["gradcam"] == "needs a convolutional layer: the model has none"


def test_a_plan_estimates_time_and_gives_reasons_once(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    grid = ["dataset=digits", "algorithm=[saliency,attnlrp]", "metric=[completeness]", "display=plain"]
    assert run(*grid, "n=2") == 0
    capsys.readouterr()
    assert run(*grid, "n=3", "plan=true") == 0
    out = capsys.readouterr().out
    assert "time: about " in out
    assert "by stored cells that differ in samples" in out
    assert run(*grid, "algorithm=[gradcam]", "dataset=wine", "n=2") == 0
    capsys.readouterr()
    assert run(*grid, "algorithm=[ig,gradcam]", "dataset=wine", "n=2", "plan=true") == 0
    out = capsys.readouterr().out
    assert "time: unknown, for no cell like these is in the store" in out
    assert "skipped: 2 cells, 1 reason\n" in out
    assert out.count("needs a convolutional layer") == 1
    assert run(*grid, "target=42", "plan=true") == 2
    assert "target 42" in capsys.readouterr().err


def test_words_that_are_no_settings_do_what_they_say(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    assert "xbench list datasets" in capsys.readouterr().out
    assert run("help") == 0
    assert "== Keys" in capsys.readouterr().out
    assert run("report") == 2
    assert "no run named 'latest' in the store results" in capsys.readouterr().err
    assert run("dataset=table", "dataset.path=x", "dataset.target=y", "dataset.drop=id") == 2
    assert "write dataset.drop=[id]" in capsys.readouterr().err


def test_the_first_cause_and_the_kind_are_named() -> None:
    def imports() -> None:
        try:
            raise OSError("undefined symbol")
        except OSError as error:
            raise RuntimeError("could not import the network") from error

    with pytest.raises(RuntimeError) as caught:
        imports()
    assert first_cause(caught.value) == "OSError: undefined symbol"
    assert one_line(caught.value).startswith("RuntimeError: could not import the network (")
    assert "test_mistakes.py" in one_line(caught.value)
