"""The store keeps whole results, notices damage and merges by copying."""

import errno
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.store_samples import cell, fill
from xbench.store.environment import environment, hardware_id
from xbench.store.records import canonical
from xbench.store.store import ManifestNotFound, Store, StoreError, cell_key, write_atomic


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def record(scores=(1.0, None, 0.1), **changes):
    made = cell("digits", "score", "ig", "infidelity") | {"samples": ["a", "b", "c"]}
    made |= {
        "columns": {"infidelity": {"direction": "lower", "unit": ""}},
        "values": {"infidelity": list(scores)},
    }
    return made | changes


def file_of(store, key, suffix):
    return store.root / "cells" / key[:2] / f"{key}{suffix}"


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


def _truncate(path: Path):
    path.write_bytes(path.read_bytes()[:-40])


def _flip(path: Path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))


def _change_a_digit(path: Path):
    path.write_text(path.read_text().replace("[1.0, null", "[9.0, null"))


def _drop_a_key(path: Path):
    data = json.loads(path.read_text())
    del data["values"]
    path.write_text(json.dumps(data))


def _empty(path: Path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".json", _truncate),
        (".json", _change_a_digit),
        (".json", _drop_a_key),
        (".json", _empty),
        (".safetensors", _truncate),
        (".safetensors", _flip),
        (".safetensors", os.remove),
    ],
)
def test_damage_is_set_aside_and_can_be_computed_again(store, caplog, suffix, damage):
    made, arrays = record(), {"map_0": np.ones((3, 2), np.float32)}
    for times in (1, 2):
        store.save(made, arrays)
        damage(file_of(store, made["key"], suffix))
        with caplog.at_level(logging.WARNING):
            assert store.load(made["key"]) is None
        assert "set aside" in caplog.text
        assert not file_of(store, made["key"], ".json").exists()
        aside = list(store.root.glob("cells/*/*.json*.corrupt"))
        assert len(aside) == times
    store.save(made, arrays)
    assert store.load(made["key"]) == made


def _folder(path: Path):
    path.unlink(missing_ok=True)
    (path / "inside").mkdir(parents=True)


