"""What the tab key offers where Hydra offers nothing."""

from __future__ import annotations

import pytest

from xbench.__main__ import main
from xbench.cli.completion import complete


def test_lists_and_further_options() -> None:
    assert complete("xbench list ") == ["algorithms", "datasets", "models", "metrics"]
    assert complete("xbench list al") == ["algorithms"]
    assert complete("python -m xbench list datasets tab") == ["table"]
    assert complete("xbench list no_such ") == []
    assert complete("xbench status ") == []
    assert complete("xbench algorithm=ig,deepl") == ["algorithm=ig,deeplift", "algorithm=ig,deeplift_shap"]
    assert "algorithm=ig,ig" not in (complete("xbench algorithm=ig,i") or [])


@pytest.mark.parametrize("line", ["", "xbench", "xbench ", "xbench algorithm=dee", "xbench n=1,"])
def test_the_rest_is_left_to_hydra(line: str) -> None:
    assert complete(line) is None


def test_the_command_answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COMP_LINE", "xbench list m")
    for shell, said in (("bash", "models metrics\n"), ("fish", "models\nmetrics\n")):
        monkeypatch.setattr("sys.argv", ["xbench", "-sc", f"query={shell}"])
        assert main() == 0
        captured = capsys.readouterr()
        assert (captured.out, captured.err) == (said, "")
