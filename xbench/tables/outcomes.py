"""The outcomes of the cells that a manifest planned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xbench.store.records import FAILURES, Record, TableKind
from xbench.store.store import Store

CellGroup = tuple[str, str, str | None, str | None]  # model, dataset, algorithm, metric

_MISSING = "not computed: the run was interrupted; the same command continues it"


@dataclass(frozen=True)
class StoredCell:
    """A planned cell and its outcome."""

    group: CellGroup
    key: str | None  # None if the job failed before the key was known
    status: str  # "ok", "skipped", "missing" or one of records.FAILURES
    reason: str | None
    samples: tuple[str | None, ...]  # ids; None if no record gives them
    record: Record | None

    @property
    def kind(self) -> TableKind:
        """Which cell of the group: told by what it names."""
        return "score" if self.group[3] is not None else "attribution" if self.group[2] is not None else "samples"

    @property
    def result(self) -> Record | None:
        """The record; None if the cell has not finished."""
        return self.record if self.status == "ok" else None


def resolve(store: Store, manifest: Mapping[str, Any]) -> list[StoredCell]:
    """The planned cells with their outcomes: groups in the order planned, the blocks of a group together.

    A cell without a record takes the status of the failed cell that it depends on (a score on its attribution, an
    attribution on its model and samples), else the failure in the manifest, else "missing". A key planned twice counts
    once.
    """
    groups: dict[CellGroup, dict[str | None, Mapping[str, Any]]] = {}
    for planned in manifest["cells"]:
        group = (planned["model"], planned["dataset"], planned["algorithm"], planned["metric"])
        groups.setdefault(group, {})[planned["key"]] = planned
    done: dict[tuple[CellGroup, int], StoredCell] = {}
    for group in sorted(groups, key=lambda names: (names[3] is not None, names[2] is not None)):
        for block, planned in enumerate(groups[group].values()):
            done[group, block] = _outcome(store, planned, group, done.get((_needed(group), block)))
    return [done[group, block] for group in groups for block in range(len(groups[group]))]


def _needed(group: CellGroup) -> CellGroup:
    model, dataset, algorithm, metric = group
    return (model, dataset, algorithm if metric is not None else None, None)


def _outcome(store: Store, planned: Mapping[str, Any], group: CellGroup, needed: StoredCell | None) -> StoredCell:
    key, count, status = planned["key"], planned["samples"], planned["status"]
    samples = needed.samples if needed and len(needed.samples) == count else (None,) * count
    if status == "skipped":
        return StoredCell(group, key, status, planned["reason"], samples, None)
    record = store.load(key, verify_arrays=False) or store.failure(key) if key else None
    if record is not None:
        return StoredCell(group, key, record["status"], record["reason"], tuple(record["samples"]), record)
    if needed is not None and needed.key != key and needed.status not in ("ok", "missing"):
        what = "attribution" if group[3] is not None else "model or data"
        return StoredCell(group, key, needed.status, f"its {what} has no result: {needed.reason}", samples, None)
    if status in FAILURES:  # the job failed before this cell had a record
        return StoredCell(group, key, status, planned["reason"], samples, None)
    return StoredCell(group, key, "missing", _MISSING, samples, None)
