"""Every test here has a cache of its own and no network."""

from pathlib import Path

import pytest

from xbench.datasets import sst2


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("XBENCH_CACHE", str(folder))
    monkeypatch.setenv("XBENCH_OFFLINE", "1")
    monkeypatch.delenv("XBENCH_DATA", raising=False)
    monkeypatch.setattr(sst2, "_warned", set())
    return folder
