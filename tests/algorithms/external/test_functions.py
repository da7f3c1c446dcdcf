"""Where a function is found by its name, and its source in the key of its cells."""

import importlib
import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.algorithms.external.cases import (
    WARNINGS,
    images,
    ixg,
)
from tests.jobs import Run, blobs, cells, table
from xbench import algorithms as a
from xbench import attribute

pytestmark = WARNINGS


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Writes a module into the working directory; what Python knows of it is forgotten at every writing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    written: list[str] = []

    def write(name: str, text: str) -> None:
        path = tmp_path / Path(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        written.append(name)
        forget()

    def forget() -> None:
        for name in written:
            sys.modules.pop(name, None)
            sys.modules.pop(name.split(".")[0], None)
        importlib.invalidate_caches()

    yield write
    forget()


EXPLAIN = "def explain(model, inputs, target, factor=2):\n    return inputs * factor\n"


def test_a_function_is_found_by_its_name(module):
    module("ours_for_a_test", EXPLAIN + "class Holder:\n    inner = staticmethod(explain)\n")
    module("package_for_a_test.deeper", EXPLAIN)
    model, x = images()
    for path in ("ours_for_a_test:explain", "ours_for_a_test:Holder.inner", "package_for_a_test.deeper:explain"):
        assert torch.equal(attribute(model, x, a.External(path), target=0), 2 * x)
    assert torch.equal(attribute(model, x, a.External(path, kwargs={"factor": 5}), target=0), 5 * x)
    facts = a.External("ours_for_a_test:explain").facts
    assert (facts.label, facts.citation) == ("explain", "the function ours_for_a_test:explain")
    named = a.External("ours_for_a_test:explain", label="Mine", citation="we 2025", local=True, stochastic=False).facts
    assert (named.label, named.citation, named.local, named.stochastic) == ("Mine", "we 2025", True, False)
    assert a.External(ixg).facts.citation == f"the function {ixg.__module__}:ixg"


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("bad_for_a_test", ValueError, "expected 'package.module:name', got 'bad_for_a_test'"),
        (":explain", ValueError, "expected 'package.module:name', got ':explain'"),
        ("bad_for_a_test:", ValueError, "expected 'package.module:name'"),
        ("bda_for_a_test:explain", ImportError, "no module 'bda_for_a_test' .* neither installed nor in the working"),
        ("bad_for_a_test.inner:explain", ImportError, "there is no module 'bad_for_a_test.inner'"),
        ("torch.nothing_there:explain", ImportError, "there is no module 'torch.nothing_there'"),
        ("bad_for_a_test:explian", ValueError, "bad_for_a_test has no 'explian'"),
        ("bad_for_a_test:explain.inner", ValueError, "bad_for_a_test has no 'explain.inner'"),
        ("bad_for_a_test:NUMBER", TypeError, r"expected a function f\(model, inputs, target\), got 3"),
        ("bad_for_a_test:Kind", TypeError, r"expected a function f\(model, inputs, target\), got <class"),
        ("bad_for_a_test:few", ValueError, r"few cannot be called as f\(model, inputs, target, ...\): too many"),
        ("bad_for_a_test:many", ValueError, "many cannot be called as .* missing a required argument: 'further'"),
        ("broken_for_a_test:explain", ModuleNotFoundError, "No module named 'needed_for_a_test'"),
    ],
)
def test_a_wrong_name_says_what_is_wrong(module, path, error, message):
    module(
        "bad_for_a_test",
        EXPLAIN
        + "NUMBER = 3\nclass Kind: pass\ndef few(model): pass\ndef many(model, inputs, target, further): pass\n",
    )
    module("broken_for_a_test", "import needed_for_a_test\n" + EXPLAIN)
    with pytest.raises(error, match=message):
        a.External(path)


def test_an_argument_that_the_function_does_not_take_is_refused(module):
    module("taken_for_a_test", EXPLAIN)
    with pytest.raises(ValueError, match="explain cannot be called as .* unexpected keyword argument 'steps'"):
        a.External("taken_for_a_test:explain", kwargs={"steps": 3})


def test_a_function_needs_no_file():
    scope: dict[str, Any] = {"__name__": "__console__"}
    exec(EXPLAIN, scope)  # as typed into a console
    assert torch.equal(attribute(*images(), a.External(scope["explain"]), target=0), 2 * images()[1])


@pytest.mark.slow
def test_a_function_and_captum_beside_ours(run: Run, module, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        "import torch\n\ndef explain(model, inputs, target):\n    x = inputs.requires_grad_()\n"
        "    return torch.autograd.grad(model(x).gather(1, target[:, None]).sum(), x)[0] * x\n"
    )
    module("explain_for_a_test", text)
    command = (
        "algorithm=[ig,captum,callable]", "algorithm.callable.function=explain_for_a_test:explain",
        "algorithm.ig.n_steps=20", "algorithm.captum.kwargs={n_steps: 20}",
        "metric=infidelity", "controls=false", "n=4",
    )  # fmt: skip
    assert run("--config-dir", "conf", "dataset=blobs", "display=plain", *command) == 0
    said = capsys.readouterr().out
    for label in ("Integrated Gradients ", "Integrated Gradients (Captum) ", "explain "):
        assert f"\n{label}" in said
    assert set(cells()["status"]) == {"ok"}
    scores = table().set_index(["metric", "algorithm"])["mean"]["infidelity"]
    np.testing.assert_allclose(scores["captum"], scores["ig"], rtol=1e-3)

    stored = set(Path("results/cells").rglob("*.json"))
    assert blobs(run, *command) == 0
    assert set(Path("results/cells").rglob("*.json")) == stored
    module("explain_for_a_test", text + "# changed\n")
    assert blobs(run, *command) == 0
    added = set(Path("results/cells").rglob("*.json")) - stored
    assert {json.loads(path.read_text())["algorithm"] for path in added} == {"callable"}
    assert len(added) == 2  # the map and its score

    assert blobs(run, command[0], "algorithm.callable.function=explain_for_a_test:explian") == 2
    assert "algorithm.callable: function: explain_for_a_test has no 'explian'" in capsys.readouterr().err
