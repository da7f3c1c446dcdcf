"""Slightly changed samples, explained again: the evidence and settings shared by all sensitivity metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Metric
from xbench.metrics.evidence import Again
from xbench.metrics.maps import Maps
from xbench.metrics.perturbations import (
    FeatureRemoval,
    GaussianNoise,
    Perturbation,
    Removal,
    TimeRemoval,
    by_name,
    require_continuous,
)


@dataclass(frozen=True)
class Reexplained(Again):
    """||phi(x + e) - phi(x)|| for every draw of e, and, for a stochastic method, at e = 0 with new draws.

    Gives (n, 2 * n_perturb_samples): first the changed samples, then e = 0. The second half is 0 for deterministic
    methods and NaN if it is unknown whether a method is stochastic. Elements outside any feature (padding) are neither
    changed nor counted. The settings are those of `SensitivityMax`; `perturbation` None: uniform noise.
    """

    perturb_radius: float
    n_perturb_samples: int
    order: float
    relative: bool
    perturbation: Perturbation | None
    floor: bool

    def moved(self, case: Case, x: Tensor) -> Iterator[Tensor]:
        """The changed samples, (n, d), draw by draw."""
        if self.perturbation is not None:
            yield from (self.perturbation.draw(case, x, draw).perturbed for draw in range(self.n_perturb_samples))
            return
        require_continuous(case, "a small perturbation")
        radius = self.perturb_radius * (_reach(case, x) if self.relative else 1) * (case.features >= 0)
        for draw in range(self.n_perturb_samples):
            yield x + radius * (2 * case.draws.uniform("sensitivity", draw, x) - 1)

    def unmoved(self, case: Case, x: Tensor) -> Tensor:
        """The mask of samples that no draw changes, (n,) bool; their sensitivity is undefined."""
        if isinstance(self.perturbation, Removal):
            return torch.stack([(version == x).all(1) for version in self.moved(case, x)]).all(0)
        if self.relative and self.perturb_radius > 0:
            return (_reach(case, x) * (case.features >= 0) == 0).all(1)
        return torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def versions(self, case: Case, x: Tensor, maps: Maps) -> tuple[int, Iterator[tuple[Case, Tensor]]]:
        floor = bool(maps.stochastic and self.floor)

        def each() -> Iterator[tuple[Case, Tensor]]:
            for draw, version in enumerate(self.moved(case, x)):
                yield case.redrawn(f"again{draw}"), version
            if floor:
                for draw in range(self.n_perturb_samples):
                    yield case.redrawn(f"again{draw}"), x

        return self.n_perturb_samples * (2 if floor else 1), each()

    def reduce(self, case: Case, x: Tensor, maps: Maps, again: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
        base = counted(case, maps.values)
        change = base.new_zeros(len(base), 2 * self.n_perturb_samples)
        if maps.stochastic is None:
            change[:, self.n_perturb_samples :] = torch.nan
        for index, (_, other) in enumerate(again):
            change[:, index] = torch.linalg.vector_norm(counted(case, other) - base, ord=self.order, dim=1)
        return change


@dataclass(frozen=True)
class SensitivityMetric(Metric):
    """Base of the metrics of how much a map changes with its sample.

    Args:
        perturb_radius: radius of the ball.
        n_perturb_samples: number of draws.
        norm_ord: order of the norm over all elements of a map: a number >= 1 or "inf"; "fro" is 2.
        relative: whether the radius is a share of each sample's range max - min, or of its magnitude if all its values
            are equal, as for a graph's edges; False: absolute, as in Captum.
        perturbation: None: uniform noise in the L-infinity ball; gaussian: normal noise of standard deviation
            `perturb_radius`; features: that share of the features at their baseline, at least one; time: that share of
            the time in one stretch; or a perturbation of `xbench.metrics`.
        floor: whether to measure the floor too, which doubles the explanations of stochastic methods.
    """

    perturb_radius: float = 0.02
    n_perturb_samples: int = 10
    norm_ord: float | str = "fro"
    relative: bool = True
    perturbation: Perturbation | str | None = None
    floor: bool = True

    def __post_init__(self) -> None:
        if not self.perturb_radius >= 0:
            raise ValueError(f"perturb_radius: expected a number >= 0, got {self.perturb_radius}")
        if self.n_perturb_samples < 1:
            raise ValueError(f"n_perturb_samples: expected at least 1, got {self.n_perturb_samples}")
        if not self.order >= 1:
            raise ValueError(f"norm_ord: expected a number >= 1, 'inf' or 'fro', got {self.norm_ord!r}")
        by_name(self.perturbation, self._names)

    @property
    def _names(self) -> Mapping[str, Callable[[], Perturbation]]:
        radius = self.perturb_radius
        return {
            "gaussian": lambda: GaussianNoise(radius, self.relative),
            "features": lambda: FeatureRemoval(radius),
            "time": lambda: TimeRemoval(radius),
        }

    @property
    def order(self) -> float:
        """The norm's order as a number."""
        if self.norm_ord == "fro":
            return 2.0
        try:
            return float(self.norm_ord)
        except ValueError:
            raise ValueError(f"norm_ord: expected a number >= 1, 'inf' or 'fro', got {self.norm_ord!r}") from None

    @property
    def evidence(self) -> tuple[Reexplained]:
        chosen = by_name(self.perturbation, self._names)
        settings = self.perturb_radius, self.n_perturb_samples, self.order, self.relative, chosen, self.floor
        return (Reexplained(*settings),)

    def describe(self, case: Case) -> str:
        (again,) = self.evidence
        if again.perturbation is not None:
            return again.perturbation.describe(case)
        return f"uniform noise, radius {self.perturb_radius:g}{' of the range' if self.relative else ''}"

    def relative_changes(self, case: Case, x: Tensor, maps: Maps, changes: Tensor) -> tuple[Tensor, Tensor]:
        """The changes over the map's norm, (n, n_perturb_samples): for changed samples, and for new draws at e = 0.

        NaN if the map's norm is zero, or if no draw changes the sample.
        """
        norm = torch.linalg.vector_norm(counted(case, maps.values), ord=self.order, dim=1)[:, None]
        moved, still = torch.where(norm > 0, changes / norm, torch.nan).split(self.n_perturb_samples, dim=1)
        return moved.masked_fill(self.evidence[0].unmoved(case, x)[:, None], torch.nan), still


def _reach(case: Case, x: Tensor) -> Tensor:
    """The reference of a relative radius per element, (n, d)."""
    ranges = case.ranges(x)
    return torch.where(ranges > 0, ranges, x.abs())


def counted(case: Case, maps: Tensor) -> Tensor:
    """Maps in double precision, 0 outside any feature; maps read at another layer are not masked."""
    maps = maps.double()
    return maps if case.read_apart else maps.masked_fill(case.features < 0, 0)
