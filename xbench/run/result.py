"""Result of computing a cell or a slice of its samples: arrays and numbers, or a failure with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from xbench.boundary.attempt import attempt, message, trace, words
from xbench.boundary.own_code import place
from xbench.core.needs import NotApplicable
from xbench.engine import NonFiniteError, OutOfMemory
from xbench.engine.memory import is_out_of_memory
from xbench.store.records import StoredStatus

Arrays = Mapping[str, np.ndarray]
ResultStatus = StoredStatus | Literal["skipped"]


@dataclass(frozen=True)
class CellResult:
    """Sent from a worker to the process that stores it.

    Attributes:
        status: ok, skipped, or one of `records.FAILURES`.
        fields: fields of the record: columns, values, counters, info, environment; a failure has at least the
            environment.
        arrays: arrays with one row per sample, in the order of the values.
        seconds: time spent on the cell.
    """

    status: ResultStatus
    reason: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)
    seconds: float = 0.0
    traceback: str | None = None


class NeededFailed(RuntimeError):
    """A cell that this one needs has no result; this cell takes its status."""

    def __init__(self, status: StoredStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def failed(error: BaseException, seconds: float, fields: Mapping[str, Any]) -> CellResult:
    """The failure of the exception being handled. Call inside `except`."""
    if isinstance(error, NotApplicable):
        return CellResult("skipped", message(error), seconds=seconds)
    status: ResultStatus
    if isinstance(error, NeededFailed):
        status, reason = error.status, str(error)
    else:
        where = place(error)
        status, reason = "error", words(error) + (f" ({where})" if where else "")
        if isinstance(error, OutOfMemory) or attempt(lambda: is_out_of_memory(error), lambda _: False):
            status = "oom"
        elif isinstance(error, NonFiniteError):
            status = "nonfinite"
    return CellResult(status, reason, fields, seconds=seconds, traceback=trace())


def join(shares: Sequence[CellResult]) -> CellResult:
    """Join the shares of a cell, in the order of their samples; the first failure fails the cell."""
    first = shares[0]
    if len(shares) == 1:
        return first
    seconds = sum(made.seconds for made in shares)
    for made in shares:
        if made.status != "ok":
            return CellResult(made.status, made.reason, made.fields, seconds=seconds, traceback=made.traceback)
    n = [len(next(iter(made.fields["values"].values()), ())) for made in shares]
    values = {
        name: [value for made, m in zip(shares, n, strict=True) for value in _column(made, name, m)]
        for name in dict.fromkeys(name for made in shares for name in made.fields["values"])
    }
    if "peak_memory" in values:
        values["peak_memory"] = [max(values["peak_memory"])] * len(values["peak_memory"])
    columns = {name: column for made in shares for name, column in made.fields["columns"].items()}
    counters = {name: sum(made.fields["counters"][name] for made in shares) for name in first.fields["counters"]}
    return CellResult(
        "ok",
        fields={**first.fields, "columns": columns, "values": values, "counters": counters, "info": _info(shares)},
        arrays={name: np.concatenate(_equally_wide([made.arrays[name] for made in shares])) for name in first.arrays},
        seconds=seconds,
    )


def _info(shares: Sequence[CellResult]) -> dict[str, Any]:
    """The info of the first share, with the rewrites of all shares, which may name rows without a rewrite."""
    info: dict[str, Any] = dict(shares[0].fields["info"])
    notes = [note for made in shares for note in made.fields["info"].get("rewrites", {}).items()]
    return info | ({"rewrites": dict(sorted(notes, key=lambda note: len(note[1])))} if "rewrites" in info else {})


def _column(made: CellResult, name: str, n: int) -> list[Any]:
    # An algorithm's notes may be absent if it had nothing to report.
    column: list[Any] = made.fields["values"].get(name, [float("nan")] * n)
    return column


def _equally_wide(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pad values per feature to the largest number of features."""
    if parts[0].ndim != 2:
        return list(parts)
    width = max(part.shape[1] for part in parts)
    return [np.pad(part, [(0, 0), (0, width - part.shape[1])]) for part in parts]
