"""A store of its own."""

import pytest

from xbench.store.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")
