"""Every YAML of a model or a data set says what it is, is short, and builds."""

from pathlib import Path

import pytest

from xbench.config.compose import component
from xbench.config.nodes import CONF

FILES = sorted([*(CONF / "model").glob("*.yaml"), *(CONF / "dataset").glob("*.yaml")])
NEEDED = {
    "function": ["samples._target_=builtins.dict"],
    "black_box": ["function._target_=builtins.dict"],
    "custom": ["module._target_=torch.nn.Identity"],
    "table": ["path=no.csv", "target=y"],
    "series_table": ["path=no.csv", "target=y"],
    "wav_folder": ["path=no"],
    "image_folder": ["path=no"],
    "clip_folder": ["path=no"],
    "text_table": ["path=no.csv"],
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_it_describes_itself_and_is_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert lines[0].endswith(".")
    assert len(lines) < 22


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_it_builds(path: Path) -> None:
    built = component(path.parent.name, path.stem, NEEDED.get(path.stem, []))
    assert callable(built.load)
