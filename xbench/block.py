"""Computes the cells of one block of samples: every result, or the reason why there is none, goes to the store."""

from __future__ import annotations

import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from xbench.algorithms.base import Algorithm
from xbench.cells import Algorithms, Identities, Named, Unit, known, units
from xbench.datasets.record import Dataset, Split
from xbench.display import Display
from xbench.engine import NonFiniteError, OutOfMemory
from xbench.engine.engine import synchronise
from xbench.engine.memory import PeakMemory, is_out_of_memory
from xbench.metrics.base import Metric
from xbench.models.record import Model
from xbench.outcomes import COST
from xbench.prepared import Prepared
from xbench.records import Record, cell_key
from xbench.samples import heat, picture
from xbench.score import Explanation, probe_outputs, score_maps
from xbench.store import Store, StoreError

_SHORT = 5.0  # seconds; a cell this fast is timed three times, so that warming up does not count
_COSTS = {column.source: {"direction": column.direction, "unit": column.unit} for column in COST}
Entry = dict[str, Any]


@dataclass
class Job:
    """One model on one dataset with its algorithms and metrics, and where results go."""

    cfg: DictConfig
    display: Display
    store: Store
    parts: Algorithms
    dataset: Dataset
    model: Model
    device: torch.device
    ids: Identities
    environment: str
    entries: list[Entry] = field(default_factory=list)


