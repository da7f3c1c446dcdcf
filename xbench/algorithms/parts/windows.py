"""Sliding windows over tensors: their sizes, positions and elements."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from math import ceil

import torch
from torch import Size, Tensor

Window = tuple[int, ...]
Windows = tuple[int, ...] | tuple[tuple[int, ...], ...] | None
Strides = int | tuple[int, ...] | tuple[int | tuple[int, ...], ...] | None


def fit_windows(
    sliding_window_shapes: Windows, strides: Strides, shapes: Sequence[Size]
) -> list[tuple[Window, Window]]:
    """Window and stride of every input tensor, in all of its dimensions; see `Occlusion`."""
    if sliding_window_shapes is None:
        chosen = [_default(shape) for shape in shapes]
        return [_fit(w, s if strides is None else strides, shape)
                for (w, s), shape in zip(chosen, shapes, strict=True)]  # fmt: skip
    nested = all(isinstance(s, (tuple, list)) for s in sliding_window_shapes)
    given = sliding_window_shapes if nested else (sliding_window_shapes,)
    steps = strides if nested and isinstance(strides, (tuple, list)) else [strides] * len(given)
    if len(given) != len(shapes) or len(steps) != len(shapes):
        raise ValueError(
            f"sliding_window_shapes: expected one window for each of {len(shapes)} input tensors, got {given} "
            f"with strides {strides}"
        )
    return [_fit(w, s, shape) for w, s, shape in zip(given, steps, shapes, strict=True)]


def flat_sizes(value: object) -> Iterator[int]:
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from flat_sizes(part)
    elif isinstance(value, int):
        yield value
    elif value is not None:
        raise TypeError(f"sliding_window_shapes and strides: expected integers, got {value!r}")


def _default(shape: Size) -> tuple[Window, Window]:
    if len(shape) != 3:
        return (1,) * min(len(shape), 1), (1,) * min(len(shape), 1)
    channels, height, width = shape
    sides = max(1, height // 4), max(1, width // 4)
    return (channels, *sides), (channels, *(max(1, side // 2) for side in sides))


def _fit(window: object, stride: object, shape: Size) -> tuple[Window, Window]:
    """Window and stride in every dimension of one tensor."""
    sizes = tuple(flat_sizes(window))
    if len(sizes) > len(shape):
        raise ValueError(f"sliding_window_shapes: {sizes} has more dimensions than the samples {tuple(shape)}")
    sizes = sizes + tuple(shape[len(sizes) :])
    steps = tuple(flat_sizes(stride)) if stride is not None else (1,)
    if isinstance(stride, int) or stride is None:
        steps = steps * len(sizes)
    if len(steps) > len(shape):
        raise ValueError(f"strides: {steps} has more dimensions than the samples {tuple(shape)}")
    steps = steps + sizes[len(steps) :]
    # A full-size dimension has one position only, so its stride does not matter.
    steps = tuple(min(step, size) if size == full else step
                  for step, size, full in zip(steps, sizes, shape, strict=True))  # fmt: skip
    if any(size > full for size, full in zip(sizes, shape, strict=True)):
        raise ValueError(f"sliding_window_shapes: window {sizes} is larger than the samples {tuple(shape)}")
    if any(step > size for step, size in zip(steps, sizes, strict=True)):
        raise ValueError(f"strides: {steps} is larger than the window {sizes}, elements would be skipped")
    return sizes, steps


def starts(shape: Size, sizes: Window, steps: Window) -> list[range]:
    """First index of every window position, dimension by dimension; the last window may overhang."""
    return [
        range(0, ceil((full - size) / step) * step + 1, step)
        for full, size, step in zip(shape, sizes, steps, strict=True)
    ]


def regions(shapes: Sequence[Size], windows: Sequence[tuple[Window, Window]]) -> Iterator[Tensor]:
    """Flat element indices of every window position, tensor by tensor, in row-major order."""
    offset = 0
    for shape, (sizes, steps) in zip(shapes, windows, strict=True):
        elements = torch.arange(offset, offset + shape.numel()).reshape(shape)
        for corner in itertools.product(*starts(shape, sizes, steps)):
            window = tuple(slice(c, c + s) for c, s in zip(corner, sizes, strict=True))
            yield elements[window].flatten()
        offset += shape.numel()
