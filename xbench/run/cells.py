"""A job's cells, their identities, and blocks of samples. Loads no model."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast

from omegaconf import DictConfig, OmegaConf

from xbench.algorithms.base import Algorithm
from xbench.config import sources
from xbench.config.keys import processing
from xbench.config.nodes import canonical, identity, instantiate, source
from xbench.datasets.cache import sha256_file
from xbench.datasets.record import Dataset, Split
from xbench.metrics.base import Metric
from xbench.metrics.evidence import Evidence, Shared
from xbench.store.records import CellKind, StoredStatus, TableKind, cell_key
from xbench.store.store import Store

_PLACES = ("name", "weights")  # a path or hub name; the display name is already recorded with the settings
# The sites where points enter and gradients are read, the explained unit, the features.
_WHERE = ("layer", "read", "neuron", "features")
_SPEED = {"precision": "fp32", "compile": None, "rewrites": True}  # defaults of `run`; a default does not enter the key
FORMAT = 1  # raised when the meaning of a stored cell changes


C = TypeVar("C", Algorithm, Metric)
IdentityKind = TableKind | Literal["evidence", "rewrites"]
KnownStatus = Literal["todo", "reused", "skipped"] | StoredStatus


@dataclass(frozen=True)
class Named(Generic[C]):
    """A component under its name in the command, with the JSON that identifies its settings."""

    name: str
    component: C
    identity: dict[str, Any]


@dataclass(frozen=True)
class Algorithms:
    """The algorithms and metrics of a job."""

    algorithms: tuple[Named[Algorithm], ...]
    metrics: tuple[Named[Metric], ...]

    @classmethod
    def of(cls, cfg: DictConfig) -> Algorithms:
        return cls(
            tuple(_algorithm(str(name), node) for name, node in cfg.algorithm.items()),
            tuple(_metric(str(name), _processed(cfg, node)) for name, node in cfg.metric.items()),
        )


@dataclass(frozen=True)
class Identities:
    """Computes the identities of one model's cells on one data set.

    An identity contains everything that changes numbers: settings with their defaults, fingerprints of weights, data
    and foreign source, sample ids, seed, target, readout and precision. It excludes devices, rows, memory, paths and
    names of reports; docs/keys.md has the list.
    """

    cfg: DictConfig
    dataset: Dataset
    model: str
    fingerprint: str

    def samples(self, block: Split) -> dict[str, Any]:
        return self._base("samples", block)

    def attribution(self, block: Split, algorithm: Named[Algorithm]) -> dict[str, Any]:
        return self._base("attribution", block) | {"algorithm": algorithm.identity}

    def evidence(self, block: Split, evidence: Evidence, algorithm: Named[Algorithm]) -> dict[str, Any]:
        """The identity of a metric's evidence; the same for every algorithm if it does not depend on a map."""
        of_map = {} if isinstance(evidence, Shared) else {"algorithm": algorithm.identity}
        return self._base("evidence", block) | {"evidence": identity(evidence)} | of_map | _foreign(evidence)

    def score(self, block: Split, algorithm: Named[Algorithm], metric: Named[Metric]) -> dict[str, Any]:
        return self._base("score", block) | {"algorithm": algorithm.identity, "metric": metric.identity}

    def rewrites(self, tried: Split, evaluation: Mapping[str, str]) -> dict[str, Any]:
        """The identity of the decision which rewrites are used, made on the samples `tried`; it is not a cell's."""
        return self._base("rewrites", tried) | {"evaluation": dict(evaluation)}

    @functools.cached_property
    def _model(self) -> dict[str, Any]:
        """The model's settings without the paths of weights, whose content is in the fingerprint."""
        node = self.cfg.model
        settings = {name: value for name, value in canonical(node).items() if name not in _PLACES}
        return {"settings": settings, **_source(node)}

    def _base(self, kind: IdentityKind, block: Split) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": kind,
            "model": {"name": self.model, "weights": self.fingerprint, **self._model},
            "dataset": {"name": self.dataset.name, "contents": self.dataset.fingerprint},
            "samples": list(block.ids),
            "target": _plain(self.cfg.target),
            "output": self.cfg.output,
            "seed": self.cfg.seed,
            **{name: _plain(self.cfg[name]) for name in _WHERE if self.cfg[name] is not None},
            **({} if self.cfg.baseline is None else {"baseline": _baseline(self.cfg.baseline)}),
            **{name: self.cfg.run[name] for name, plain in _SPEED.items() if self.cfg.run[name] != plain},
        }


def blocks(cfg: DictConfig, split: Split) -> Iterator[Split]:
    """Split the samples into the fixed blocks of cells.

    A single remaining sample joins the block before it, because some algorithms need two.
    """
    n = len(split) if cfg.n is None else min(cfg.n, len(split))
    starts = list(range(0, n, cfg.run.block))
    if len(starts) > 1 and cfg.run.block > 1 and n - starts[-1] == 1:
        starts.pop()
    for start, stop in zip(starts, [*starts[1:], n], strict=True):
        yield split.subset(range(start, stop))


