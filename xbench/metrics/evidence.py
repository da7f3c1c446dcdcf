"""Evidence: evaluations that a metric needs besides the map, as components with their own identity.

Equal evidence of the same samples is evaluated once for all metrics that name it, and kept in the store. There are
four kinds: evidence independent of the map (`Shared`), evidence that depends on the map's order (`Ranked`),
explanations of changed samples (`Again`), and explanations of another model or another output (`Changed`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from xbench.core.case import Case
from xbench.core.plan import Plans
from xbench.metrics.maps import Maps


class Evidence:
    """Base of all evidence: frozen dataclasses of settings. `version` is raised when the numbers change."""

    version: ClassVar[int] = 1
    explains: ClassVar[bool] = False  # whether the algorithm explains samples again


class Shared(Evidence, ABC):
    """Evaluations that do not depend on a map: computed once for all algorithms."""

    @abstractmethod
    def plan(self, case: Case, x: Tensor) -> Plans:
        """Gives (n, q)."""


class Ranked(Evidence, ABC):
    """Evaluations at points ordered by the map: computed once per algorithm."""

    @abstractmethod
    def plan(self, case: Case, x: Tensor, maps: Maps) -> Plans:
        """Gives (n, q)."""


class Again(Evidence, ABC):
    """Changed samples, explained again by the same algorithm: computed once per algorithm."""

    explains: ClassVar[bool] = True

    @abstractmethod
    def versions(self, case: Case, x: Tensor, maps: Maps) -> tuple[int, Iterator[tuple[Case, Tensor]]]:
        """The number of changed versions, and each version, (n, d), with a case that keys the algorithm's draws.

        With 0 versions nothing is explained.
        """

    @abstractmethod
    def reduce(self, case: Case, x: Tensor, maps: Maps, again: Iterator[tuple[Tensor, Maps]]) -> Tensor:
        """Reduce each changed version, (n, d), and its maps, in order, to (n, q), keeping running values only."""


@dataclass(frozen=True)
class Explained:
    """The model and output that are explained before any change.

    Attributes:
        model: the model; a change copies it.
        target: (n, k) indices into the output; None if no target is chosen.
        outputs: shape of one sample's output.
    """

    model: nn.Module
    target: Tensor | None
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Smoothing:
    """Maps are means over noisy copies of the sample.

    Attributes:
        nt_samples: how many copies.
        stdevs: standard deviation of the Gaussian noise, a share of each sample's range.
    """

    nt_samples: int
    stdevs: float

    def __post_init__(self) -> None:
        if self.nt_samples < 1:
            raise ValueError(f"nt_samples: expected at least 1, got {self.nt_samples}")
        if not self.stdevs > 0:
            raise ValueError(f"stdevs: expected a positive number, got {self.stdevs}")


@dataclass(frozen=True)
class Change:
    """A replacement of what is explained, and of how; None: unchanged.

    Attributes:
        model, target: see `Explained`.
        shift: added to every element of the model's inputs.
        smoothing: the algorithm explains noisy copies.
    """

    model: nn.Module | None = None
    target: Tensor | None = None
    shift: float | None = None
    smoothing: Smoothing | None = None


class Changed(Evidence, ABC):
    """The same samples and algorithm with another model or another output: computed once per algorithm."""

    explains: ClassVar[bool] = True

    @abstractmethod
    def changes(self, case: Case, explained: Explained) -> Iterator[Change]:
        """The changes in order; they may be lazy, so that only one changed model exists at a time."""

    @abstractmethod
    def reduce(self, case: Case, maps: Maps, others: Iterator[Tensor]) -> Tensor:
        """Reduce the maps and the maps under each change, (n, d) each, in order, to (n, q)."""
