"""Evidence: what a metric must see beside the map, as components with an identity of their own.

Equal evidence of the same samples is evaluated once, whichever metrics name it, and kept in the store. There are four
kinds, by what enters: nothing of the map (`Shared`), its order (`Ranked`), the explanations of changed samples
(`Again`), and those in another model or of another output (`Changed`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from xbench.core.case import Case
from xbench.core.plan import Plan
from xbench.metrics.maps import Maps


class Evidence:
    """Base of all evidence: frozen dataclasses of settings. `version` is raised when the numbers change."""

    version: ClassVar[int] = 1
    explains: ClassVar[bool] = False  # samples are explained, by the algorithm


class Shared(Evidence, ABC):
    """Evaluations that no map enters: once for all algorithms."""

    @abstractmethod
    def plan(self, case: Case, x: Tensor) -> Plan:
        """Gives (n, q)."""


class Ranked(Evidence, ABC):
    """Evaluations at points that the map orders: once per algorithm."""

    @abstractmethod
    def plan(self, case: Case, x: Tensor, maps: Maps) -> Plan:
        """Gives (n, q)."""


class Again(Evidence, ABC):
    """Changed samples, explained again by the same algorithm: once per algorithm."""

    explains: ClassVar[bool] = True

    @abstractmethod
    def versions(self, case: Case, x: Tensor, maps: Maps) -> tuple[int, Iterator[tuple[Case, Tensor]]]:
        """How many changed versions there are, and each, (n, d), with the case that keys the algorithm's own draws."""

    @abstractmethod
    def reduce(self, case: Case, x: Tensor, maps: Maps, again: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
        """(n, q) from each changed version and its map, in order, keeping running values only."""


@dataclass(frozen=True)
class Explained:
    """What is explained, before any change.

    Attributes:
        model: the model; a change copies it.
        target: (n, k) indices into the output; None where nothing chooses among outputs.
        outputs: the shape of one sample's output.
    """

    model: nn.Module
    target: Tensor | None
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Change:
    """What is explained instead; None: as before."""

    model: nn.Module | None = None
    target: Tensor | None = None


class Changed(Evidence, ABC):
    """The same samples, explained by the same algorithm in another model or of another output: once per algorithm."""

    explains: ClassVar[bool] = True

    @abstractmethod
    def changes(self, case: Case, explained: Explained) -> Iterator[Change]:
        """The changes, one after the other; one changed model at a time need exist."""

    @abstractmethod
    def reduce(self, case: Case, maps: Maps, others: Iterator[Tensor]) -> Tensor:
        """(n, q) from the maps under each change, (n, d), in order."""
