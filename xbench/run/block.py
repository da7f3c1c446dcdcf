"""Computes the cells of one block of samples, or a slice of a cell's samples; nothing is stored here."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from xbench.algorithms.base import Algorithm
from xbench.boundary.attempt import attempt
from xbench.config import sources
from xbench.datasets.record import Dataset, Split
from xbench.engine import Counters, NonFiniteError
from xbench.engine.evaluation import synchronise
from xbench.engine.memory import PeakMemory
from xbench.explain.evidence import gather
from xbench.explain.explanation import Explanation
from xbench.explain.score import score_maps
from xbench.inputs.pictures import heats, picture
from xbench.metrics.maps import Maps, relevance
from xbench.models.record import Model
from xbench.run.cells import Algorithms, Cell, evidence_of
from xbench.run.decisions import Decisions
from xbench.run.identities import Identities, Named
from xbench.run.prepared import Prepared
from xbench.run.result import Arrays, CellResult, NeededFailed, failed
from xbench.store.records import CellKind, canonical, cell_key
from xbench.store.store import Store
from xbench.tables.columns import COST

_SHORT = 0.5  # seconds: faster cells are timed three times; their time is the median
_MEDIUM = 5.0  # seconds: faster cells are timed once more, because the search for the best rows slows the first run
_COSTS = {column.source: {"direction": column.direction, "unit": column.unit} for column in COST}


@dataclass(frozen=True)
class _Found:
    """Result of a block's evidence, (n, q), with its costs and the rewrites of the model."""

    outputs: Tensor
    counters: Mapping[str, int]
    rewrites: Mapping[str, str]


@dataclass(frozen=True)
class OpenJob:
    """One model on one dataset with its algorithms and metrics, opened on a device.

    environment: the id of this environment in the store.
    beside: number of other workers that may be busy on this machine while an attribution is timed.
    """

    cfg: DictConfig
    store: Store
    parts: Algorithms
    dataset: Dataset
    model: Model
    device: torch.device
    ids: Identities
    environment: str
    beside: int = 0


