"""A torchaudio or torchvision that does not load beside this torch: one line where it is needed, else no matter."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs import Run
from xbench import libraries

BROKEN = {
    "torchaudio": 'raise OSError("Could not load this library: libtorchaudio.so\\nUndefined symbol")\n',
    "torchvision": 'raise RuntimeError("operator torchvision::nms does not exist")\n',
}


def xbench(folder: Path, cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, beside libraries that do not load."""
    for name, text in BROKEN.items():
        (folder / "broken" / name).mkdir(parents=True, exist_ok=True)
        (folder / "broken" / name / "__init__.py").write_text(text)
    path = f"{folder / 'broken'}:{Path(libraries.__file__).parents[1]}"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "XBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "xbench", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


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


def test_a_model_of_texts_runs_beside_broken_libraries(tmp_path: Path, cache: Path) -> None:
    small = ["model.architecture.dimension=8", "model.min_steps=1", "model.max_steps=2", "model.epochs=1"]
    done = xbench(tmp_path, cache, "dataset=sst2", "model=text_transformer", "algorithm=[saliency]", "n=2",
                  "metric=[]", "report=false", "display=plain", *small)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "(4 ok) in" in done.stdout
    for library in BROKEN:
        assert done.stderr.count(f"{library} ") >= 1
        assert len([line for line in done.stderr.splitlines() if line.startswith(library)]) == 1  # told once


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
