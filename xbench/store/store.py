"""Cells and files: finished results, failures, environments and manifests under one folder.

    root/cells/<k[:2]>/<k>.json            a finished cell
    root/cells/<k[:2]>/<k>.safetensors     its arrays, written first; the json carries their sha256
    root/cells/<k[:2]>/<k>.failed.json     a failed cell; removed when the cell later succeeds
    root/cells/<k[:2]>/<name>.corrupt      a damaged file, set aside so that the cell is computed again
    root/environments/<id>.json            where numbers were measured
    root/manifests/<name>.json             which cells one report shows
    root/rewrites/<k>.json                 which rewrites of a model serve a kind of evaluation; never replaced

Files appear whole or not at all (`write_atomic`) and there are no locks: two writers of one key leave the
result of the last, and two stores merge by copying files.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from xbench.boundary.files import (
    StoreError,
    Unreadable,
    check_writable,
    file_name,
    read,
    read_json,
    remove,
    set_aside,
    write_atomic,
    write_first,
)
from xbench.store import records
from xbench.store.records import CorruptRecord, Record, cell_key

__all__ = ["ManifestNotFound", "Record", "Store", "StoreError", "cell_key", "write_atomic"]

_PAUSE = 0.05  # seconds
_WRITES = 3

Found = TypeVar("Found")
Stamp = tuple[int, int]


class ManifestNotFound(KeyError):
    """No manifest of that name; the message lists the names there are."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the message in quotes


