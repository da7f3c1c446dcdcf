"""Computes the missing cells of a job, and stores every result, or the reason for its absence."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from omegaconf import DictConfig
from torch import Tensor

from xbench.boundary.attempt import attempt, trace
from xbench.boundary.own_code import one_line
from xbench.boundary.redact import Redactor
from xbench.config import devices
from xbench.config.nodes import ConfigError, instantiate
from xbench.datasets.record import Split
from xbench.run.block import OpenJob
from xbench.run.cells import Algorithms, Cell, blocks, evidence_of, known, units
from xbench.run.estimates import Times
from xbench.run.executor import Here, Workers, WorkItem
from xbench.run.identities import Identities
from xbench.run.open_job import dataset_of, open_job, opened
from xbench.run.planned import Entry, Outcome, of_config
from xbench.run.prepared import Prepared
from xbench.run.processes import open_pool
from xbench.run.progress import Display
from xbench.run.remarks import KEY, doubts, remarks
from xbench.run.result import CellResult
from xbench.run.schedule import Crew
from xbench.store.records import CellKind, Record, cell_key
from xbench.store.store import Stamp, Store, StoreError

_RECORDS = 64 * 2**20  # bytes
# What is computed at once, in the order in which cells need each other.
_STAGES: tuple[tuple[CellKind, ...], ...] = (("samples", "shared"), ("attribution",), ("evidence",), ("score",))


def run_job(cfg: DictConfig, display: Display, begun: Callable[[Outcome], None] = lambda _: None) -> Outcome:
    """Compute the cells of `cfg` that are not in the store; a failing cell is recorded and the others go on.

    `begun` is called with the list of cells before any is computed.

    Raises:
        StoreError: the store cannot be written; raised before any work.
    """
    Store(cfg.store).check_writable()
    try:
        run = attempt(lambda: _opened(cfg, display), lambda error: _not_opened(cfg, error, display))
    except KeyboardInterrupt:
        return Outcome(interrupted=True)
    if isinstance(run, Outcome):
        return run
    try:
        run.begin()
        begun(run.outcome())
        run.all(run.workers())
    except KeyboardInterrupt:
        return run.outcome(interrupted=True)
    except StoreError as error:  # the disk is full or gone: finished cells stay in the manifest
        return run.outcome(error=str(error))
    return run.outcome()


def _opened(cfg: DictConfig, display: Display) -> _Run | Outcome:
    names = devices.resolve(cfg.run.devices)
    in_processes = len(names) > 1 or cfg.run.timeout is not None
    job = open_job(cfg, torch.device("cpu" if in_processes else names[0]), cfg.run.beside)
    run = _Run(job, display, list(blocks(cfg, job.dataset.test)), names if in_processes else ())
    job.store.check_writable(run.bytes)
    run.find_doubts()
    return run


def _not_opened(cfg: DictConfig, error: BaseException, display: Display) -> _Run | Outcome:
    """An error in a user's files or code ends this job only, with its reason."""
    if isinstance(error, StoreError):
        raise error
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        display.message(trace())
    reason = one_line(error)
    return Outcome(_without_data(cfg, reason), refused=reason)


def plan_job(cfg: DictConfig) -> list[Entry]:
    """The plan of `run_job`: status reused, to run, skipped or unknown until loaded, and `seconds` if known.

    A model with available weights is loaded to find algorithms that do not apply; a model that is not trained or
    downloaded yet is not loaded.

    Raises:
        ConfigError: the job cannot begin, because its data, model or settings do not exist or do not match.
    """
    try:
        return _planned(cfg)
    except Exception as error:  # a user's files and code
        raise ConfigError(one_line(error)) from error


def _planned(cfg: DictConfig) -> list[Entry]:
    store, parts = Store(cfg.store), Algorithms.of(cfg)
    dataset = dataset_of(cfg)
    source = instantiate(cfg.model, "model")
    fingerprint = source.fingerprint(dataset)
    ids = Identities(cfg, dataset, getattr(source, "title", cfg.choice.model), fingerprint or "")
    model = opened(cfg, torch.device("cpu"))[1] if fingerprint else None
    planned, times = [], Times(store)
    for block in blocks(cfg, dataset.test):
        prepared = Prepared(cfg, dataset, model, torch.device("cpu"), block) if model else None
        for unit in units(ids, parts, block):
            status: str
            status, reason = known(store, unit.key, cfg.reuse)
            if status in ("todo", "skipped"):
                lack = _not_applicable(prepared, unit) if prepared else None
                todo = "to run" if fingerprint else "unknown until loaded"
                status, reason = ("skipped", lack or reason) if lack or status == "skipped" else (todo, None)
            seconds = times.of(unit.identity) if status == "to run" else None
            planned.append(unit.entry(status, reason) | {"seconds": seconds})
    return planned


