"""Sensitivity-max: how much a small change of the sample can change its map."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.base import Column, Maps, MetricFacts, ReexplainingMetric
from xbench.metrics.parts.perturbations import (
    FeatureRemoval,
    GaussianNoise,
    Perturbation,
    Removal,
    TimeRemoval,
    by_name,
    require_continuous,
)


@dataclass(frozen=True)
class SensitivityMax(ReexplainingMetric):
    """max over draws of ||phi(x + e) - phi(x)|| / ||phi(x)||, e uniform in the L-infinity ball.

    A map of zero norm has no relative change: NaN, counted as undefined (Captum divides by 1, which lets it win).
    So is a sample that no draw changes, such as zeros under a relative radius. Elements outside any feature (padding)
    are neither changed nor counted.
    A stochastic method draws anew for every explanation, as it would in use; what that alone changes is recorded
    as `sensitivity_max_floor`, the same maximum at radius 0 (0 for deterministic methods, NaN for a callable, of
    which that is not known).
    Source: Yeh, Hsieh, Suggala, Inouye, Ravikumar 2019, "On the (In)fidelity and Sensitivity of Explanations"
    (arXiv 1901.09392); the other perturbations are for data in which a small change is another one than noise: masked
    tokens, masked time, dropped edges. A maximum grows with the number of draws: compare equal settings only.

    Args:
        perturb_radius: radius of the ball.
        n_perturb_samples: draws.
        norm_ord: order of the norm over all elements of a map: a number >= 1 or "inf"; "fro" is 2.
        relative: the radius is a share of each sample's range max - min, or of its magnitude where all its values are
            equal, as those of a graph's edges are; False: absolute, as in Captum.
        perturbation: None: the uniform noise above; gaussian: normal noise of standard deviation `perturb_radius`;
            features: that share of the features at their baseline, at least one; time: that share of the time in one
            stretch; or a perturbation of `xbench.metrics`.
        floor: measure the floor too, which doubles the explanations of stochastic methods; False: no such column.
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
    def facts(self) -> MetricFacts:
        return MetricFacts(
            "Sensitivity-max",
            "Yeh, Hsieh, Suggala, Inouye, Ravikumar 2019, On the (In)fidelity and Sensitivity of Explanations, "
            "arXiv 1901.09392",
            {"sensitivity_max": Column("lower")} | ({"sensitivity_max_floor": Column("none")} if self.floor else {}),
            anywhere=True,
            version=2,
        )

    def describe(self, case: Case) -> str:
        chosen = by_name(self.perturbation, self._names)
        if chosen is not None:
            return chosen.describe(case)
        return f"uniform noise, radius {self.perturb_radius:g}{' of the range' if self.relative else ''}"

    def perturbed(self, case: Case, x: Tensor, maps: Maps) -> tuple[int, Iterator[tuple[Case, Tensor]]]:
        def versions() -> Iterator[tuple[Case, Tensor]]:
            for draw, version in enumerate(self._moved(case, x)):
                yield case.redrawn(f"again{draw}"), version
            if maps.stochastic and self.floor:
                for draw in range(self.n_perturb_samples):
                    yield case.redrawn(f"again{draw}"), x

        return self.n_perturb_samples * (2 if maps.stochastic and self.floor else 1), versions()

    def _moved(self, case: Case, x: Tensor) -> Iterator[Tensor]:
        """The perturbed samples, (n, d), draw by draw."""
        chosen = by_name(self.perturbation, self._names)
        if chosen is not None:
            yield from (chosen.draw(case, x, draw).perturbed for draw in range(self.n_perturb_samples))
            return
        require_continuous(case, "a small perturbation")
        radius = self.perturb_radius * (_reach(case, x) if self.relative else 1) * (case.features >= 0)
        for draw in range(self.n_perturb_samples):
            yield x + radius * (2 * case.draws.uniform("sensitivity", draw, x) - 1)

    def compare(self, case: Case, maps: Maps, again: Iterator[Tensor]) -> Tensor:
        base = _counted(case, maps.values)
        change = base.new_zeros(len(base), 2)  # perturbed, radius 0
        if maps.stochastic is None:
            change[:, 1] = torch.nan
        for index, other in enumerate(again):
            column = index // self.n_perturb_samples
            moved = torch.linalg.vector_norm(_counted(case, other) - base, ord=self.order, dim=1)
            change[:, column] = torch.maximum(change[:, column], moved)
        return change

    def score(self, case: Case, x: Tensor, maps: Maps, evidence: Tensor | None) -> dict[str, Tensor]:
        assert evidence is not None, "sensitivity-max is scored on re-explanations"
        norm = torch.linalg.vector_norm(_counted(case, maps.values), ord=self.order, dim=1)
        relative = torch.where(norm[:, None] > 0, evidence / norm[:, None], torch.nan)
        main = relative[:, 0]
        if isinstance(by_name(self.perturbation, self._names), Removal):
            same = torch.stack([(version == x).all(1) for version in self._moved(case, x)])
            main = main.masked_fill(same.all(0), torch.nan)
        elif self.relative and self.perturb_radius > 0:
            main = main.masked_fill((_reach(case, x) * (case.features >= 0) == 0).all(1), torch.nan)
        return {"sensitivity_max": main} | ({"sensitivity_max_floor": relative[:, 1]} if self.floor else {})


def _reach(case: Case, x: Tensor) -> Tensor:
    """What a relative radius is a share of, per element, (n, d)."""
    ranges = case.ranges(x)
    return torch.where(ranges > 0, ranges, x.abs())


def _counted(case: Case, maps: Tensor) -> Tensor:
    """Maps in double precision, 0 outside any feature; maps read at another layer have no features there."""
    maps = maps.double()
    return maps if case.read_apart else maps.masked_fill(case.features < 0, 0)
