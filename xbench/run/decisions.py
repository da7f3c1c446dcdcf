"""Decides once per kind of evaluation which rewrites of the model are used; the store shares it with all processes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from omegaconf import DictConfig

from xbench.boundary.redact import Redactor
from xbench.datasets.record import Dataset, Split
from xbench.engine.rewrites.choice import TRIED, Decision, EvaluationKind
from xbench.engine.rewrites.trial import settled
from xbench.models.record import Model
from xbench.run.identities import Identities
from xbench.run.prepared import Prepared, speed_of
from xbench.store.records import cell_key
from xbench.store.store import Store

_Made = TypeVar("_Made")


class Undecided(Exception):
    """No rewrites have been tried yet for this kind of evaluation."""

    def __init__(self, kind: EvaluationKind) -> None:
        super().__init__(f"rewrites are not decided for {kind.identity}")
        self.kind = kind


@dataclass
class Decisions:
    """The decisions about a job's model on its data; trials use the first samples.

    Calling it returns the decision for a kind of evaluation, and raises Undecided if there is none.
    """

    cfg: DictConfig
    dataset: Dataset
    model: Model
    device: torch.device
    ids: Identities
    store: Store
    environment: str
    _known: dict[str, Decision] = field(default_factory=dict)

    def __call__(self, kind: EvaluationKind) -> Decision:
        key = cell_key(self._identity(kind))
        if key not in self._known:
            found = self.store.decision(key)
            if found is None:
                raise Undecided(kind)
            self._known[key] = found
        return self._known[key]

    def made_before(self, work: Callable[[], _Made]) -> _Made:
        """Return `work()` once all its decisions exist; it is restarted after each missing decision is made."""
        while True:
            try:
                return work()
            except Undecided as lacking:
                kind = lacking.kind
            self._decide(kind)

    def _decide(self, kind: EvaluationKind) -> None:
        decision = settled(speed_of(self.cfg), lambda: self._prepared.explainer.decide(kind))
        identity, redact = self._identity(kind), Redactor([self.cfg])
        key = cell_key(identity)
        self._known[key] = self.store.decide(key, redact(identity), redact(decision), self.environment)

    def _identity(self, kind: EvaluationKind) -> dict[str, Any]:
        # Not the device itself, because devices of one kind give the same numbers.
        return self.ids.rewrites(self._tried, kind.identity | {"device": self.device.type})

    @functools.cached_property
    def _tried(self) -> Split:
        return self.dataset.test.subset(range(min(TRIED, len(self.dataset.test))))

    @functools.cached_property
    def _prepared(self) -> Prepared:
        return Prepared(self.cfg, self.dataset, self.model, self.device, self._tried)