class Block:
    """The cells of one block of samples. Model and samples are prepared when the first cell needs them."""

    def __init__(self, job: Job, split: Split) -> None:
        self.job = job
        self.split = split
        self.prepared = Prepared(job.cfg, job.dataset, job.model, job.device, split, job.display.advance)
        self._probes: dict[str, Tensor | None] = {}

    def announce(self) -> None:
        """Say which cells cannot be computed, before anything runs."""
        for unit in units(self.job.ids, self.job.parts, self.split):
            try:
                reason = self.prepared.not_applicable(unit)
            except Exception:  # the model does not run on these samples: their cells will say so, each with its trace
                return
            if reason is not None and unit.kind == "attribution":
                self.job.display.message(f"skipped: {unit.label}: {reason}")

    def run(self) -> None:
        job = self.job
        for unit in units(job.ids, job.parts, self.split):
            status, reason = known(job.store, unit.key, job.cfg.reuse)
            if status == "todo":
                status, reason = self._attempt(unit)
            elif status != "reused":
                job.display.cell_done(unit.label, status, 0.0, reason)
            job.entries.append(unit.entry(status, reason))

    def _attempt(self, unit: Unit) -> tuple[str, str | None]:
        """Compute one cell; its status and, when it has none to show, the reason."""
        job = self.job
        job.display.cell_started(unit.label)
        start = time.perf_counter()
        try:
            reason = self.prepared.not_applicable(unit)
            if reason is not None:
                job.display.cell_done(unit.label, "skipped", 0.0, reason)
                return "skipped", reason
            job.store.discard(unit.key)  # reuse=never: an old result must not stand for an attempt that fails
            record, arrays = {
                "samples": self._samples,
                "attribution": self._attribution,
                "score": self._score,
            }[unit.kind](unit)
            seconds = time.perf_counter() - start
            job.store.save(self._record(unit, seconds=seconds, **record), arrays)
        except StoreError:
            raise  # the disk is full or gone: no cell can be kept
        except Exception as error:  # the boundary of a cell: any failure is its result
            status, reason = _status(error), f"{type(error).__name__}: {error}"
            if isinstance(error, _AttributionFailed):
                status, reason = error.status, str(error)
            job.store.save_failure(self._record(unit, status=status, reason=reason, traceback=traceback.format_exc()))
            job.display.cell_done(unit.label, status, time.perf_counter() - start, reason)
            return status, reason
        job.display.cell_done(unit.label, "ok", seconds)
        return "ok", None

    def _record(self, unit: Unit, **values: Any) -> Record:  # noqa: ANN401  (record fields)
        record: dict[str, Any] = {
            "key": unit.key,
            "kind": unit.kind,
            "status": "ok",
            "reason": None,
            "identity": unit.identity,
            "model": unit.identity["model"]["name"],
            "dataset": unit.identity["dataset"]["name"],
            "algorithm": unit.algorithm.name if unit.algorithm else None,
            "metric": unit.metric.name if unit.metric else None,
            "samples": list(self.split.ids),
            "environment": self.job.environment,
            "counters": {"forward_rows": 0, "backward_rows": 0, "repeated_rows": 0},
        }
        return Record(**(record | values))  # type: ignore[typeddict-item]

    def _samples(self, unit: Unit) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
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
        arrays = {}
        if job.dataset.modality == "image":
            arrays["image"] = picture(self.split.inputs, job.dataset.value_range)
        return {"columns": {}, "values": {}, "info": info}, arrays

    def _attribution(self, unit: Unit) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        assert unit.algorithm is not None
        algorithm: Algorithm = unit.algorithm.component
        explainer, n = self.prepared.explainer, len(self.split)
        counters = explainer.restart()
        flat, seconds, peak = self._timed(algorithm)
        if not bool(torch.isfinite(flat).all()):
            raise NonFiniteError("the map has NaN or infinity")
        counts = {"forward_rows": counters.forward_rows, "backward_rows": counters.backward_rows}
        per_sample = {"runtime": seconds / n, **{k: v / n for k, v in counts.items()}}
        per_sample["peak_memory"] = float(peak)
        notes = {name: values.double().tolist() for name, values in counters.notes.items()}
        facts, subject = algorithm.facts, explainer.subject
        layout = subject.read_layout if facts.reads else subject.layout
        arrays = {f"map_{i}": m.cpu().numpy() for i, m in enumerate(layout.unflatten(flat, cast=False))}
        density = layout.unflatten(Explanation.by(algorithm, flat, explainer).maps.density, cast=False)
        if self.prepared.fits_tokens(layout):
            arrays["heat"] = heat(density[0], self.job.dataset.modality)
        info = {
            "kind": "local" if facts.local else "global",
            "stochastic": facts.stochastic,
            "complete": facts.complete,
            "needs": [need.value for need in facts.needs],
            "citation": facts.citation,
            "label": facts.label,
            "control": facts.control,
            "parameters": {k: v for k, v in unit.algorithm.identity.items() if not k.startswith("_")},
            "readout": self.job.cfg.output,
            "site": self.prepared.layer or "input",
            "timing": "median of 3" if seconds < _SHORT else "once",
        }
        record = {
            "columns": _COSTS | {name: {"direction": "none", "unit": ""} for name in notes},
            "values": {name: [value] * n for name, value in per_sample.items()} | notes,
            "counters": counts | {"repeated_rows": counters.repeated_rows},
            "info": info,
        }
        return record, arrays

    def _timed(self, algorithm: Algorithm) -> tuple[Tensor, float, int]:
        """The maps, the seconds they took, and the peak bytes of a second run, when rows have settled.

        Seconds are the median of three when one is short, since the first run warms up. The meter of memory would
        slow down what is timed, so it watches a run of its own.
        """
        explainer, device = self.prepared.explainer, self.job.device
        flat, seconds = _once(lambda: explainer.attribute(algorithm), device)
        explainer.restart()  # the first run's counters are the cell's
        with PeakMemory(device) as peak:
            explainer.attribute(algorithm)
        if seconds < _SHORT:
            again = [_once(lambda: explainer.attribute(algorithm), device)[1] for _ in range(2)]
            seconds = statistics.median([seconds, *again])
        return flat, seconds, peak.bytes

    def _score(self, unit: Unit) -> tuple[dict[str, Any], None]:
        assert unit.algorithm is not None
        assert unit.metric is not None
        metric: Metric = unit.metric.component
        flat = self._stored_maps(unit.algorithm)
        counters = self.prepared.explainer.restart()
        evidence = self._probe(unit.metric)
        explanation = Explanation.by(unit.algorithm.component, flat, self.prepared.explainer)
        scores = score_maps(self.prepared.explainer, metric, explanation, evidence)
        facts = metric.facts
        info = {
            "label": facts.label,
            "citation": facts.citation,
            "parameters": {k: v for k, v in unit.metric.identity.items() if not k.startswith("_")},
            "perturbation": metric.describe(self.prepared.explainer.case(distribution=False)),
        }
        record = {
            "columns": {name: {"direction": c.direction, "unit": c.unit} for name, c in facts.columns.items()},
            "values": {name: [float(v) for v in values.tolist()] for name, values in scores.items()},
            "counters": {
                "forward_rows": counters.forward_rows,
                "backward_rows": counters.backward_rows,
                "repeated_rows": counters.repeated_rows,
            },
            "info": info,
        }
        return record, None

    def _stored_maps(self, algorithm: Named) -> Tensor:
        """The maps that the attribution cell left, flat."""
        store = self.job.store
        key = cell_key(self.job.ids.attribution(self.split, algorithm))
        if store.load(key) is None:
            failed = store.failure(key)
            raise _AttributionFailed(
                failed["status"] if failed else "error",
                f"there is no map to score: {failed['reason'] if failed else 'its attribution is missing'}",
            )
        arrays = store.arrays(key)
        count = sum(name.startswith("map_") for name in arrays)
        maps = [torch.from_numpy(arrays[f"map_{i}"]).to(self.job.device) for i in range(count)]
        return torch.cat([m.reshape(len(m), -1) for m in maps], dim=1)

    def _probe(self, metric: Named) -> Tensor | None:
        """The metric's outputs that no map enters: computed by the first algorithm's cell, stored, and shared."""
        if metric.name not in self._probes:
            self._probes[metric.name] = self._load_or_run_probe(metric)
        return self._probes[metric.name]

    def _load_or_run_probe(self, metric: Named) -> Tensor | None:
        store, identity = self.job.store, self.job.ids.probe(self.split, metric)
        unit = Unit("probe", identity, None, metric)
        if self.job.cfg.reuse != "never" and store.load(unit.key) is not None:
            return torch.from_numpy(store.arrays(unit.key)["outputs"]).to(self.job.device)
        outputs = probe_outputs(self.prepared.explainer, metric.component)
        if outputs is not None:
            record = self._record(unit, columns={}, values={}, seconds=0.0, info={})
            store.save(record, {"outputs": outputs.cpu().numpy()})
        return outputs


class _AttributionFailed(RuntimeError):
    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def _status(error: Exception) -> str:
    if isinstance(error, OutOfMemory) or is_out_of_memory(error):
        return "oom"
    return "nonfinite" if isinstance(error, NonFiniteError) else "error"


def _once(run: Callable[[], Tensor], device: torch.device) -> tuple[Tensor, float]:
    synchronise(device)
    start = time.perf_counter()
    result = run()
    synchronise(device)
    return result, time.perf_counter() - start
