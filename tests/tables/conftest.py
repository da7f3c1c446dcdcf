"""A store, the tables of the sample grid, and a maker of small grids."""

import pytest

from tests.store_samples import fill
from tests.tables.maker import Maker
from xbench.store.store import Store
from xbench.tables import tables


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def sample(store):
    return tables.build(store, fill(store))


@pytest.fixture
def maker(store):
    return Maker(store)
