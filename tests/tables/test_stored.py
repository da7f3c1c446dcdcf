"""Stored results in Python: scores as frames, maps by sample; and methods that came to the same maps."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xbench
from tests.store_samples import fill
from xbench.store.store import Store
from xbench.tables import tables


@pytest.fixture
def filled(tmp_path) -> tuple[Store, dict[str, Any]]:
    store = Store(tmp_path / "results")
    manifest = fill(store)
    store.save_manifest(manifest)
    return store, manifest


def test_results_are_the_tables_of_the_run(filled: tuple[Store, dict[str, Any]]) -> None:
    store, manifest = filled
    found = xbench.results(manifest["name"], store=store.root)
    assert found.scores.equals(tables.build(store, manifest).scores)
    with pytest.raises(KeyError, match="nearest: sample"):
        xbench.results("smaple", store=store.root)


def test_maps_come_by_sample(filled: tuple[Store, dict[str, Any]]) -> None:
    store, manifest = filled
    maps = xbench.load_maps(manifest["name"], "ig", dataset="digits", store=store.root)
    cells = [c for c in manifest["cells"] if c["kind"] == "attribution" and c["algorithm"] == "ig"]
    keys = [c["key"] for c in cells if c["dataset"] == "digits"]
    expected = np.concatenate([store.arrays(key)["map_0"] for key in keys])
    assert list(maps) == [sample for key in keys for sample in store.load(key)["samples"]]
    np.testing.assert_array_equal(np.stack(list(maps.values())), expected)


@pytest.mark.parametrize(
    ("algorithm", "options", "error", "said"),
    [
        ("ig", {}, ValueError, "several models; choose model= one of cnn, text_cnn"),
        ("igg", {"dataset": "digits"}, KeyError, "did you mean ig"),
        ("ig", {"dataset": "digit"}, KeyError, "no dataset 'digit'"),
        ("deeplift", {"model": "text_cnn"}, ValueError, "have no result .oom"),
    ],
)
def test_what_is_not_there_is_said(
    filled: tuple[Store, dict[str, Any]], algorithm: str, options: dict[str, str], error: type[Exception], said: str
) -> None:
    store, manifest = filled
    with pytest.raises(error, match=said):
        xbench.load_maps(manifest["name"], algorithm, store=store.root, **options)


def rewrite(store: Store, manifest: dict[str, Any], algorithm: str, change: Callable[[dict], dict]) -> None:
    """Give every map of `algorithm` on digits other arrays, and the scores of ig."""
    cells = [c for c in manifest["cells"] if c["dataset"] == "digits"]
    of = {(c["algorithm"], c["metric"], c["samples"]): c["key"] for c in cells}
    for (name, metric, samples), key in of.items():
        if name != algorithm:
            continue
        record, other = store.load(key), of["ig", metric, samples]
        values = record["values"] if metric is None else store.load(other)["values"]
        store.save({**record, "values": values}, change(store.arrays(other)) if metric is None else None)


@pytest.mark.parametrize(("scale", "told"), [(1.0, True), (1 + 1e-7, True), (1.01, False)])
def test_methods_with_the_same_maps_are_told_below_the_table(
    filled: tuple[Store, dict[str, Any]], scale: float, told: bool
) -> None:
    store, manifest = filled
    assert not [note for note in tables.build(store, manifest).grid.notes if note.startswith("The same maps")]
    rewrite(store, manifest, "deeplift", lambda arrays: {name: scale * array for name, array in arrays.items()})
    notes = [note for note in tables.build(store, manifest).grid.notes if note.startswith("The same maps")]
    expected = ["The same maps on cnn, digits, under 2 names: Integrated Gradients, DeepLIFT."]
    assert notes == (expected if told else [])
