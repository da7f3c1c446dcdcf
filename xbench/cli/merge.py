"""Merges the entries of all jobs of a command into one list that is the same for a sweep and for a list.

`algorithm=ig,deeplift -m` and `algorithm=[ig,deeplift]` give the same cells in the same order: cells that several jobs
share (samples, controls) appear once, controls come last.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xbench.run.planned import Entry

_LABELS = ("kind", "model", "dataset", "algorithm", "metric")
_RANK = {
    "planned": 0,
    "reused": 2,
    "ok": 3,
}  # rank of a status: of two entries for one cell the higher is kept; failures have rank 1


def merge(jobs: Sequence[Sequence[Entry]], controls: Sequence[str] = ()) -> list[Entry]:
    """One entry per cell, ordered by (model, dataset), algorithm and metric as they appear; controls last."""
    kept: dict[tuple[Any, ...], Entry] = {}
    for cells in jobs:
        blocks: Counter[tuple[Any, ...]] = Counter()
        for entry in cells:
            labels = _labels(entry)
            blocks[labels] += 1
            identity = (entry.get("key") or blocks[labels], *labels)  # a skipped cell may lack a key
            before = kept.get(identity)
            if before is None or _RANK.get(entry["status"], 1) > _RANK.get(before["status"], 1):
                kept[identity] = entry
    entries = list(kept.values())
    pairs = _ranks((entry["dataset"], entry["model"]) for entry in entries)
    algorithms = _ranks(entry["algorithm"] for entry in entries)
    metrics = _ranks(entry["metric"] for entry in entries)

    def place(entry: Entry) -> tuple[Any, ...]:
        algorithm, metric = entry["algorithm"], entry["metric"]
        return (
            pairs[entry["dataset"], entry["model"]],
            algorithm is not None,  # the samples of a model and dataset come first
            _base(algorithm) in controls,
            algorithms[algorithm],
            metric is not None,  # an attribution before its scores
            metrics[metric],
        )

    return sorted(entries, key=place)  # stable: blocks stay in the order of their samples


def relabel(jobs: Sequence[Sequence[Entry]], varied: Sequence[Mapping[str, str]]) -> list[list[Entry]]:
    """The entries with names that distinguish different settings of one component.

    `varied[j]` holds the swept keys of job j that are not groups ("algorithm.ig.n_steps": "50"). If two jobs have
    different cells under one name (a sweep over n_steps, or over seed), the setting is appended to the name:
    "ig n_steps=50", "digits seed=1". Without such a clash names are unchanged.
    """
    seen: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
    for cells in jobs:
        keys: dict[tuple[Any, ...], list[Any]] = {}
        for entry in cells:
            if entry.get("key"):
                keys.setdefault(_labels(entry), []).append(entry["key"])
        for labels, found in keys.items():
            seen.setdefault(labels, set()).add(tuple(found))
    if all(len(different) == 1 for different in seen.values()):
        return [list(cells) for cells in jobs]
    return [
        [_named(entry, settings, clash=len(seen.get(_labels(entry), ())) > 1) for entry in cells]
        for cells, settings in zip(jobs, varied, strict=True)
    ]


def _named(entry: Entry, settings: Mapping[str, str], *, clash: bool) -> Entry:
    """The entry with its settings in its names; `clash`: other cells have the same names."""
    named = dict(entry)
    for key, value in settings.items():
        group, *rest = key.split(".")
        if key in ("model", "dataset"):  # label two options with one name; others need no label
            named[key] += f" {value}" if value != entry[key] else ""
            continue
        if key == "postprocess":  # changes some metrics only
            named["metric"] = f"{entry['metric']} {value}" if entry["metric"] and clash else entry["metric"]
            continue
        setting = f" {rest[-1] if rest else key}={value}"
        if group in ("algorithm", "control", "metric") and len(rest) > 1:
            owner = "metric" if group == "metric" else "algorithm"
            if entry[owner] == rest[0]:
                named[owner] += setting
        elif group == "model":
            named["model"] += setting
        elif group != "run":  # dataset.*, and settings of all cells: seed, n, target, output
            named["dataset"] += setting
    return named


def _labels(entry: Entry) -> tuple[Any, ...]:
    return tuple(entry[label] for label in _LABELS)


def _base(algorithm: str | None) -> str:
    return (algorithm or "").split(" ")[0]


def _ranks(names: Iterable[Any]) -> dict[Any, int]:
    return {name: rank for rank, name in enumerate(dict.fromkeys(names))}
