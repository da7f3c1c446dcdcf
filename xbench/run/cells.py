"""A job's cells and blocks of samples. Loads no model."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from omegaconf import DictConfig, OmegaConf

from xbench.algorithms.base import Algorithm
from xbench.config.keys import processing
from xbench.config.nodes import canonical, instantiate
from xbench.datasets.record import Split
from xbench.metrics.base import Metric
from xbench.metrics.evidence import Evidence, Shared
from xbench.run.identities import Identities, Named, of_component
from xbench.store.records import CellKind, StoredStatus, cell_key
from xbench.store.store import Store

KnownStatus = Literal["todo", "reused", "skipped"] | StoredStatus


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
    return Named(name, component, of_component(node, component.facts.version))


def _processed(cfg: DictConfig, node: DictConfig) -> DictConfig:
    """The metric's node with the post-processing of the command, as far as it has these parameters."""
    chosen = {name: value for name, value in processing(cfg.postprocess).items() if name in canonical(node)}
    return cast(DictConfig, OmegaConf.merge(node, chosen)) if chosen else node


def _metric(name: str, node: DictConfig) -> Named[Metric]:
    component = instantiate(node, f"metric.{name}")
    if not isinstance(component, Metric):
        raise TypeError(f"metric.{name}: {node['_target_']} is no Metric")
    return Named(name, component, of_component(node, component.facts.version))
