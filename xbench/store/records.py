"""The stored form of a cell: its record, its key, and JSON text sealed with a checksum."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, cast, get_args

TableKind = Literal["samples", "attribution", "score"]  # of the cells that a manifest and the tables have
CellKind = TableKind | Literal["shared", "evidence"]
Failure = Literal["error", "oom", "timeout", "crashed", "nonfinite"]
StoredStatus = Literal["ok"] | Failure
FAILURES: tuple[Failure, ...] = get_args(Failure)
FAILURE_KEYS = (
    "key",
    "kind",
    "status",
    "reason",
    "identity",
    "model",
    "dataset",
    "algorithm",
    "metric",
    "samples",
)
RESULT_KEYS = (*FAILURE_KEYS, "columns", "values", "seconds", "counters", "environment", "info")


class _Optional(TypedDict, total=False):
    traceback: str  # failures only


class Record(_Optional):
    """One cell as JSON. A failure (status not "ok") needs only the keys in FAILURE_KEYS."""

    key: str
    kind: CellKind
    status: StoredStatus
    reason: str | None
    identity: dict[str, Any]
    model: str
    dataset: str
    algorithm: str | None
    metric: str | None
    samples: list[str]
    columns: dict[str, dict[str, Any]]  # name -> {"direction": "lower" | "higher" | "none", "unit": ..., and facts}
    values: dict[str, list[float | None]]  # name -> one number per sample; None = undefined
    seconds: float
    counters: dict[str, int]
    environment: str
    info: dict[str, Any]


class CorruptRecord(Exception):
    """A file does not hold the expected record."""


def canonical(value: object, path: str = "identity") -> object:
    """`value` as plain JSON data in one form: tuples become lists, whole floats become ints.

    So 1 and 1.0 are equal (YAML writes either for the same setting); True and 1 are not.

    Raises:
        TypeError: a value has a type that JSON lacks; the message names it.
        ValueError: a value is NaN or infinite; the message names it.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{path} must be finite, got {value}")
        return int(value) if value.is_integer() else float(value)
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"{path} has the key {name!r} of type {type(name).__name__}; keys must be str")
        return {name: canonical(item, f"{path}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item, f"{path}[{index}]") for index, item in enumerate(value)]
    raise TypeError(
        f"{path} has type {type(value).__name__}; allowed: None, bool, int, float, str, list, tuple, mapping"
    )


def digest(value: object, path: str = "identity") -> str:
    """sha256 (64 hex digits) of the canonical JSON of `value`. Raises like `canonical`."""
    return _sha256(json.dumps(canonical(value, path), sort_keys=True, separators=(",", ":"), allow_nan=False))


def cell_key(identity: Mapping[str, object]) -> str:
    """The key of the cell with this identity; `canonical` defines equality. Raises like `canonical`."""
    return digest(identity, "identity")


def dump(record: Record, arrays: str | None = None) -> bytes:
    """The record as JSON with a seal: the sha256 of its text and of its arrays. NaN values become null.

    Raises:
        TypeError, ValueError: a key is missing, the status is unknown, a column's length differs from that of
            `samples`, or a named element is not JSON or not finite.
    """
    ok = record.get("status") == "ok"
    if missing := [name for name in (RESULT_KEYS if ok else FAILURE_KEYS) if name not in record]:
        raise ValueError(f"record lacks {', '.join(missing)}")
    if not ok and record["status"] not in FAILURES:
        raise ValueError(f"status must be ok, {', '.join(FAILURES)}; got {record['status']!r}")
    values = {
        name: [None if isinstance(value, float) and math.isnan(value) else value for value in column]
        for name, column in record.get("values", {}).items()
    }
    if values.keys() != record.get("columns", {}).keys():
        raise ValueError(f"values has {sorted(values)} and columns has {sorted(record.get('columns', {}))}")
    for name, column in values.items():
        if len(column) != len(record["samples"]):
            raise ValueError(f"values.{name} has {len(column)} numbers for {len(record['samples'])} samples")
    whole = {**record, "values": values}
    canonical(whole, "record")  # names the element that is not JSON
    text = json.dumps(whole, allow_nan=False)
    seal = json.dumps({"record": _sha256(text), "arrays": arrays})
    return f'{text[:-1]}, "seal": {seal}}}'.encode()


def parse(data: bytes, key: str, required: Sequence[str]) -> tuple[Record, str | None]:
    """The record that `dump` wrote and the sha256 of its arrays (None: no arrays).

    Raises:
        CorruptRecord: the text is truncated or changed, is not JSON, lacks a key, or belongs to another cell.
    """
    try:
        record = json.loads(data)
    except ValueError as error:
        raise CorruptRecord(f"not JSON ({error})") from error
    if not isinstance(record, dict) or not isinstance(seal := record.pop("seal", None), dict):
        raise CorruptRecord("not a sealed record")
    if missing := [name for name in required if name not in record]:
        raise CorruptRecord(f"lacks {', '.join(missing)}")
    if seal.get("record") != _sha256(json.dumps(record)):
        raise CorruptRecord("changed after it was written")
    if record["key"] != key:
        raise CorruptRecord(f"holds the cell {record['key']}")
    return cast(Record, _readable(record) if b"\\ud" in data else record), seal.get("arrays")


def _readable(value: Any) -> Any:  # noqa: ANN401  (any JSON, and the same again)
    """The same JSON with strings that UTF-8 can encode: a lone surrogate becomes its escape, as in `\\ud800`."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_readable(name): _readable(item) for name, item in value.items()}
    return [_readable(item) for item in value] if isinstance(value, list) else value


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
