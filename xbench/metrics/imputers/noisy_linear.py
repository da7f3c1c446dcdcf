"""Noisy linear imputation: removed pixels from their neighbours, so that the shape of a mask tells little."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from xbench.core.case import Case
from xbench.core.needs import NotApplicable
from xbench.metrics.imputers.base import Fill, Imputer

_STEPS = 2000  # of conjugate gradients; a mask of 224 x 224 pixels takes about 400
_CLOSE = 1e-6  # the residual that is left, as a share of the right-hand side


@dataclass(frozen=True)
class NoisyLinear(Imputer):
    """Each removed pixel is the weighted mean of its neighbours, 1/6 for direct and 1/12 for diagonal ones, plus noise.

    The equations of all removed pixels of a channel are solved together, by conjugate gradients: with the weights of
    the neighbours that exist they are symmetric and positive definite. The channels are solved apart, so any number
    of them and any grouping is right. Where nothing of a channel remains, its baseline stands.
    Source: Rong, Leemann, Borisov, Kasneci, Kasneci 2022, "A Consistent and Efficient Evaluation Strategy for
    Attribution Methods" (arXiv 2202.00449), section 4.

    Args:
        noise: standard deviation of the noise, as a share of the sample's range max - min (the authors' code adds 0.01
            to images in a range of about 1).
    """

    noise: float = 0.01

    def __post_init__(self) -> None:
        if self.noise < 0:
            raise ValueError(f"noise: expected 0 or more, got {self.noise}")

    def describe(self, case: Case) -> str:
        return "imputed linearly from their neighbours, with noise"

    def check(self, case: Case) -> None:
        shapes = case.layout.shapes
        if len(shapes) != 1 or len(shapes[0]) < 2 or case.channels_last or not case.layout.differentiable:
            raise NotApplicable("needs images: imputer=linear takes the neighbours of a pixel")

    def fill(self, case: Case, x: Tensor) -> Fill:
        self.check(case)
        height, width = case.layout.shapes[0][-2:]
        noise = self.noise * case.ranges(x) * case.draws.normal("imputer", 0, x)
        x0 = case.baseline(x)

        def filled(removed: Tensor) -> Tensor:
            shape = (-1, 1, height, width)
            known, missing = x.reshape(shape), removed.reshape(shape)
            solved = _harmonic(known, missing).reshape_as(x)
            empty = missing.flatten(1).all(1).reshape(len(x), -1).repeat_interleave(height * width, dim=1)
            return torch.where(removed, torch.where(empty, x0, solved + noise), x)

        return filled


def _harmonic(known: Tensor, missing: Tensor) -> Tensor:
    """The missing pixels of each image, (m, 1, H, W), as weighted means of their neighbours."""
    kernel = known.new_tensor([[1, 2, 1], [2, 0, 2], [1, 2, 1]], dtype=torch.float64).reshape(1, 1, 3, 3)
    holes = missing.flatten(1)
    images = (holes.any(1) & ~holes.all(1)).nonzero().flatten()
    result = known.clone()
    if not len(images):
        return result
    given, hole = known[images].double(), missing[images]
    degree = F.conv2d(torch.ones_like(given[:1]), kernel, padding=1)

    def neighbours(values: Tensor) -> Tensor:
        return F.conv2d(values, kernel, padding=1) * hole

    right = neighbours(given.masked_fill(hole, 0))
    # Conjugate gradients, all images at once; each stops by itself where its residual is small.
    solution = torch.zeros_like(given)
    residual = right.clone()
    direction = residual / degree * hole
    scaled = direction
    energy = (residual * scaled).sum(dim=(1, 2, 3), keepdim=True)
    enough = _CLOSE**2 * right.square().sum(dim=(1, 2, 3), keepdim=True)
    for _ in range(_STEPS):
        open_ = residual.square().sum(dim=(1, 2, 3), keepdim=True) > enough
        if not bool(open_.any()):
            break
        applied = (degree * direction) * hole - neighbours(direction)
        curvature = (direction * applied).sum(dim=(1, 2, 3), keepdim=True)
        step = torch.where(open_ & (curvature > 0), energy / torch.where(curvature > 0, curvature, 1), 0)
        solution += step * direction
        residual -= step * applied
        scaled = residual / degree * hole
        found = (residual * scaled).sum(dim=(1, 2, 3), keepdim=True)
        direction = scaled + found / torch.where(energy > 0, energy, 1) * direction
        energy = found
    result[images] = torch.where(hole, solution.to(known.dtype), known[images])
    return result