class Block:
    """The cells of one block of samples. Model and samples are prepared when the first cell needs them.

    `progress` is called with the finished and the total rows of a cell.
    """

    def __init__(self, job: OpenJob, split: Split, progress: Callable[[int, int], None]) -> None:
        self.job = job
        self.split = split
        self._decisions = Decisions(job.cfg, job.dataset, job.model, job.device, job.ids, job.store, job.environment)
        self.prepared = Prepared(job.cfg, job.dataset, job.model, job.device, split, progress, self._decisions)
        self._evidence: dict[str, _Found] = {}
        self._latest: tuple[str, Explanation] | None = None  # with its algorithm's name

    def make(self, unit: Cell, share: slice | None = None) -> CellResult:
        """Compute a cell, or the samples `share` of it; an error becomes a failure result."""
        makers: dict[CellKind, Callable[[Cell, slice], tuple[dict[str, Any], Arrays]]] = {
            "samples": self._samples,
            "shared": self._gather,
            "evidence": self._gather,
            "attribution": self._attribution,
            "score": self._score,
        }
        make = makers[unit.kind]
        where = {"environment": self.job.environment}
        start = time.perf_counter()

        def work() -> CellResult:
            reason = self.prepared.not_applicable(unit)
            if reason is not None:
                return CellResult("skipped", reason)
            fields, arrays = self._decisions.made_before(lambda: make(unit, share or slice(0, len(self.split))))
            _check(fields)
            sources.check()
            return CellResult("ok", fields=fields | where, arrays=arrays, seconds=time.perf_counter() - start)

        return attempt(work, lambda error: failed(error, time.perf_counter() - start, where))

    def _samples(self, unit: Cell, share: slice) -> tuple[dict[str, Any], Arrays]:
        job, chosen = self.job, self.prepared.chosen
        tokens = self.prepared.encoded.tokens
        info = {
            "modality": job.dataset.modality,
            "classes": list(job.dataset.classes),
            "standin": job.dataset.standin,
            "origin": job.dataset.origin,
            "accuracy": job.model.accuracy,
            "predicted": chosen.predicted,
            "label": chosen.label,
            "confidence": chosen.confidence,
            "tokens": None if tokens is None else [list(row) for row in tokens],
        }
        shown = picture(job.dataset, self.prepared.samples)
        arrays = {} if shown is None else {"image": shown}
        return {"columns": {}, "values": {}, "counters": _counts(Counters()), "info": info}, arrays

    def _attribution(self, unit: Cell, share: slice) -> tuple[dict[str, Any], Arrays]:
        assert unit.algorithm is not None
        algorithm = unit.algorithm.component
        explainer, n = self.prepared.explainer, share.stop - share.start
        counters = explainer.restart()
        flat, seconds, peak, how = self._timed(algorithm, share)
        if not bool(torch.isfinite(flat).all()):
            raise NonFiniteError("the map has NaN or infinity")
        counts = _counts(counters)
        rows = {name: counts[name] / n for name in ("forward_rows", "backward_rows")}
        per_sample = {"runtime": seconds / n, **rows, "peak_memory": float(peak)}
        notes = {name: values.double().tolist() for name, values in counters.notes.items()}
        facts, subject = algorithm.facts, explainer.subject
        layout = subject.read_layout if facts.reads else subject.layout
        arrays = {f"map_{i}": m.cpu().numpy() for i, m in enumerate(layout.unflatten(flat, cast=False))}
        case = explainer.case(distribution=facts.distribution).part(share)
        density = algorithm.density(case, flat)
        if layout is subject.layout:  # where features are
            maps = Maps(flat, density, facts.local, facts.stochastic)
            arrays["relevance"] = relevance(case, maps)[0].to(flat.dtype).cpu().numpy()
            arrays["features"] = case.counts.cpu().numpy()
        if self.prepared.fits_tokens(layout):
            samples = self.split.subset(range(share.start, share.stop))
            arrays |= heats(self.job.dataset, samples, layout.unflatten(density, cast=False))
        info = {
            "kind": "local" if facts.local else "global",
            "stochastic": facts.stochastic,
            "complete": facts.complete,
            "needs": [need.value for need in facts.needs],
            "citation": facts.citation,
            "label": facts.label,
            "control": facts.control,
            "answer": facts.answer,
            "parameters": {k: v for k, v in unit.algorithm.identity.items() if not k.startswith("_")},
            "readout": self.job.cfg.output,
            "site": self.prepared.layer or "input",
            "timing": how if not self.job.beside else f"{how}, up to {self.job.beside} other workers busy",
            "rewrites": counters.rewrites,
        }
        fields = {
            "columns": _COSTS | {name: {"direction": "none", "unit": ""} for name in notes},
            "values": {name: [value] * n for name, value in per_sample.items()} | notes,
            "counters": counts,
            "info": info,
        }
        return fields, arrays

    def _timed(self, algorithm: Algorithm, share: slice) -> tuple[Tensor, float, int, str]:
        """The maps, their seconds, the peak bytes after the rows have settled, and how the time was measured.

        On a CPU measuring memory would slow down the timed run, so memory is measured in a separate run.
        """
        explainer, device = self.prepared.explainer, self.job.device
        whole = len(self.split) / (share.stop - share.start)  # a share is timed as often as the whole cell

        def once() -> tuple[Tensor, float]:
            synchronise(device)
            start = time.perf_counter()
            result = explainer.attribute(algorithm, share)
            synchronise(device)
            return result, time.perf_counter() - start

        flat, seconds = once()
        explainer.restart()  # the counters of the first run are the cell's
        with PeakMemory(device) as peak:
            again = once()[1]
        if whole * seconds >= _MEDIUM:
            return flat, seconds, peak.bytes, "once"
        if device.type == "cpu":
            again = once()[1]
        if whole * min(seconds, again) >= _SHORT:
            return flat, again, peak.bytes, "second run"
        return flat, statistics.median([seconds, again, once()[1]]), peak.bytes, "median of 3"

    def _gather(self, unit: Cell, share: slice) -> tuple[dict[str, Any], Arrays]:
        assert unit.evidence is not None
        explainer = self.prepared.explainer
        explanation = None if unit.algorithm is None else self._explanation(unit.algorithm)
        counters = explainer.restart()
        outputs = gather(explainer, unit.evidence, explanation, share)
        fields = {"columns": {}, "values": {}, "counters": _counts(counters), "info": {"rewrites": counters.rewrites}}
        return fields, {"outputs": outputs.cpu().numpy()}

    def _score(self, unit: Cell, share: slice) -> tuple[dict[str, Any], Arrays]:
        assert unit.algorithm is not None
        assert unit.metric is not None
        explainer, metric = self.prepared.explainer, unit.metric.component
        explanation = self._explanation(unit.algorithm)
        found = [self._found(cell) for cell in evidence_of(self.job.ids, self.split, unit)]
        scores = score_maps(explainer, metric, explanation, [each.outputs for each in found], share)
        facts, n = metric.facts, share.stop - share.start
        # Costs count as if no evaluation were shared with another algorithm or metric.
        counts = {
            name: sum(each.counters.get(name, 0) for each in found) * n // len(self.split)
            for name in _counts(Counters())
        }
        info = {
            "label": facts.label,
            "citation": facts.citation,
            "parameters": {k: v for k, v in unit.metric.identity.items() if not k.startswith("_")},
            "perturbation": metric.describe(explainer.case(distribution=False)),
            "rewrites": {name: how for each in found for name, how in each.rewrites.items()},
        }
        curves = metric.curves(*(each.outputs[share] for each in found))
        info |= {"curves": list(curves)} if curves else {}
        fields = {
            "columns": {name: asdict(column) | {"family": facts.family} for name, column in facts.columns.items()},
            "values": {name: [float(v) for v in values.tolist()] for name, values in scores.items()},
            "counters": counts,
            "info": info,
        }
        return fields, {f"curve_{place}": values.cpu().numpy() for place, values in enumerate(curves.values())}

    def _stored_maps(self, algorithm: Named[Algorithm]) -> Tensor:
        """The flat maps of the stored attribution cell."""
        key = cell_key(self.job.ids.attribution(self.split, algorithm))
        arrays = self._stored(key, "there is no map to score")
        count = sum(name.startswith("map_") for name in arrays)
        maps = [torch.from_numpy(arrays[f"map_{i}"]).to(self.job.device) for i in range(count)]
        return torch.cat([m.reshape(len(m), -1) for m in maps], dim=1)

    def _explanation(self, algorithm: Named[Algorithm]) -> Explanation:
        """The latest one is kept: the cells of one algorithm come one after another."""
        if self._latest is None or self._latest[0] != algorithm.name:
            self._latest = None  # freed before the next one is read
            maps = self._stored_maps(algorithm)
            self._latest = algorithm.name, Explanation.by(algorithm.component, maps, self.prepared.explainer)
        return self._latest[1]

    def _found(self, cell: Cell) -> _Found:
        """The result of a score's evidence, with costs and rewrites; cached with the block."""
        if cell.key not in self._evidence:
            arrays = self._stored(cell.key, "there is no evidence to score on")
            record = self.job.store.load(cell.key, verify_arrays=False)
            assert record is not None
            outputs = torch.from_numpy(arrays["outputs"]).to(self.job.device)
            found = _Found(outputs, record["counters"], record["info"].get("rewrites", {}))
            if cell.kind != "shared":
                return found
            self._evidence[cell.key] = found
        return self._evidence[cell.key]

    def _stored(self, key: str, lack: str) -> dict[str, np.ndarray]:
        store = self.job.store
        if store.load(key) is None:
            known = store.failure(key)
            reason = known["reason"] if known else "it was not computed"
            raise NeededFailed(known["status"] if known else "error", f"{lack}: {reason}")
        return store.arrays(key)


def _check(fields: Mapping[str, Any]) -> None:
    """Check that all fields can be stored: numbers are not infinite, and components' facts are text and numbers."""
    for name, values in fields["values"].items():
        infinite = sum(map(math.isinf, values))
        if infinite:
            raise NonFiniteError(f"{name} is infinite for {infinite} of {len(values)} samples; NaN would be undefined")
    canonical({name: value for name, value in fields.items() if name != "values"}, "its record")


def _counts(counters: Counters) -> dict[str, int]:
    return {name: getattr(counters, name) for name in ("forward_rows", "backward_rows", "repeated_rows")}
