"""Slightly changed samples, explained again: the evidence and settings shared by all metrics of robustness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Metric
from xbench.metrics.evidence import Again
from xbench.metrics.maps import Maps, relevance
from xbench.metrics.perturbations import FeatureRemoval, GaussianNoise, Perturbation, TimeRemoval, by_name
from xbench.metrics.robustness.nearby import Nearby


class MapChanges(NamedTuple):
    """The changes of a sample and of its map by every draw, (n, n_perturb_samples) each.

    Attributes:
        maps: ||phi(x') - phi(x)||.
        maps_by_elements: the same, each element divided by phi(x)'s.
        inputs, inputs_by_elements: the same of x.
        agreement: how many of the most relevant features, from the first on, stay in their places with their signs.
    """

    maps: Tensor
    maps_by_elements: Tensor
    inputs: Tensor
    inputs_by_elements: Tensor
    agreement: Tensor


@dataclass(frozen=True)
class Reexplained(Nearby, Again):
    """`MapChanges`, (n, 5 * n_perturb_samples): one set of explanations for all metrics of robustness.

    Elements outside any feature (padding) are neither changed nor counted.
    """

    def versions(self, case: Case, x: Tensor, maps: Maps) -> tuple[int, Iterator[tuple[Case, Tensor]]]:
        moved = enumerate(self.moved(case, x))
        return self.n_perturb_samples, ((case.redrawn(f"again{draw}"), version) for draw, version in moved)

    def reduce(self, case: Case, x: Tensor, maps: Maps, again: Iterator[tuple[Tensor, Maps]]) -> Tensor:
        base, start, first = counted(case, maps.values), own_input(case, x), _Order.of(case, maps)
        found = []
        for version, other in again:
            change = counted(case, other.values) - base
            move = own_input(case, version) - start
            agreement = first.agreement(_Order.of(case, other))
            agreement = agreement.masked_fill((change.isnan() | base.isnan()).any(1), torch.nan)
            sizes = [self.norm(change), self.by_elements(change, base), self.norm(move), self.by_elements(move, start)]
            found.append(torch.stack([*sizes, agreement], dim=1))
        return torch.stack(found, dim=2).flatten(1)

    def changes(self, found: Tensor) -> MapChanges:
        """Split the result of the evidence by name."""
        return MapChanges(*found.double().unflatten(1, (len(MapChanges._fields), -1)).unbind(1))


@dataclass(frozen=True)
class Redrawn(Again):
    """||phi(x) - phi(x)|| of a stochastic method that draws anew, as it does for `Reexplained`, (n, n_perturb_samples).

    0 for deterministic methods, without an evaluation; NaN where it is not known whether a method draws.
    """

    n_perturb_samples: int
    order: float

    def versions(self, case: Case, x: Tensor, maps: Maps) -> tuple[int, Iterator[tuple[Case, Tensor]]]:
        count = self.n_perturb_samples if maps.stochastic else 0
        return count, ((case.redrawn(f"again{draw}"), x) for draw in range(count))

    def reduce(self, case: Case, x: Tensor, maps: Maps, again: Iterator[tuple[Tensor, Maps]]) -> Tensor:
        base = counted(case, maps.values)
        known = torch.nan if maps.stochastic is None else 0.0
        change = base.new_full((len(base), self.n_perturb_samples), known)
        for index, (_, other) in enumerate(again):
            change[:, index] = torch.linalg.vector_norm(counted(case, other.values) - base, ord=self.order, dim=1)
        return change


@dataclass(frozen=True)
class NearbyMetric(Metric):
    """Base of the metrics of how far a map moves with its sample: equal settings share all explanations.

    Args:
        perturb_radius: radius of the ball.
        n_perturb_samples: number of draws.
        norm_ord: order of the norm over all elements of a map: a number >= 1 or "inf"; "fro" is 2.
        relative: whether the radius is a share of each sample's range max - min, or of its magnitude if all its values
            are equal, as for a graph's edges; False: absolute, as in Captum.
        perturbation: None: uniform noise in the L-infinity ball; gaussian: normal noise of standard deviation
            `perturb_radius`; features: that share of the features at their baseline, at least one; time: that share of
            the time in one stretch; or a perturbation of `xbench.metrics`.
    """

    perturb_radius: float = 0.02
    n_perturb_samples: int = 10
    norm_ord: float | str = "fro"
    relative: bool = True
    perturbation: Perturbation | str | None = None

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
    def settings(self) -> tuple[float, int, float, bool, Perturbation | None]:
        """The settings of `Nearby`."""
        chosen = by_name(self.perturbation, self._names)
        return self.perturb_radius, self.n_perturb_samples, self.order, self.relative, chosen

    @property
    def reexplained(self) -> Reexplained:
        """The evidence that all of these metrics share."""
        return Reexplained(*self.settings)

    def describe(self, case: Case) -> str:
        if self.reexplained.perturbation is not None:
            return self.reexplained.perturbation.describe(case)
        return f"uniform noise, radius {self.perturb_radius:g}{' of the range' if self.relative else ''}"

    def relative_to_map(self, case: Case, maps: Maps, changes: Tensor) -> Tensor:
        """Changes (n, draws) over the map's norm; NaN where it has none."""
        norm = self.reexplained.norm(counted(case, maps.values))[:, None]
        return torch.where(norm > 0, changes / norm, torch.nan)


def counted(case: Case, maps: Tensor) -> Tensor:
    """Maps in double precision, 0 outside any feature; maps read at another layer are not masked."""
    maps = maps.double()
    return maps if case.read_apart else maps.masked_fill(case.features < 0, 0)


def own_input(case: Case, x: Tensor) -> Tensor:
    """Samples in double precision, 0 outside any feature."""
    return x.double().masked_fill(case.features < 0, 0)


class _Order(NamedTuple):
    """The features of a map, or its elements where it is read apart, from the most relevant on, and their signs."""

    places: Tensor
    signs: Tensor

    @classmethod
    def of(cls, case: Case, maps: Maps) -> _Order:
        phi = maps.values.double() if case.read_apart else relevance(case, maps)[0]
        places = phi.abs().argsort(dim=1, descending=True, stable=True)
        return cls(places, phi.gather(1, places).sign())

    def agreement(self, other: _Order) -> Tensor:
        same = (self.places == other.places) & (self.signs == other.signs)
        return same.double().cumprod(1).sum(1)
