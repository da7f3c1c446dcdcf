"""Maps values at the positions of a layer to the samples: a coarse grid to an image, tokens to embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, prod
from typing import Literal, get_args

import torch
from torch import Size, Tensor
from torch.nn.functional import interpolate

from xbench.core.case import Case
from xbench.core.needs import NotApplicable

Mode = Literal["linear", "nearest"]
_TORCH = {1: "linear", 2: "bilinear", 3: "trilinear"}
_EXTRA = 2  # maximum number of tokens before the image patches: a class token, a distillation token


def check_mode(mode: str) -> None:
    """Raise ValueError unless `mode` is valid."""
    if mode not in get_args(Mode):
        raise ValueError(f"interpolate_mode: expected one of {', '.join(get_args(Mode))}, got {mode!r}")


def onto_samples(case: Case, values: Tensor, mode: Mode = "linear") -> Tensor:
    """Enlarge values (n, *positions) to the positions of the samples and repeat them for all channels, (n, d)."""
    parts = []
    for shape in case.layout.shapes:
        dims, grid, skipped = _match(shape, values.shape[1:], case.channels_last)
        part = values[:, skipped:].reshape(len(values), *grid)
        size = [shape[dim] for dim in dims]
        if list(grid) != size:
            how = "nearest" if mode == "nearest" else _TORCH[len(size)]
            part = interpolate(part[:, None], size, mode=how, align_corners=None if how == "nearest" else False)[:, 0]
        for dim in sorted(set(range(len(shape))) - set(dims)):
            part = part.unsqueeze(1 + dim)
        parts.append(part.expand(len(values), *shape).flatten(1))
    return torch.cat(parts, dim=1)


def channels(case: Case, positions: Sequence[int], like: Tensor) -> Tensor:
    """For every element the number of elements that share its position, (d,)."""
    counts = [
        like.new_full((shape.numel(),), shape.numel() / prod(shape[d] for d in _match(shape, positions, last)[0]))
        for shape in case.layout.shapes
        for last in [case.channels_last]
    ]
    return torch.cat(counts)


def distortion(case: Case, positions: Sequence[int]) -> float:
    """The difference between the proportions of a grid (h, w) and of the samples' images; 0 without images."""
    images = [shape[1:] for shape in case.layout.shapes if len(shape) == 3]
    return min((abs(log(positions[0] * w / (positions[1] * h))) for h, w in images), default=0.0)


def require_positions(case: Case, positions: Sequence[int], where: str) -> None:
    """Raise NotApplicable if the values cannot be mapped to some tensor of the samples."""
    for shape in case.layout.shapes:
        try:
            _match(shape, positions, case.channels_last)
        except ValueError:
            raise NotApplicable(
                f"needs samples with the positions of {where}: {tuple(positions)} cannot be put onto {tuple(shape)}"
            ) from None


def _match(shape: Size, positions: Sequence[int], channels_last: bool) -> tuple[list[int], tuple[int, ...], int]:
    """The position dimensions of a sample, the matching grid of values, and the number of values before it.

    A sample has as many dimensions as there are positions, or one more for channels: the first, or the last for hidden
    states. A sequence also matches an image (C, H, W) if it is a grid of patches in the image's proportions.
    """
    rank = len(positions)
    if not 0 < rank <= 3:
        raise ValueError("positions have one to three dimensions")
    if len(shape) == rank:
        return list(range(rank)), tuple(positions), 0
    if len(shape) == rank + 1:
        first, last = list(range(1, rank + 1)), list(range(rank))
        fits = [dims for dims in (first, last) if [shape[d] for d in dims] == list(positions)]
        return fits[0] if len(fits) == 1 else last if channels_last else first, tuple(positions), 0
    if rank == 1 and len(shape) == 3:
        for extra in range(_EXTRA + 1):
            height = round(((positions[0] - extra) * shape[1] / shape[2]) ** 0.5)
            width = (positions[0] - extra) // max(height, 1)
            if height * width == positions[0] - extra > 0 and height * shape[2] == width * shape[1]:
                return [1, 2], (height, width), extra
    raise ValueError("the positions do not fit")