def _pipe(path: Path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _circle(path: Path):
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


def _deep(path: Path):
    path.write_text('{"a":' * 100_000 + "1" + "}" * 100_000)


IN_ITS_PLACE = [_folder, _pipe, _circle, _deep]


@pytest.mark.parametrize("put", IN_ITS_PLACE)
@pytest.mark.parametrize("suffix", [".json", ".safetensors", ".failed.json"])
def test_what_is_no_file_costs_its_own_cell(store, caplog, suffix, put):
    made, arrays = record(), {"map_0": np.ones((3, 2), np.float32)}
    other = record(key=cell_key({"other": 1}))
    store.save(made, arrays)
    store.save(other, arrays)
    if suffix == ".failed.json":
        file_of(store, made["key"], ".json").unlink()
    put(file_of(store, made["key"], suffix))
    with caplog.at_level(logging.WARNING):
        assert store.load(made["key"]) is None
        assert store.failure(made["key"]) is None
    assert "set aside" in caplog.text
    assert store.load(other["key"]) == other
    store.save(made, arrays)
    assert store.load(made["key"]) == made


@pytest.mark.parametrize("put", [_folder, _pipe, _circle])
@pytest.mark.parametrize("suffix", [".json", ".safetensors", ".failed.json"])
def test_a_result_takes_the_place_of_what_is_no_file(store, suffix, put):
    made, arrays = record(), {"map_0": np.ones((3, 2), np.float32)}
    path = file_of(store, made["key"], suffix)
    path.parent.mkdir(parents=True)
    put(path)
    store.save(made, arrays)
    assert store.load(made["key"]) == made
    np.testing.assert_array_equal(store.arrays(made["key"])["map_0"], arrays["map_0"])
    assert store.failure(made["key"]) is None


def _forbid(monkeypatch, path, error):
    real = os.open

    def refuse(name, flags, *more, **others):
        if os.fspath(name) == os.fspath(path):
            raise error
        return real(name, flags, *more, **others)

    monkeypatch.setattr(os, "open", refuse)


def test_a_result_that_may_not_be_read_is_computed_again(store, monkeypatch):  # root may read all: asked, not chmod
    made = record()
    store.save(made)
    path = file_of(store, made["key"], ".json")
    _forbid(monkeypatch, path, PermissionError(errno.EACCES, "Permission denied"))
    assert store.load(made["key"]) is None
    assert path.with_name(f"{path.name}.corrupt").exists()


def test_a_process_out_of_handles_damages_no_result(store, monkeypatch):
    made = record()
    store.save(made)
    with monkeypatch.context() as patched:
        _forbid(patched, file_of(store, made["key"], ".json"), OSError(errno.EMFILE, "Too many open files"))
        with pytest.raises(StoreError, match="Too many open files"):
            store.load(made["key"])
    assert store.load(made["key"]) == made


@pytest.mark.parametrize("put", IN_ITS_PLACE)
def test_a_manifest_that_is_no_file_counts_as_absent(store, put):
    store.save_manifest({"name": "paper", "cells": []})
    put(store.root / "manifests" / "paper.json")
    with pytest.raises(ManifestNotFound, match="no run named 'paper'"):
        store.manifest("paper")
    store.save_manifest({"name": "paper", "cells": []})
    assert store.manifest("paper") == {"name": "paper", "cells": []}


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


def test_arrays_notices_damage_by_itself(store):
    made = record()
    store.save(made, {"map_0": np.ones((3, 2), np.float32)})
    _flip(file_of(store, made["key"], ".safetensors"))
    assert store.load(made["key"], verify_arrays=False) == made
    with pytest.raises(StoreError, match=r"damaged .*sha256.*run again"):
        store.arrays(made["key"])
    assert store.load(made["key"]) is None


def test_a_file_under_another_cells_name_is_damage(store):
    made = record()
    store.save(made)
    other = "ff" * 32
    target = file_of(store, other, ".json")
    target.parent.mkdir(parents=True)
    shutil.copy(file_of(store, made["key"], ".json"), target)
    assert store.load(other) is None
    assert store.load(made["key"]) == made


def test_only_the_result_that_was_seen_is_discarded(store):
    made, arrays = record(), {"map_0": np.ones((3, 2), np.float32)}
    assert store.stamp(made["key"]) is None
    store.save(made, arrays)
    seen = store.stamp(made["key"])
    store.save(made, arrays)  # another command's
    store.discard(made["key"], seen)
    assert store.load(made["key"]) == made
    store.discard(made["key"], store.stamp(made["key"]))
    assert store.load(made["key"]) is None


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


def test_a_damaged_failure_is_set_aside(store):
    failed = cell("digits", "score", "ig", "infidelity") | {"status": "error", "reason": "x"}
    store.save_failure(failed)
    _truncate(file_of(store, failed["key"], ".failed.json"))
    assert store.failure(failed["key"]) is None
    assert file_of(store, failed["key"], ".failed.json.corrupt").exists()


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


def test_environment_is_stable_and_json(store):
    first = environment(devices=["GPU A"], threads=2)
    assert store.save_environment(first) == store.save_environment(environment(devices=["GPU A"], threads=2))
    assert first["hardware"]["devices"] == ["GPU A"]
    assert first["python"].count(".") == 2
    assert first["packages"]["numpy"] == np.__version__


def test_hardware_id_sees_hardware_alone():
    base = environment(threads=2)
    assert hardware_id(base) == hardware_id(base | {"git": None, "python": "4.0"})
    assert hardware_id(base) != hardware_id(environment(threads=1))
    assert hardware_id(base) != hardware_id(environment(threads=2, devices=["GPU A"]))


def test_git_state_is_the_commit_and_changes_of_tracked_files(tmp_path):
    assert environment(directory=tmp_path)["git"] is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]

    def git(*arguments):
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    assert environment(directory=tmp_path)["git"] is None  # no commit yet
    (tmp_path / "a.txt").write_text("1")
    git("add", "a.txt")
    git("commit", "--no-verify", "-m", "one")
    state = environment(directory=tmp_path)["git"]
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "results.json").write_text("untracked")
    assert environment(directory=tmp_path)["git"] == state
    (tmp_path / "a.txt").write_text("2")
    assert environment(directory=tmp_path)["git"] == state | {"dirty": True}


def test_no_torch():
    code = "import sys, xbench.tables.tables, xbench.store.environment; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