def entry(
    kind: CellKind, identity: Mapping[str, Any], status: str, reason: str | None = None, *,
    algorithm: str | None = None, metric: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One line of a manifest."""
    return {
        "key": cell_key(identity),
        "kind": kind,
        "model": identity["model"]["name"],
        "dataset": identity["dataset"]["name"],
        "algorithm": algorithm,
        "metric": metric,
        "samples": len(identity["samples"]),
        "status": status,
        "reason": reason,
    }


@dataclass(frozen=True)
class Cell:
    """One cell of one block."""

    kind: CellKind
    identity: dict[str, Any]
    algorithm: Named[Algorithm] | None = None
    metric: Named[Metric] | None = None
    evidence: Evidence | None = None

    @functools.cached_property
    def key(self) -> str:
        return cell_key(self.identity)

    @property
    def label(self) -> str:
        seen = type(self.evidence).__name__ if self.evidence else None
        parts = (self.algorithm and self.algorithm.name, self.metric and self.metric.name, seen)
        what = " ".join(part for part in parts if part) or "samples"
        return f"{what} on {self.identity['dataset']['name']}/{self.identity['model']['name']}"

    def entry(self, status: str, reason: str | None = None) -> dict[str, Any]:
        names = {"algorithm": self.algorithm, "metric": self.metric}
        return entry(self.kind, self.identity, status, reason, **{k: v.name if v else None for k, v in names.items()})


def units(ids: Identities, parts: Algorithms, block: Split) -> Iterator[Cell]:
    yield Cell("samples", ids.samples(block))
    for algorithm in parts.algorithms:
        yield Cell("attribution", ids.attribution(block, algorithm), algorithm)
        for metric in parts.metrics:
            yield Cell("score", ids.score(block, algorithm, metric), algorithm, metric)


def evidence_of(ids: Identities, block: Split, score: Cell) -> Iterator[Cell]:
    """The evidence cells of a score, in the order of its metric's evidence; they do not appear in tables.

    Cells that do not depend on a map are common to all algorithms, and have the kind "shared".
    """
    assert score.algorithm is not None
    assert score.metric is not None
    for each in score.metric.component.evidence:
        shared = isinstance(each, Shared)
        of_block = ids.evidence(block, each, score.algorithm)
        yield Cell("shared" if shared else "evidence", of_block, None if shared else score.algorithm, None, each)


def known(store: Store, key: str, reuse: str) -> tuple[KnownStatus, str | None]:
    """The status of a cell by the store and the policy: reused, a failure's status, skipped, or todo."""
    if reuse == "never":
        return "todo", None
    if store.load(key) is not None:
        return "reused", None
    failed = store.failure(key)
    if failed is not None and reuse in ("missing", "only"):
        return failed["status"], failed["reason"]
    return ("skipped", "not in the store (reuse=only)") if reuse == "only" else ("todo", None)


def _algorithm(name: str, node: DictConfig) -> Named[Algorithm]:
    component = instantiate(node, f"algorithm.{name}")
    if not isinstance(component, Algorithm):
        raise TypeError(f"algorithm.{name}: {node['_target_']} is no Algorithm")
    return Named(name, component, _identity(node, component.facts.version))


def _processed(cfg: DictConfig, node: DictConfig) -> DictConfig:
    """The metric's node with the post-processing of the command, as far as it has these parameters."""
    chosen = {name: value for name, value in processing(cfg.postprocess).items() if name in canonical(node)}
    return cast(DictConfig, OmegaConf.merge(node, chosen)) if chosen else node


def _metric(name: str, node: DictConfig) -> Named[Metric]:
    component = instantiate(node, f"metric.{name}")
    if not isinstance(component, Metric):
        raise TypeError(f"metric.{name}: {node['_target_']} is no Metric")
    return Named(name, component, _identity(node, component.facts.version))


def _identity(node: DictConfig, version: int) -> dict[str, Any]:
    """The JSON of a component's settings, its version and its source."""
    return canonical(node) | {"version": version} | _source(node)


def _source(node: DictConfig) -> dict[str, str]:
    """The fingerprint of a component's source, if it is not xbench's own; else empty."""
    found = source(node)
    return {} if found is None else {"_source_": found}


def _foreign(evidence: Evidence) -> dict[str, str]:
    """The fingerprint of the source of evidence, if it is not xbench's own."""
    found = sources.fingerprint(type(evidence))
    return {} if found is None else {"_source_": found}


def _plain(value: object) -> object:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _baseline(name: str) -> str:
    """The name of a baseline, or the sha256 of a file, whose content changes numbers, not its path."""
    path = Path(name)
    return sha256_file(path) if path.suffix and path.is_file() else name
