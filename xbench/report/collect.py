"""Reads the content of a report from a manifest and the store: settings with their samples and methods.

A setting is one model on one data set; the page is grouped by setting.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xbench.store.records import Record
from xbench.store.store import Store
from xbench.tables.comparison import Grid

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class MethodFacts:
    """An algorithm in one setting, with the facts in its attribution cells."""

    name: str  # as in the tables: "ig"
    label: str  # as on the page: "Integrated Gradients"
    control: bool
    keys: tuple[str, ...]  # finished attribution cells, in the manifest's order
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One explained sample."""

    id: str
    key: str  # key of its samples cell
    row: int  # row in that cell
    predicted: str
    label: str
    confidence: float | None
    tokens: tuple[str, ...] | None  # texts: one string per position that has a token


@dataclass(frozen=True)
class Setting:
    """One model on one data set. `modality` is None when no samples cell has finished."""

    model: str
    dataset: str
    slug: str  # part of file names, unique among the settings
    n: int  # number of planned samples
    modality: str | None
    standin: bool
    origin: str
    accuracy: float | None
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    methods: tuple[MethodFacts, ...]  # in the manifest's order, controls last

    @property
    def title(self) -> str:
        return f"{self.model} on {self.dataset}"


def settings(store: Store, manifest: Manifest, grid: Grid) -> list[Setting]:
    """The settings of a manifest in its order, with the algorithms' names from the comparison `grid`."""
    called = {row.algorithm: (row.label, row.control) for row in grid.rows}
    pairs = dict.fromkeys((cell["model"], cell["dataset"]) for cell in manifest["cells"])
    found: list[Setting] = []
    for model, dataset in pairs:
        slug = _slug(f"{model}-{dataset}", {setting.slug for setting in found})
        cells = [cell for cell in manifest["cells"] if (cell["model"], cell["dataset"]) == (model, dataset)]
        found.append(_setting(store, model, dataset, slug, cells, called))
    return found


def _slug(name: str, taken: set[str]) -> str:
    """`name` as part of a file name, different from those `taken`."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "setting"
    slugs = [plain, *(f"{plain}-{number}" for number in range(2, len(taken) + 2))]
    return next(slug for slug in slugs if slug not in taken)


def _setting(
    store: Store,
    model: str,
    dataset: str,
    slug: str,
    cells: Sequence[Mapping[str, Any]],
    called: Mapping[str, tuple[str, bool]],
) -> Setting:
    planned = [cell for cell in cells if cell["kind"] == "samples"]
    records = [record for cell in planned if cell["key"] and (record := store.load(cell["key"], verify_arrays=False))]
    info: Mapping[str, Any] = records[0]["info"] if records else {}
    classes = tuple(str(name) for name in info.get("classes") or ())
    return Setting(
        model=model,
        dataset=dataset,
        slug=slug,
        n=sum(cell["samples"] for cell in planned),
        modality=info.get("modality"),
        # Without its samples cell a stand-in is recognised by the data set's name.
        standin=bool(info.get("standin", dataset.endswith("-standin"))),
        origin=info.get("origin") or "",
        accuracy=info.get("accuracy"),
        classes=classes,
        samples=tuple(sample for record in records for sample in _samples(record, classes)),
        methods=_methods(store, cells, called),
    )


def _samples(record: Record, classes: Sequence[str]) -> list[Sample]:
    info = record["info"]
    tokens = info.get("tokens")
    confidence = info.get("confidence")
    return [
        Sample(
            id=id,
            key=record["key"],
            row=row,
            predicted=_class(info["predicted"][row], classes),
            label=_class(info["label"][row], classes),
            confidence=None if confidence is None else confidence[row],
            tokens=None if tokens is None else tuple(tokens[row]),
        )
        for row, id in enumerate(record["samples"])
    ]


def _class(value: float | None, classes: Sequence[str]) -> str:
    """The name of class `value`; a regression target or an index without a name is shown as the number."""
    if value is None:
        return "–"
    if float(value).is_integer() and 0 <= value < len(classes):
        return classes[int(value)]
    return f"{value:.4g}"


def _methods(
    store: Store, cells: Sequence[Mapping[str, Any]], called: Mapping[str, tuple[str, bool]]
) -> tuple[MethodFacts, ...]:
    names = dict.fromkeys(cell["algorithm"] for cell in cells if cell["algorithm"] is not None)
    methods = []
    for name in names:
        mine = [cell for cell in cells if cell["kind"] == "attribution" and cell["algorithm"] == name]
        keys = [cell["key"] for cell in mine if cell["key"]]  # a job that could not load its data has no keys
        records = [record for key in keys if (record := store.load(key, verify_arrays=False))]
        label, control = called.get(name, (name, False))
        done = tuple(record["key"] for record in records)
        methods.append(MethodFacts(name, label, control, done, records[0]["info"] if records else {}))
    return tuple(sorted(methods, key=lambda method: method.control))  # stable: controls move to the end
