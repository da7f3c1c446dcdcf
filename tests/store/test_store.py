"""The store keeps whole results, notices damage and merges by copying."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.store.one_cell import file_of, record
from tests.store_samples import cell, fill
from xbench.store.records import canonical
from xbench.store.store import ManifestNotFound, Store, StoreError, cell_key, write_atomic


def test_saved_record_and_arrays_come_back_equal(store):
    arrays = {
        "map_0": np.random.default_rng(0).normal(size=(3, 1, 4, 4)).astype(np.float32),
        "flags": np.array([True, False]),
        "scalar": np.array(2.5),
        "strided": np.arange(12.0).reshape(3, 4).T,
    }
    made = record(scores=(0.1 + 0.2, None, -5e-324))
    store.save(made, arrays)
    assert store.load(made["key"]) == made
    found = store.arrays(made["key"])
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def test_nan_is_stored_as_null_and_a_record_without_arrays_has_none(store):
    made = record(scores=(float("nan"), 1.0, 2.0))
    store.save(made)
    assert store.load(made["key"])["values"]["infidelity"] == [None, 1.0, 2.0]
    assert store.arrays(made["key"]) == {}
    assert b"NaN" not in file_of(store, made["key"], ".json").read_bytes()


def test_absent_cells_are_none_and_their_arrays_a_key_error(store):
    assert store.load("ab" * 32) is None
    assert store.failure("ab" * 32) is None
    with pytest.raises(KeyError, match=r"abab.* is not finished"):
        store.arrays("ab" * 32)
    assert not store.root.exists()  # reading makes nothing


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "done"}, "save_failure"),
        ({"values": {"infidelity": [1.0]}}, "values.infidelity has 1 numbers for 3 samples"),
        ({"values": {"other": [1.0, 2.0, 3.0]}}, "values has .*other"),
        (
            {"values": {"infidelity": [1.0, float("inf"), 2.0]}},
            r"record.values.infidelity\[1\] must be finite",
        ),
        ({"info": {"a": {"b": {1, 2}}}}, "record.info.a.b has type set"),
        ({"key": "../../escape"}, "cannot be a name"),
    ],
)
def test_a_wrong_record_is_refused_and_named(store, changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        store.save(record(**changes))


def test_a_record_lacking_a_key_is_refused(store):
    made = record()
    del made["environment"]
    with pytest.raises(ValueError, match="record lacks environment"):
        store.save(made)


def test_names_are_brought_to_the_disk_with_their_files(tmp_path, monkeypatch):
    synced, real = [], os.fsync

    def fsync(handle):
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "new" / "folder" / "file.txt"
    write_atomic(path, b"first")
    assert synced[0].suffix == ".tmp"
    assert synced[1:] == [path.parent, path.parent.parent, tmp_path]
    synced.clear()
    write_atomic(path, b"second")
    assert synced[1:] == [path.parent]


def test_a_failure_is_kept_until_the_cell_succeeds(store):
    failed = cell("digits", "score", "ig", "infidelity") | {
        "status": "oom",
        "reason": "3 GiB",
        "traceback": "...",
    }
    store.save_failure(failed)
    assert store.failure(failed["key"]) == failed
    assert store.load(failed["key"]) is None
    store.save(record(key=failed["key"]))
    assert store.failure(failed["key"]) is None
    assert not file_of(store, failed["key"], ".failed.json").exists()
    with pytest.raises(ValueError, match=r"status must be ok, error, .*'broken'"):
        store.save_failure(failed | {"status": "broken"})
    with pytest.raises(ValueError, match="use save"):
        store.save_failure(record())


def test_keys_are_canonical():
    first = cell_key({"b": (1, 2), "a": {"x": 1.0, "y": None}})
    assert first == cell_key({"a": {"y": None, "x": 1}, "b": [1.0, 2]})
    assert len(first) == 64
    assert first == cell_key(json.loads(json.dumps({"b": (1, 2), "a": {"x": 1.0, "y": None}})))
    assert len({cell_key({"a": value}) for value in (1, True, "1", None, 1.5, [1], {"1": 1}, 0, False)}) == 9
    assert cell_key({"a": -0.0}) == cell_key({"a": 0})
    assert canonical({"a": 1e-7}) == {"a": 1e-7}
    # The bytes that are hashed must never change, or every store is recomputed.
    text = '{"a":1,"\\u00e9":[true,0.5]}'
    assert cell_key({"é": [True, 0.5], "a": 1}) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (float("nan"), ValueError, r"identity\.metric\[1\]\.radius must be finite, got nan"),
        (float("-inf"), ValueError, r"identity\.metric\[1\]\.radius must be finite, got -inf"),
        (np.float32(1), TypeError, r"identity\.metric\[1\]\.radius has type float32"),
        (Path("x"), TypeError, r"identity\.metric\[1\]\.radius has type PosixPath"),
        ({1: 2}, TypeError, r"identity\.metric\[1\]\.radius has the key 1 of type int"),
    ],
)
def test_what_has_no_canonical_form_is_refused_by_place(value, error, message):
    with pytest.raises(error, match=message):
        cell_key({"metric": ["a", {"radius": value}]})


def test_environments_and_manifests(store):
    name = store.save_environment({"python": "3.11", "hardware": {"cores": 2}})
    assert len(name) == 12
    assert store.save_environment({"hardware": {"cores": 2}, "python": "3.11"}) == name
    assert store.environment(name) == {"python": "3.11", "hardware": {"cores": 2}}
    with pytest.raises(KeyError, match="no-such"):
        store.environment("no-such")
    with pytest.raises(ManifestNotFound, match="there are none yet"):
        store.manifest("my_paper")
    store.save_manifest({"name": "my_paper", "cells": []})
    store.save_manifest({"name": "other", "cells": []})
    assert store.manifest("my_paper") == {"name": "my_paper", "cells": []}
    with pytest.raises(ManifestNotFound, match=r"'my_papr'.*nearest: my_paper; there are: my_paper, other"):
        store.manifest("my_papr")
    for name in ("", "../x", "a/b", ".hidden"):
        with pytest.raises(ValueError, match="cannot be a name"):
            store.save_manifest({"name": name})


def test_leftover_temporary_files_are_never_results(store):
    made = record()
    store.save(made)
    folder = file_of(store, made["key"], ".json").parent
    (folder / f".{made['key']}.json.123.abcd.tmp").write_text("{")
    manifests = store.root / "manifests"
    manifests.mkdir()
    (manifests / ".x.json.1.ab.tmp").write_text("{")
    assert store.load(made["key"]) == made
    assert store.manifests() == []


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_atomic(path, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"file.txt: No space left on device; free space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["file.txt"]


def test_check_writable(tmp_path, monkeypatch):
    store = Store(tmp_path / "a" / "b")
    store.check_writable()
    assert list(store.root.iterdir()) == []
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match=r"the store .*file is not writable: .*set store=PATH"):
        Store(blocked).check_writable()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 95, 5 * 2**20))
    store.check_writable(need_bytes=4 * 2**20)
    with pytest.raises(StoreError, match="5 MiB free and this run needs about 64 MiB"):
        store.check_writable()


def test_stores_merge_by_copying(tmp_path):
    one, two, both = (Store(tmp_path / name) for name in ("one", "two", "both"))
    first, second = record(), record(key=cell_key({"other": 1}))
    one.save(first, {"map_0": np.zeros((3, 2))})
    two.save(second, {"map_0": np.ones((3, 2))})
    for source in (one, two):
        shutil.copytree(source.root, both.root, dirs_exist_ok=True)
    assert both.load(first["key"]) == first
    assert both.load(second["key"]) == second
    np.testing.assert_array_equal(both.arrays(second["key"])["map_0"], np.ones((3, 2)))


def test_writers_of_one_key_leave_a_whole_result(store):
    made = record()

    def write(number):
        for _ in range(5):
            store.save(made | {"seconds": float(number)}, {"map_0": np.full((64, 64), number, np.float32)})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    found = store.load(made["key"])
    if found is None:  # threads that keep interleaving may disagree in the end: then the cell is damaged, never wrong
        assert list(file_of(store, made["key"], ".json").parent.glob("*.corrupt"))
        write(4)
        found = store.load(made["key"])
    np.testing.assert_array_equal(store.arrays(made["key"])["map_0"], np.full((64, 64), found["seconds"]))


def test_the_last_writer_repairs_arrays_replaced_under_it(store, monkeypatch):
    made, mine, theirs = record(), np.zeros((3, 2), np.float32), np.ones((3, 2), np.float32)
    other = Store(store.root)
    real, raced = Store._array_sha256, []

    def race(self, key):
        if not raced:
            raced.append(key)
            other.save(made, {"map_0": theirs})  # finishes wholly between our two files
            store_file = file_of(store, key, ".json")
            store_file.write_bytes(text)
        return real(self, key)

    store.save(made, {"map_0": mine})
    text = file_of(store, made["key"], ".json").read_bytes()
    monkeypatch.setattr(Store, "_array_sha256", race)
    store.save(made, {"map_0": mine})
    np.testing.assert_array_equal(store.arrays(made["key"])["map_0"], mine)


def test_samples_fill_a_store_that_loads(store):
    manifest = fill(store)
    assert store.manifest("sample") == manifest
    states = [store.load(planned["key"]) is not None for planned in manifest["cells"]]
    assert (len(states), sum(states)) == (34, 26)


def test_no_torch():
    code = "import sys, xbench.tables.tables, xbench.store.environment; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
