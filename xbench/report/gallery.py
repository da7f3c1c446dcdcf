"""The same samples explained by every algorithm, side by side: rows for the template, JSON for the script."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from xbench.boundary.files import StoreError
from xbench.modalities import MODALITIES
from xbench.report import maps, words
from xbench.report.collect import MethodFacts, Sample, Setting
from xbench.store.store import Store
from xbench.tables.columns import TableColumn

ROWS = 8  # maximum samples per setting
MAX_BYTES = 8 * 2**20  # for all galleries of one page

Panel = dict[str, Any]
Scores = dict[tuple[str, str], dict[str, float]]  # (algorithm, sample) -> metric -> value


@dataclass(frozen=True)
class Gallery:
    """One setting's gallery. Without `rows`, `left_out` gives the reason."""

    title: str
    view: str  # how maps are shown: a picture, words, bars, or a picture above words
    left_out: str
    methods: tuple[Mapping[str, Any], ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()
    json: str = ""


def build(store: Store, setting: Setting, scores: pd.DataFrame, columns: Sequence[TableColumn], budget: int) -> Gallery:
    """The first samples of a setting, as many as fit in `budget` bytes, and at most ROWS."""
    modality = MODALITIES.get(setting.modality or "")  # None where no samples are stored
    view = "picture" if modality is None else modality.view
    if not setting.samples:
        return Gallery(setting.title, view, "No maps to show: the samples of this setting were not finished.")
    arrays, known = _Arrays(store), _known(setting, scores)
    printed = [column for column in columns if column.family != "cost" and not column.detail]
    methods = [method for method in setting.methods if method.keys]
    absent = [method.label for method in setting.methods if not method.keys]
    shown: list[_Row] = []
    spent = 0
    for sample in setting.samples[:ROWS]:
        row = _row(arrays, setting, view, methods, sample, known, printed)
        spent += row.size
        if spent > budget:
            break
        shown.append(row)
    if not shown:
        return Gallery(setting.title, view, "Left out: one sample's maps are more than a page may hold.")
    data = {
        "view": view,
        "samples": [{"id": row.sample.id, "tokens": row.tokens} for row in shown],
        "maps": [[row.maps[column] for row in shown] for column in range(len(methods))],
    }
    left_out = f"{len(shown)} of {words.count(setting.n, 'sample')} shown."
    if spent > budget:
        left_out += f" The others were left out to keep this gallery under {budget / 2**20:.1f} MiB."
    left_out += f" No map of {words.listed(absent)}." if absent else ""
    heads = tuple({"label": m.label, "control": m.control, "note": m.info.get("kind", "")} for m in methods)
    rows = tuple(row.shown for row in shown)
    return Gallery(setting.title, view, left_out, heads, rows, inline(data))


def inline(data: object) -> Markup:
    """`data` as JSON in which no text can end the script element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@dataclass(frozen=True)
class _Row:
    sample: Sample
    shown: Mapping[str, Any]  # what the template prints
    maps: Sequence[Mapping[str, Any] | None]  # what the script colours, one per method
    tokens: Sequence[str] | None
    size: int  # bytes in the page


class _Arrays:
    """Reads each array file once; a damaged file (the store sets it aside) counts as absent."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[str, tuple[dict[str, int], dict[str, np.ndarray]]] = {}

    def find(self, keys: Sequence[str], sample: str, name: str) -> np.ndarray | None:
        """The array `name` of `sample` from the first of the cells `keys` that has it."""
        for key in keys:
            if key not in self._read:
                self._read[key] = self._load(key)
            rows, arrays = self._read[key]
            if sample in rows and name in arrays:
                values: np.ndarray = arrays[name][rows[sample]]
                return values
        return None

    def _load(self, key: str) -> tuple[dict[str, int], dict[str, np.ndarray]]:
        record = self._store.load(key, verify_arrays=False)
        if record is None:
            return {}, {}
        try:
            arrays = self._store.arrays(key)
        except StoreError:
            return {}, {}
        kept = {name: array for name, array in arrays.items() if name in ("heat", "words", "image")}
        return {id: row for row, id in enumerate(record["samples"])}, kept


def _row(
    arrays: _Arrays, setting: Setting, view: str, methods: Sequence[MethodFacts], sample: Sample, known: Scores,
    printed: Sequence[TableColumn],
) -> _Row:  # fmt: skip
    positions = [t for t, token in enumerate(sample.tokens or ()) if token]  # padding carries no token
    tokens = None if sample.tokens is None else [sample.tokens[t] for t in positions]
    image = arrays.find([sample.key], sample.id, "image")
    found: list[Mapping[str, Any] | None] = []
    cells: list[Panel] = []
    for method in methods:
        heat, values = (arrays.find(method.keys, sample.id, name) for name in ("heat", "words"))
        entry, missing = _map(heat, values, positions, view, image)
        found.append(entry)
        scores = known.get((method.name, sample.id), {})
        numbers = [(c.short, words.in_unit(scores[c.name], c.unit)) for c in printed if c.name in scores]
        cells.append({"missing": missing, "scores": [] if missing else numbers})
    picture = maps.input_png(image) if image is not None else None
    verdict = (
        {"tone": "good", "word": "right"} if sample.predicted == sample.label else {"tone": "bad", "word": "wrong"}
    )
    shown = {
        "id": sample.id,
        "image": picture,
        "wide": image is not None and image.shape[1] > 2 * image.shape[0],
        "text": ("\n" if view == "bars" else " ").join(tokens or ()),
        "predicted": words.clip(sample.predicted, 32),
        "label": words.clip(sample.label, 32),
        "confidence": "" if sample.confidence is None else f"{100 * sample.confidence:.0f}\u00a0%",
        # A regression, or one number of many outputs, is neither right nor wrong.
        "verdict": verdict if setting.classes and sample.confidence is not None else None,
        "cells": cells,
    }
    return _Row(sample, shown, found, tokens, len(json.dumps([found, tokens, shown])))


def _map(
    heat: np.ndarray | None, further: np.ndarray | None, positions: Sequence[int], view: str, image: np.ndarray | None
) -> tuple[Panel | None, str]:
    """The script's data to colour one map, or None with the reason.

    `further` holds the values of the words of samples that are a picture and a text.
    """
    values = further if view == "both" else heat
    if heat is None or values is None:
        return None, "no map"
    if view != "picture":
        values = values[list(positions)]
    if not np.isfinite(heat).all() or not np.isfinite(values).all():
        return None, "not finite"
    entry: Panel = {}
    limit = maps.scale(heat)
    if view in ("picture", "both"):
        png, limit = maps.map_png(heat if image is None else _as_large(heat, image))
        entry |= {"png": png, "own": limit}
    if view != "picture":
        limit = maps.scale(values)
        entry |= {"values": [float(f"{value:.4g}") for value in values]}
    return entry | {"scale": limit}, ""


def _as_large(heat: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Enlarge a map to the picture if the picture's size is a multiple of the map's; other maps are unchanged."""
    down, across = (image.shape[axis] // heat.shape[axis] for axis in (0, 1))
    large = heat.repeat(max(down, 1), axis=0).repeat(max(across, 1), axis=1)
    return large if large.shape == image.shape[:2] else heat


def _known(setting: Setting, scores: pd.DataFrame) -> Scores:
    """The setting's scores, by algorithm and sample."""
    mine = scores[(scores["model"] == setting.model) & (scores["dataset"] == setting.dataset)]
    mine = mine[mine["sample"].isin([sample.id for sample in setting.samples[:ROWS]])]
    known: Scores = {}
    columns = (mine[name] for name in ("algorithm", "sample", "metric", "value"))
    for algorithm, sample, metric, value in zip(*columns, strict=True):
        known.setdefault((algorithm, sample), {})[metric] = value
    return known
