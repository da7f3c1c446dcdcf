"""The identity of a cell, from which its key in the store follows: everything that changes its numbers."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf

from xbench.algorithms.base import Algorithm
from xbench.config import sources
from xbench.config.nodes import canonical, identity, source
from xbench.datasets.cache import sha256_file
from xbench.datasets.record import Dataset, Split
from xbench.metrics.base import Metric
from xbench.metrics.evidence import Evidence, Shared
from xbench.store.records import TableKind

_PLACES = ("name", "weights")  # a path or hub name; the display name is already recorded with the settings
# The sites where points enter and gradients are read, the explained unit, the features.
_WHERE = ("layer", "read", "neuron", "features")
_SPEED = {"precision": "fp32", "compile": None, "rewrites": True}  # defaults of `run`; a default does not enter the key
FORMAT = 1  # raised when the meaning of a stored cell changes


C = TypeVar("C", Algorithm, Metric)
IdentityKind = TableKind | Literal["evidence", "rewrites"]


@dataclass(frozen=True)
class Named(Generic[C]):
    """A component under its name in the command, with the JSON that identifies its settings."""

    name: str
    component: C
    identity: dict[str, Any]


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


def of_component(node: DictConfig, version: int) -> dict[str, Any]:
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