def _not_applicable(prepared: Prepared, unit: Cell) -> str | None:
    # If the model does not run on these samples, its cells will report it.
    return attempt(lambda: prepared.not_applicable(unit), lambda _: None)


def _without_data(cfg: DictConfig, reason: str) -> list[Entry]:
    """The entry of a job that cannot begin: its samples, with the reason, which applies to all its cells."""
    facts = {"key": None, "samples": 0, "status": "error", "reason": reason}
    names = ("kind", "model", "dataset", "algorithm", "metric")
    return [{name: getattr(spec, name) for name in names} | facts for spec in of_config(cfg)[:1]]


class _Run:
    """The cells of a job on their way into the store; computed by a process for each of `names`, if there are any."""

    def __init__(self, job: OpenJob, display: Display, splits: Sequence[Split], names: Sequence[str]) -> None:
        self._job = job
        self._display = display
        self._redactor = Redactor([job.cfg])
        self._splits = splits
        self._names = names
        self._units = [list(units(job.ids, job.parts, split)) for split in splits]
        self._notes = remarks(job.dataset, job.cfg.n)
        self._done: dict[str, tuple[str, str | None]] = {}
        self._clauses: list[str] | None = None
        for unit in self.planned:
            status, reason = self._known(unit)
            if status == "reused":
                self._done[unit.key] = status, reason
        # With reuse=never: old results, which stay until a new result exists or its computation fails.
        self._old: dict[str, Stamp] = {}
        if job.cfg.reuse == "never":
            every = (*self.planned, *(unit for number in range(len(splits)) for unit in self._evidence(number)))
            self._old = {unit.key: stamp for unit in every if (stamp := job.store.stamp(unit.key)) is not None}

    @functools.cached_property
    def _first(self) -> Prepared:
        job = self._job
        return Prepared(job.cfg, job.dataset, job.model, job.device, self._splits[0])

    @property
    def planned(self) -> Iterator[Cell]:
        """All cells, in the order of the manifest."""
        for of_block in self._units:
            yield from of_block

    @property
    def missing(self) -> list[Cell]:
        """Cells without an outcome yet."""
        return [unit for unit in self.planned if unit.key not in self._done]

    def outcome(self, *, interrupted: bool = False, error: str | None = None) -> Outcome:
        """The manifest's entries of all cells, `planned` for those that were not reached."""
        entries = [unit.entry(*self._done.get(unit.key, ("planned", None))) for unit in self.planned]
        return Outcome(entries, interrupted, error, self._notes)

    @property
    def bytes(self) -> int:
        """Estimated disk space of the missing maps, with a margin for records."""
        split = self._job.dataset.test
        size = split.inputs[0].numel() * 4 if isinstance(split.inputs, Tensor) and len(split) else 0
        maps = [unit for unit in self.missing if unit.kind == "attribution"]
        return _RECORDS + size * sum(len(unit.identity["samples"]) for unit in maps)

    def find_doubts(self) -> None:
        """Check the model's consistency. Raises ValueError if run.consistency=stop and the check fails."""
        how = self._job.cfg.run.consistency
        if how == "ignore":
            return
        self._clauses = doubts(self._job, [unit.key for unit in self.planned if unit.kind == "samples"])
        name = f"{self._job.model.name} on {self._job.dataset.name}"
        sentences = [f"{name}: {clause}." for clause in self._clauses]
        if how == "stop" and sentences:
            raise ValueError(f"run.consistency=stop: {' '.join(sentences)}")
        self._notes += sentences

    def begin(self) -> None:
        """Report the remarks for the reader, and the number of cells."""
        for note in self._notes:
            self._display.message(note)
        self._display.start(sum(map(len, self._units)), len(self._done))

    def workers(self) -> Workers:
        """The workers that compute missing cells."""
        if self._names and self.missing:
            return Crew(open_pool(self._names), self._job.cfg, self._display)
        if self.missing:
            self._announce()
        return Here(self._job, self._display)

    def _announce(self) -> None:
        """Report the algorithms that do not apply, before anything runs."""
        for unit in self._units[0]:
            if unit.kind == "attribution" and unit.key not in self._done:
                reason = _not_applicable(self._first, unit)
                if reason is not None:
                    self._display.message(f"skipped: {unit.label}: {reason}")

    def all(self, workers: Workers) -> None:
        """Compute all missing cells: first those that scores need, as many blocks at once as the workers can use."""
        step = min(workers.at_once, len(self._splits))
        for first in range(0, len(self._splits), step):
            some = range(first, min(first + step, len(self._splits)))
            for kinds in _STAGES:
                if kinds == ("evidence",):  # not concurrently with attributions, which are timed
                    self._expect(some.stop, workers)
                for item, made in workers.run(self._items(some, kinds), alone=kinds == ("attribution",)):
                    self._keep(item, made)

    def _expect(self, first: int, workers: Workers) -> None:
        """Announce the next block, from number `first` on, with missing cells."""
        for number in range(first, len(self._splits)):
            if any(unit.key not in self._done for unit in self._units[number]):
                workers.expect(number, self._splits[number])
                return

    def _items(self, some: Iterable[int], kinds: Sequence[CellKind]) -> Iterator[WorkItem]:
        """The missing cells of these kinds; another command on the same store may finish one meanwhile."""
        for number in some:
            hidden = "shared" in kinds or "evidence" in kinds
            of_block = [*self._units[number], *self._evidence(number)] if hidden else self._units[number]
            for unit in of_block:
                if unit.kind not in kinds or unit.key in self._done:
                    continue
                status, reason = self._without(number, unit) or self._known(unit)
                if status == "todo":
                    yield WorkItem(number, self._splits[number], unit)
                else:
                    self._done[unit.key] = status, reason
                    if unit.evidence is None:
                        self._display.cell_done(unit.label, status, 0.0, reason)

    def _without(self, number: int, unit: Cell) -> tuple[str, str | None] | None:
        """Skipped with a reason, if a score's map or evidence was skipped during its computation; else None."""
        if unit.algorithm is None or unit.kind == "attribution":
            return None
        ids, split = self._job.ids, self._splits[number]
        keys = [cell_key(ids.attribution(split, unit.algorithm))]
        keys += [cell.key for cell in evidence_of(ids, split, unit)] if unit.metric is not None else []
        for key in keys:
            status, reason = self._done.get(key, ("", None))
            if status == "skipped":
                return status, reason
        return None

    def _evidence(self, number: int) -> list[Cell]:
        """The evidence cells of the block's missing scores, each once for all metrics."""
        needed: dict[str, Cell] = {}
        for unit in self._units[number]:
            if unit.metric is not None and unit.key not in self._done and not _not_applicable(self._first, unit):
                needed |= {cell.key: cell for cell in evidence_of(self._job.ids, self._splits[number], unit)}
        return list(needed.values())

    def _known(self, unit: Cell) -> tuple[str, str | None]:
        status, reason = known(self._job.store, unit.key, self._job.cfg.reuse)
        if status == "skipped":  # reuse=only; cells that do not apply keep their own reason
            reason = _not_applicable(self._first, unit) or reason
        return status, reason

    def _keep(self, item: WorkItem, made: CellResult) -> None:
        unit = item.unit
        try:
            self._store(item, made)
        except StoreError as error:
            self._job.store.check_writable()  # if the store is not writable, all cells would fail: this ends the job
            made = CellResult("error", str(error), seconds=made.seconds)
        self._done[unit.key] = made.status, made.reason
        if unit.evidence is None:
            self._display.cell_done(unit.label, made.status, made.seconds, made.reason)

    def _store(self, item: WorkItem, made: CellResult) -> None:
        key, store = item.unit.key, self._job.store
        if made.status == "ok":
            found = {} if self._clauses is None else {KEY: self._clauses}
            fields = {**made.fields, "info": {**made.fields["info"], **found}}
            store.save(self._record(item, made, seconds=made.seconds, **fields), made.arrays)
            return
        if made.status != "skipped":
            reason = made.reason
            store.save_failure(
                self._record(item, made, status=made.status, reason=reason, traceback=made.traceback, **made.fields)
            )
        if key in self._old:  # an old result must not hide a failed attempt; a newer one is another command's
            store.discard(key, self._old[key])

    def _record(self, item: WorkItem, made: CellResult, **values: Any) -> Record:  # noqa: ANN401  (record fields)
        unit = item.unit
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
            "samples": list(item.split.ids),
            "environment": self._job.environment,
            "counters": {"forward_rows": 0, "backward_rows": 0, "repeated_rows": 0},
        }
        return cast(Record, self._redactor.record(record | values))
