"""Converts between the tensors at a site (inputs of any shape and number, or a layer's output) and a matrix (n, d).

Algorithms are formulas on vectors. Because flattening happens here only, each algorithm serves images, embeddings,
layers and several input tensors at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Size, Tensor

_HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Layout:
    """Shapes (without the batch dimension) and types of the tensors, in order."""

    shapes: tuple[Size, ...]
    dtypes: tuple[torch.dtype, ...]

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Layout:
        return cls(tuple(t.shape[1:] for t in tensors), tuple(t.dtype for t in tensors))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Elements per sample of each tensor."""
        return tuple(shape.numel() for shape in self.shapes)

    @property
    def width(self) -> int:
        """Elements per sample of all tensors: d."""
        return sum(self.sizes)

    @property
    def differentiable(self) -> bool:
        return all(dtype.is_floating_point for dtype in self.dtypes)

    def flatten(self, tensors: Sequence[Tensor]) -> Tensor:
        """(n, *shape) each -> (n, d); a view when there is one tensor; half precision becomes float32."""
        if len(tensors) == 1:
            return widened(tensors[0].flatten(1) if tensors[0].dim() > 1 else tensors[0].unsqueeze(1))
        dtype = self.dtypes[0]
        for other in self.dtypes[1:]:
            dtype = torch.promote_types(dtype, other)
        if not self.differentiable and dtype.is_floating_point:
            dtype = torch.float64  # token ids together with pixels: exact up to 2**53
        return widened(torch.cat([t.unsqueeze(1).flatten(1).to(dtype) for t in tensors], dim=1))  # (n,) is (n, 1)

    def unflatten(self, flat: Tensor, *, cast: bool = True) -> tuple[Tensor, ...]:
        """(n, d) -> (n, *shape) each; `cast` restores the tensors' own types."""
        parts = flat.split(self.sizes, dim=1)
        shaped = (part.reshape(len(flat), *shape) for part, shape in zip(parts, self.shapes, strict=True))
        if not cast:
            return tuple(shaped)
        return tuple(part.to(dtype) for part, dtype in zip(shaped, self.dtypes, strict=True))

    def maps(self, flat: Tensor) -> tuple[Tensor, ...]:
        """A map (n, d) -> (n, *shape) each, in the tensors' own types; maps of integer tensors have a floating type."""
        real = [dtype for dtype in self.dtypes if dtype.is_floating_point] or [flat.dtype]
        types = [dtype if dtype.is_floating_point else real[0] for dtype in self.dtypes]
        return tuple(part.to(dtype) for part, dtype in zip(self.unflatten(flat, cast=False), types, strict=True))

    def spread(self, values: float | Sequence[float], like: Tensor) -> Tensor:
        """Expand one number, or one per tensor, to a vector (d,) over the elements."""
        if isinstance(values, (int, float)):
            values = [float(values)] * len(self.sizes)
        if len(values) != len(self.sizes):
            raise ValueError(f"expected one value per input tensor ({len(self.sizes)}), got {len(values)}: {values}")
        return torch.cat([like.new_full((size,), float(v)) for size, v in zip(self.sizes, values, strict=True)])


def widened(values: Tensor) -> Tensor:
    """Half precision as float32: a half-precision running sum stops growing once its last digit exceeds a summand."""
    return values.float() if values.dtype in _HALF else values