class Store:
    """The results folder. Opening it touches nothing; call `check_writable` before work starts."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser()

    def check_writable(self, need_bytes: int = 64 * 2**20) -> None:
        """Create the folder, write and remove a probe file, and ask for `need_bytes` of free disk.

        Raises:
            StoreError: any of that fails.
        """
        check_writable(self.root, "store", need_bytes)

    def load(self, key: str, *, verify_arrays: bool = True) -> Record | None:
        """The finished record, or None. A damaged record is set aside (`*.corrupt`, with a warning) and gives None.

        `verify_arrays=False` skips hashing the array file, for callers that read only the numbers.
        """
        try:
            return _twice(lambda: self._verified(key, verify_arrays))
        except CorruptRecord as error:
            self._set_aside(key, str(error))
            return None

    def failure(self, key: str) -> Record | None:
        """The record of the last failure; None if there is none or the cell has finished since."""
        if os.path.exists(self._path(key, ".json")):
            return None
        try:
            found = self._read(key, ".failed.json", records.FAILURE_KEYS)
        except CorruptRecord as error:
            set_aside(self._path(key, ".failed.json"), str(error))
            return None
        return found[0] if found else None

    def arrays(self, key: str) -> dict[str, np.ndarray]:
        """The arrays of a finished cell ({} when it has none), verified against the record's hash.

        Raises:
            KeyError: the cell is not finished.
            StoreError: the file is damaged; it is set aside, and the next run computes the cell again.
        """
        try:
            return _twice(lambda: self._arrays(key))
        except (CorruptRecord, SafetensorError) as error:
            self._set_aside(key, str(error))
            raise StoreError(f"cell {key} in {self.root} was damaged ({error}) and set aside; run again") from error

    def save(self, record: Record, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """Store a finished cell: its arrays, then the record that makes it count. NaN is written as null.

        Raises:
            TypeError, ValueError: `records.dump` refuses the record, or its status is not ok.
            StoreError: the files cannot be written.
        """
        if record["status"] != "ok":
            raise ValueError(f"save takes finished cells, got status {record['status']!r}; use save_failure")
        plain = {name: np.asarray(array, order="C") for name, array in (arrays or {}).items()}
        data = save_arrays(plain) if plain else None
        sha256 = None if data is None else hashlib.sha256(data).hexdigest()
        text, key = records.dump(record, sha256), record["key"]
        for _ in range(_WRITES):
            if data is not None:
                write_atomic(self._path(key, ".safetensors"), data)
            write_atomic(self._path(key, ".json"), text)
            # Another writer of this key may have replaced the arrays in between; the last one restores a pair.
            if sha256 is None or self._array_sha256(key) == sha256:
                break
        remove(self._path(key, ".failed.json"))

    def stamp(self, key: str) -> Stamp | None:
        """A stamp that distinguishes the finished cell from one saved later; None if the cell is not finished."""
        try:
            found = os.stat(self._path(key, ".json"))
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def discard(self, key: str, stamp: Stamp) -> None:
        """Remove the finished cell with this stamp, so that it is computed again; a cell saved later stays."""
        if self.stamp(key) == stamp:
            for suffix in (".json", ".safetensors"):
                remove(self._path(key, suffix))

    def save_failure(self, record: Record) -> None:
        """Store why a cell has no result; `status` is one of records.FAILURES. Raises like `save`."""
        if record["status"] == "ok":
            raise ValueError("save_failure takes failed cells, got status 'ok'; use save")
        write_atomic(self._path(record["key"], ".failed.json"), records.dump(record))

    def save_environment(self, environment: Mapping[str, object]) -> str:
        """Store an environment and return its id, the first 12 hex digits of its canonical sha256."""
        name = records.digest(environment, "environment")[:12]
        path = self._named("environments", name)
        if read_json(path) is None:
            write_atomic(path, json.dumps(environment, indent=1, allow_nan=False).encode())
        return name

    def environment(self, name: str) -> dict[str, Any]:
        """The environment with this id. Raises KeyError if it is absent or damaged."""
        found = read_json(self._named("environments", name))
        if found is None:
            raise KeyError(f"environment {name} is not in the store {self.root}")
        return found

    def decide(
        self, key: str, identity: Mapping[str, object], decision: Mapping[str, str], environment: str
    ) -> dict[str, str]:
        """Store which rewrites are used, unless a decision exists, and return the decision in force.

        `identity` tells a reader what `key` was computed from; values of environment variables are replaced by names.
        """
        whole = {"key": key, "identity": identity, "decision": decision, "environment": environment}
        records.canonical(whole, "decision")
        write_first(self._named("rewrites", key), json.dumps(whole, indent=1, allow_nan=False).encode())
        found = self.decision(key)
        return dict(decision) if found is None else found

    def decision(self, key: str) -> dict[str, str] | None:
        """The decision which rewrites are used, by name; None if undecided. A damaged file is set aside."""
        path = self._named("rewrites", key)
        found = read_json(path)
        if found is None:
            return None
        decision = found.get("decision")
        if not isinstance(decision, dict) or not all(isinstance(how, str) for how in decision.values()):
            set_aside(path, "holds no decision")
            return None
        return decision

    def save_manifest(self, manifest: Mapping[str, object]) -> None:
        """Store what the report `manifest["name"]` shows, replacing the manifest of that name."""
        records.canonical(manifest, "manifest")  # names the element that is not JSON
        path = self._named("manifests", str(manifest["name"]))
        write_atomic(path, json.dumps(manifest, indent=1, allow_nan=False).encode())

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest of this name. Raises ManifestNotFound, listing the names there are."""
        found = read_json(self._named("manifests", name))
        if found is None:
            known = self.manifests()
            near = get_close_matches(name, known)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            listed = f"there are: {', '.join(known)}" if known else "there are none yet"
            raise ManifestNotFound(f"no run named {name!r} in the store {self.root}{hint}; {listed}")
        return found

    def manifests(self) -> list[str]:
        """The names of the stored manifests, sorted."""
        return sorted(path.stem for path in (self.root / "manifests").glob("*.json") if path.name[0] != ".")

    def _path(self, key: str, suffix: str) -> Path:
        return self.root / "cells" / file_name(key)[:2] / f"{key}{suffix}"

    def _named(self, folder: str, name: str) -> Path:
        return self.root / folder / f"{file_name(name)}.json"

    def _read(self, key: str, suffix: str, required: Sequence[str]) -> tuple[Record, str | None] | None:
        data = self._bytes(key, suffix)
        try:
            return None if data is None else records.parse(data, key, required)
        except RecursionError as error:
            raise CorruptRecord("nested too deeply") from error

    def _bytes(self, key: str, suffix: str) -> bytes | None:
        try:
            return read(self._path(key, suffix))
        except Unreadable as error:
            raise CorruptRecord(f"cannot be read: {error}") from error

    def _verified(self, key: str, verify_arrays: bool) -> Record | None:
        found = self._read(key, ".json", records.RESULT_KEYS)
        if found is None:
            return None
        record, sha256 = found
        if verify_arrays and sha256 is not None:
            self._array_bytes(key, sha256)
        return record

    def _arrays(self, key: str) -> dict[str, np.ndarray]:
        found = self._read(key, ".json", records.RESULT_KEYS)
        if found is None:
            raise KeyError(f"cell {key} is not finished in the store {self.root}")
        return {} if found[1] is None else load_arrays(self._array_bytes(key, found[1]))

    def _array_bytes(self, key: str, sha256: str) -> bytes:
        data = self._bytes(key, ".safetensors")
        if data is None:
            raise CorruptRecord("its array file is missing")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise CorruptRecord("its array file does not match its sha256")
        return data

    def _array_sha256(self, key: str) -> str | None:
        try:
            data = self._bytes(key, ".safetensors")
        except CorruptRecord:
            return None
        return None if data is None else hashlib.sha256(data).hexdigest()

    def _set_aside(self, key: str, reason: str) -> None:
        for suffix in (".json", ".safetensors"):
            set_aside(self._path(key, suffix), reason)


def _twice(read: Callable[[], Found]) -> Found:
    """Return `read()`, retried once after a pause: another writer of this key may be between its two files."""
    try:
        return read()
    except (CorruptRecord, SafetensorError):
        time.sleep(_PAUSE)
    return read()
