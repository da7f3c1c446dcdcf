"""Libraries that are absent or do not load beside this torch: one line where they are needed, else no matter."""

from __future__ import annotations

import ast
import logging
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs import Run
from xbench.boundary import libraries

BROKEN = {
    "torchaudio": 'raise OSError("Could not load this library: libtorchaudio.so\\nUndefined symbol")\n',
    "torchvision": 'raise RuntimeError("operator torchvision::nms does not exist")\n',
}


def xbench(folder: Path, cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, beside libraries that do not load."""
    for name, text in BROKEN.items():
        (folder / "broken" / name).mkdir(parents=True, exist_ok=True)
        (folder / "broken" / name / "__init__.py").write_text(text)
    path = f"{folder / 'broken'}:{Path(libraries.__file__).parents[2]}"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "XBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "xbench", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "arguments"),
    [
        ("torchaudio", ["dataset=tones", "model=mel_cnn"]),
        ("torchvision", ["dataset=digits", "model=torchvision"]),
        ("torchvision", ["list", "models", "torchvision"]),
    ],
)
def test_what_needs_a_broken_library_says_so_in_one_line(
    tmp_path: Path, cache: Path, library: str, arguments: list[str]
) -> None:
    done = xbench(tmp_path, cache, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("xbench: ")]
    assert f"{library} " in said
    assert "does not load beside torch " in said
    assert "pip install --upgrade torch torchvision torchaudio" in said


@pytest.mark.slow
def test_a_model_of_texts_runs_beside_broken_libraries(tmp_path: Path, cache: Path) -> None:
    small = ["model.architecture.dimension=8", "model.min_steps=1", "model.max_steps=2", "model.epochs=1"]
    done = xbench(tmp_path, cache, "dataset=sst2", "model=text_transformer", "algorithm=[saliency]", "n=2",
                  "metric=[]", "report=false", "display=plain", *small)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "(4 ok) in" in done.stdout
    for library in BROKEN:
        assert done.stderr.count(f"{library} ") >= 1
        assert len([line for line in done.stderr.splitlines() if line.startswith(library)]) == 1  # told once


ROOT = Path(libraries.__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {
    "hydra-core": "hydra",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
}
# transformers brings huggingface_hub, Jinja2 brings markupsafe, an environment of its own has torchtext.
THROUGH = {"huggingface_hub", "markupsafe", "torchtext"}


def imported(node: ast.AST) -> set[str]:
    """The libraries that an import names."""
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"xbench", ""}


def modules(requirements: list[str]) -> set[str]:
    names = [re.split(r"[^\w-]", requirement)[0] for requirement in requirements]
    return {MODULES.get(name, name) for name in names} - {"xbench"}


def asked(tree: ast.AST) -> Iterator[tuple[str, list[str]]]:
    """Each extra that is asked for, and the libraries that are imported there."""
    for node in ast.walk(tree):
        for item in node.items if isinstance(node, ast.With) else ():
            call = item.context_expr
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "libraries.extra":
                assert isinstance(call.args[0], ast.Constant)
                yield str(call.args[0].value), [name for inner in ast.walk(node) for name in imported(inner)]


def test_what_an_extra_brings_is_imported_where_the_extra_is_named() -> None:
    core, extras = modules(PROJECT["dependencies"]), PROJECT["optional-dependencies"]
    assert {"torch", "torchvision", "transformers"} <= core
    assert {name: set(found.values()) for name, found in libraries.EXTRAS.items()} == {
        name: modules(extras[name]) for name in libraries.EXTRAS
    }
    met = set()
    for path in (ROOT / "xbench").rglob("*.py"):
        tree = ast.parse(path.read_text())
        needed = [name for node in ast.walk(tree) for name in imported(node) if name not in core | THROUGH]
        named = [name for extra, found in asked(tree) for name in found if name in modules(extras[extra])]
        if path.stem == "captum_methods":  # whose version is asked for first
            named += ["captum"]
        assert sorted(needed) == sorted(named), path
        met |= set(named)
    assert met == set.union(*(set(found.values()) for found in libraries.EXTRAS.values()))


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A library as if it were not installed."""
    name = request.param
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    return name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("absent", "arguments", "said"),
    [
        ("torchaudio", ["dataset=tones", "model=mel_cnn"], "mel_cnn needs torchaudio: pip install 'xbench[audio]'"),
        ("networkx", ["dataset=ba_shapes"], "dataset=ba_shapes needs networkx: pip install 'xbench[graph]'"),
        ("skimage", ["features=superpixels"], "superpixels needs scikit-image: pip install 'xbench[superpixels]'"),
        ("timm", ["model=timm"], "model=timm needs timm: pip install 'xbench[timm]'"),
        ("torch_geometric", ["dataset=ba_2motifs", "model=geometric"], "torch_geometric: pip install 'xbench[graph]'"),
    ],
    indirect=["absent"],
)  # fmt: skip
def test_what_is_absent_is_one_line_that_names_the_extra(
    run: Run, capsys: pytest.CaptureFixture[str], absent: str, arguments: list[str], said: str
) -> None:
    assert run(*arguments, "n=2", "algorithm=saliency", "metric=[]", "report=false") == 2
    err = capsys.readouterr().err
    (line,) = [line for line in err.splitlines() if line.startswith("xbench: ")]
    assert line.endswith(said)
    assert "Traceback" not in err


def test_a_module_that_an_extra_does_not_bring_is_named_as_itself() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'nothing_there'"), libraries.extra("audio", "x"):
        import nothing_there  # noqa: F401


def test_a_library_that_fails_in_use_is_not_called_broken() -> None:
    from torchvision.transforms.functional import resize

    with pytest.raises(TypeError) as caught:
        resize(None, [1])
    assert libraries.broken(caught.value) is None


def test_the_hub_s_messages_come_once(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    from huggingface_hub.utils.logging import get_logger

    with libraries.one_voice():
        get_logger("huggingface_hub.utils").warning("Retrying in 1s")
    assert [record.getMessage() for record in caplog.records] == ["Retrying in 1s"]
    assert capsys.readouterr().err == ""
    assert logging.getLogger("huggingface_hub").handlers


OWN = {
    "raises": ('raise RuntimeError("sensor offline")\n', "RuntimeError: sensor offline (raises_at_import.py:1"),
    "value": ('int("x")\n', "ValueError: invalid literal"),
    "syntax": ("def f(:\n", "SyntaxError: "),
    "exits": ("import sys\nsys.exit(3)\n", "SystemExit: 3 (exits_at_import.py:2"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", OWN)
def test_own_code_that_fails_at_import_is_one_line(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    code, said = OWN[what]
    Path(f"{what}_at_import.py").write_text(code)
    arguments = ["dataset=digits", "model=custom", f"+model.module._target_={what}_at_import.Net"]
    assert run(*arguments) == 2
    err = capsys.readouterr().err
    assert f"{what}_at_import cannot be imported: {said}" in err
    assert f"{what}_at_import.py" in err
    assert "Traceback" not in err
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert run(*arguments, "plan=true") == 2
    assert "Traceback" in capsys.readouterr().err
