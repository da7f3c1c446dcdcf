"""Infidelity: does the map predict how a perturbation changes the output?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.plan import Answer, Plan, Want
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.evidence import Shared
from xbench.metrics.maps import Maps
from xbench.metrics.perturbations import (
    FeatureRemoval,
    GaussianNoise,
    Perturbation,
    SquareRemoval,
    TimeRemoval,
    by_name,
    default_for,
)

_NAMES = {"gaussian": GaussianNoise, "squares": SquareRemoval, "features": FeatureRemoval, "time": TimeRemoval}


@dataclass(frozen=True)
class OutputChanges(Shared):
    """f(x) - f(x - I) for random perturbations I, (n, n_perturb_samples); `perturbation` None: see `Infidelity`."""

    n_perturb_samples: int
    perturbation: Perturbation | None

    def chosen(self, case: Case) -> Perturbation:
        """The perturbation used on these samples."""
        return self.perturbation or default_for(case)

    def plan(self, case: Case, x: Tensor) -> Plan:
        unchanged: list[Tensor] = []

        def points() -> Iterator[Tensor]:
            yield x
            for draw in self.chosen(case).draws(case, x, self.n_perturb_samples):
                perturbed = draw.perturbed
                unchanged.append((perturbed == x).all(1))
                yield perturbed

        def changes(answers: Iterator[Answer]) -> Tensor:
            full = next(answers).value.double()
            # Evaluations of one sample in batches of two sizes differ by rounding, which is not a change.
            found = [full - answer.value.double() for answer in answers]
            return torch.stack(found, dim=1).masked_fill(torch.stack(unchanged, dim=1), 0)

        return Plan(points(), self.n_perturb_samples + 1, Want.VALUE, changes)


@dataclass(frozen=True)
class Infidelity(Metric):
    """With s = I.phi (what the map predicts) and d = f(x) - f(x - I) (what happens), over P perturbations:

        infidelity           (1/P) sum (s - d)^2
        infidelity_scaled    min over beta of (1/P) sum (beta s - d)^2 = (D - B^2/A) / P,  beta = B/A
        infidelity_relative  1 - B^2 / (A D)          with A = sum s^2, B = sum s d, D = sum d^2

    The raw number depends on the map's scale and sign; the scaled number (Captum's `normalize`) depends on neither; the
    relative number is the share of the output's changes that no multiple of the map explains, 0 to 1. A global map
    (already multiplied by x - x0) is multiplied by I / (x - x0) instead of I. A zero map has relative infidelity 1. If
    the output never changes, the relative number is undefined (NaN). beta is fitted on the same draws, so the scaled
    and relative numbers are low by about a factor (P - 1)/P.
    Pitfall: the distribution of I decides what is asked: rankings of two distributions need not agree.
    Source: Yeh, Hsieh, Suggala, Inouye, Ravikumar 2019, "On the (In)fidelity and Sensitivity of Explanations"
    (arXiv 1901.09392).

    Args:
        n_perturb_samples: P.
        perturbation: the distribution of I, or its name: gaussian, squares, features, time; None is removed squares
            for images, removed features otherwise.
    """

    n_perturb_samples: int = 10
    perturbation: Perturbation | str | None = None

    def __post_init__(self) -> None:
        if self.n_perturb_samples < 1:
            raise ValueError(f"n_perturb_samples: expected at least 1, got {self.n_perturb_samples}")
        by_name(self.perturbation, _NAMES)

    @property
    def facts(self) -> MetricFacts:
        return MetricFacts(
            "Infidelity",
            "Yeh, Hsieh, Suggala, Inouye, Ravikumar 2019, On the (In)fidelity and Sensitivity of Explanations, "
            "arXiv 1901.09392",
            {
                "infidelity": Column(
                    "lower", label="Infidelity", low=0,
                    meaning="Mean squared difference between the change of the output that the map predicts for a "
                    "perturbation and the change that happens (Yeh et al. 2019). It depends on the scale of the map.",
                ),
                "infidelity_scaled": Column(
                    "lower", label="Infidelity, scaled", short="Infid. scaled", low=0, detail=True,
                    meaning="Infidelity after each map is multiplied by the one factor that serves it best, "
                    "so only its shape counts.",
                ),
                "infidelity_relative": Column(
                    "lower", label="Infidelity, relative", short="Infid. relative", low=0, high=1, lead=True,
                    meaning="The share of the output's changes that no multiple of the map explains: 0 is perfect, "
                    "1 is no better than a map of zeros. It does not depend on the scale of map or output.",
                ),
            },
            family="faithfulness",
        )  # fmt: skip

    def describe(self, case: Case) -> str:
        return self.evidence[0].chosen(case).describe(case)

    @property
    def evidence(self) -> tuple[OutputChanges]:
        return (OutputChanges(self.n_perturb_samples, by_name(self.perturbation, _NAMES)),)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        (changes,) = found
        density, chosen = maps.density.double(), self.evidence[0].chosen(case)
        total = density.new_zeros(3, len(x))
        for draw, d in zip(chosen.draws(case, x, changes.shape[1]), changes.double().unbind(1), strict=True):
            s = ((draw.shift if maps.local else draw.share).double() * density).sum(1)
            total += torch.stack([s * s, s * d, d * d])
        a, b, c = total
        explained = torch.where(a != 0, b * b / torch.where(a != 0, a, 1), 0)  # a map with NaN stays NaN
        p = self.n_perturb_samples
        return {
            "infidelity": (a - 2 * b + c).clamp(min=0) / p,
            "infidelity_scaled": (c - explained).clamp(min=0) / p,
            "infidelity_relative": torch.where(c > 0, (1 - explained / c).clamp(0, 1), torch.nan),
        }
