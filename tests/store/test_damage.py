"""What is damaged, missing or no file costs its own cell and nothing else."""

import errno
import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.store.one_cell import file_of, record
from tests.store_samples import cell
from xbench.store.store import ManifestNotFound, StoreError, cell_key


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


def test_a_damaged_failure_is_set_aside(store):
    failed = cell("digits", "score", "ig", "infidelity") | {"status": "error", "reason": "x"}
    store.save_failure(failed)
    _truncate(file_of(store, failed["key"], ".failed.json"))
    assert store.failure(failed["key"]) is None
    assert file_of(store, failed["key"], ".failed.json.corrupt").exists()
