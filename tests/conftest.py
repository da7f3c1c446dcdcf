"""The command in an empty folder, for every suite that runs it.

One thread: the toy models are too small to share, and chunked sums come out the same everywhere.
"""

import importlib.util
import io
import signal
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.jobs import Run, write_lab
from xbench.__main__ import main
from xbench.boundary.files import write_atomic
from xbench.report import figures

torch.set_num_threads(1)

# A shell gives what it starts in the background no Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# torchtext loads with torch 2.3 only: `make test-torchtext` runs these where both are.
collect_ignore = [] if importlib.util.find_spec("torchtext") else ["with_torchtext"]


def blank(draft: figures.Draft, folder: Path) -> bytes:
    """The files of a figure without its drawing."""
    buffer = io.BytesIO()
    Image.new("L", (4, 3), 255).save(buffer, "PNG")
    for kind in ("pdf", "png"):
        write_atomic(folder / f"{draft.name}.{kind}", buffer.getvalue())
    return buffer.getvalue()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained models, shared by all tests of a process, as is what the command keeps open between jobs."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def drawn() -> None:
    """Reports of this test have real figures."""


@pytest.fixture
def run(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Run:
    """Run the command in an empty folder; figures are blank, because drawing takes longer than the run."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(figures, "_draw", blank)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the command puts the folder there
    monkeypatch.setenv("XBENCH_CACHE", str(cache))
    monkeypatch.delenv("XBENCH_DATA", raising=False)
    write_lab(tmp_path / "conf")

    def command(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["xbench", *arguments])
        return main()

    return command
