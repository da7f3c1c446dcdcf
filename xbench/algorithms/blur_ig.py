"""Blur Integrated Gradients: the gradient along the path from a blurred image to the sharp one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts, at_least
from xbench.algorithms.integrated_gradients import same_site
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Answer, Plan, Want


@dataclass(frozen=True)
class BlurIG(Algorithm):
    """phi = sum over steps of df/dx (mean of both ends) * (x_j+1 - x_j), x_j blurred less and less, x_n the image.

    The blur solves the heat equation in the last two dimensions with insulated borders: a Gaussian of standard
    deviation `max_sigma` * (1 - j/n_steps)^2 pixels, reflected at the borders, exact at any width. The method has no
    baseline: the map sums to f(x) - f(blurred x), up to the error of the sum. (The authors' code takes equal steps of
    the standard deviation, whose last step sharpens nearly everything in a large image; the gradient at the start of a
    step; and the path's slope by a finite difference.) Rows per sample: n_steps + 1 forwards and backwards.
    Source: Xu, Venugopalan, Sundararajan 2020, "Attribution in Scale and Space" (arXiv 2004.03383).

    Args:
        n_steps: steps from the blurred to the sharp image, equal in the square root of the standard deviation.
        max_sigma: standard deviation of the first blur in pixels; None: the longer side.
    """

    n_steps: int = 50
    max_sigma: float | None = None

    def __post_init__(self) -> None:
        at_least("n_steps", self.n_steps, 1)
        if self.max_sigma is not None and not self.max_sigma > 0:
            raise ValueError(f"max_sigma: expected a positive number of pixels, got {self.max_sigma}")

    @property
    def facts(self) -> Facts:
        return Facts(
            "Blur IG",
            "Xu, Venugopalan, Sundararajan 2020, Attribution in Scale and Space, arXiv 2004.03383",
            needs=(Need.GRADIENT, Need.IMAGES),
        )

    def check(self, case: Case) -> None:
        same_site(case, "BlurIG")

    def plan(self, case: Case, x: Tensor) -> Plan:
        def points() -> Iterator[Tensor]:
            for step in range(self.n_steps + 1):
                yield self._blurred(case, x, (1 - step / self.n_steps) ** 2)

        def integrate(answers: Iterator[Answer]) -> Tensor:
            total, path = torch.zeros_like(x), points()  # recomputing the path is cheaper than storing it
            before, here = next(answers), next(path)
            for after, there in zip(answers, path, strict=True):
                total = total + (before.slope + after.slope) / 2 * (there - here)
                before, here = after, there
            return total

        return Plan(points(), self.n_steps + 1, Want.GRADIENT, integrate)

    def _blurred(self, case: Case, x: Tensor, share: float) -> Tensor:
        images = case.layout.unflatten(x)
        blurred = []
        for image in images:
            sigma = share * (max(image.shape[-2:]) if self.max_sigma is None else self.max_sigma)
            down, across = (_spread(side, sigma, image) for side in image.shape[-2:])
            blurred.append(down @ image @ across.T if sigma else image)
        return case.layout.flatten(blurred)


def _spread(side: int, sigma: float, like: Tensor) -> Tensor:
    """The matrix (side, side) that blurs a line: damps the cosine of frequency w by exp(-(sigma w)^2 / 2)."""
    waves = torch.arange(side, dtype=torch.float64)
    cosines = torch.cos(pi / side * waves[:, None] * (waves + 0.5)) * (2 / side) ** 0.5
    cosines[0] /= 2**0.5
    fading = torch.exp(-0.5 * (sigma * pi / side * waves).square())
    blur: Tensor = (cosines.T @ (fading[:, None] * cosines)).to(like)
    return blur
