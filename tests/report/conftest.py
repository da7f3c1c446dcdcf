"""One report of the sample grid, and smaller manifests to rebuild quickly."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.store_samples import fill
from xbench.report import write
from xbench.store.store import Store


class Built(NamedTuple):
    store: Store
    manifest: dict[str, Any]
    directory: Path
    html: str


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Built:
    """The report of the whole sample grid; tests must not change it."""
    root = tmp_path_factory.mktemp("report")
    store = Store(root / "results")
    manifest = fill(store)
    page = write(store, manifest, root / "reports" / "sample")
    return Built(store, manifest, page.parent, page.read_text(encoding="utf-8"))


@pytest.fixture
def sample_store(tmp_path) -> tuple[Store, dict[str, Any]]:
    """A store of its own with the sample grid, and its manifest."""
    store = Store(tmp_path / "results")
    return store, fill(store)


@pytest.fixture
def part() -> Callable[..., dict[str, Any]]:
    """`part(manifest, dataset, *metrics)`: the cells of one dataset and some metrics; no metric, no score."""

    def cut(manifest: dict[str, Any], dataset: str, *metrics: str) -> dict[str, Any]:
        kept = (None, *metrics)
        cells = [c for c in manifest["cells"] if c["dataset"] == dataset and c["metric"] in kept]
        return manifest | {"cells": cells}

    return cut


@pytest.fixture
def retold() -> Callable[..., dict[str, Any]]:
    """`retold(store, manifest, metric, facts)`: the metric's columns say `facts` of themselves from now on."""

    def tell(store: Store, manifest: dict[str, Any], metric: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        for planned in manifest["cells"]:
            if planned["metric"] == metric and (record := store.load(planned["key"])):
                said = {name: {**column, **facts} for name, column in record["columns"].items()}
                store.save({**record, "columns": said})
        return manifest

    return tell
