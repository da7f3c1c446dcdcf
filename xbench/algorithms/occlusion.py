"""Occlusion: a window of baseline slides over the sample."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, prod

import torch
from torch import Size, Tensor

from xbench.algorithms.base import Algorithm, Facts
from xbench.algorithms.parts.masking import value_dtype
from xbench.case import Case
from xbench.plan import Answer, Plan, Want

Window = tuple[int, ...]


@dataclass(frozen=True)
class Occlusion(Algorithm):
    """phi_i = mean over the windows that cover i of f(x) - f(x with the window replaced by the baseline).

    Source: Zeiler, Fergus 2014, "Visualizing and Understanding Convolutional Networks" (arXiv 1311.2901).
    The last window along a dimension is cut at the border when stride and size do not fill it evenly.
    Rows per sample: 1 + the number of windows (all input tensors together).

    Args:
        sliding_window_shapes: window size in every dimension behind the batch; a tuple of them for several inputs.
            A window with fewer dimensions than the sample is completed with the sample's full size at the end,
            so that `[1]` slides over the tokens of an embedding (tokens, dimensions). None chooses: a quarter of
            the height and width of an image (C, H, W) with all channels, one step along the first dimension of
            anything else.
        strides: steps of the window, like `sliding_window_shapes`, or one int for all dimensions; None is 1, or
            half the window where the window was chosen too.
    """

    sliding_window_shapes: tuple[int, ...] | tuple[tuple[int, ...], ...] | None = None
    strides: int | tuple[int, ...] | tuple[int | tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        sizes = [*_flat(self.sliding_window_shapes), *_flat(self.strides)]
        if self.sliding_window_shapes == () or min(sizes, default=1) < 1:
            raise ValueError(
                f"sliding_window_shapes and strides: expected positive sizes, got {self.sliding_window_shapes} "
                f"and {self.strides}"
            )

    @property
    def facts(self) -> Facts:
        return Facts(
            "Occlusion",
            "Zeiler, Fergus 2014, Visualizing and Understanding Convolutional Networks, arXiv 1311.2901",
        )

    def check(self, case: Case) -> None:
        self._windows(case)

    def density(self, case: Case, maps: Tensor) -> Tensor:
        # Over the mean size of the windows that cover the element; those at the border may be cut.
        sizes, cover = torch.zeros(2, maps.shape[1], dtype=maps.dtype)
        for region in _regions(case.layout.shapes, self._windows(case)):
            sizes[region] += len(region)
            cover[region] += 1
        return maps * (cover / sizes).to(maps.device)

    def plan(self, case: Case, x: Tensor) -> Plan:
        x0 = case.baseline(x)
        shapes, windows = case.layout.shapes, self._windows(case)
        n_windows = sum(prod(map(len, _starts(s, *w))) for s, w in zip(shapes, windows, strict=True))

        def points() -> Iterator[Tensor]:
            yield x
            for region in _regions(shapes, windows):
                occluded = x.clone()
                occluded[:, region] = x0[:, region]
                yield occluded

        def average(answers: Iterator[Answer]) -> Tensor:
            full = next(answers).value
            total = torch.zeros(x.shape, dtype=value_dtype(x), device=x.device)
            cover = torch.zeros(x.shape[1], dtype=total.dtype, device=x.device)
            for region, answer in zip(_regions(shapes, windows), answers, strict=True):
                total[:, region] += (full - answer.value).to(total.dtype).unsqueeze(1)
                cover[region] += 1
            return total / cover

        return Plan(points(), n_windows + 1, Want.VALUE, average)

    def _windows(self, case: Case) -> list[tuple[Window, Window]]:
        shapes = case.layout.shapes
        if self.sliding_window_shapes is None:
            chosen = [_default(shape) for shape in shapes]
            return [_fit(w, s if self.strides is None else self.strides, shape)
                    for (w, s), shape in zip(chosen, shapes, strict=True)]  # fmt: skip
        nested = all(isinstance(s, (tuple, list)) for s in self.sliding_window_shapes)
        given = self.sliding_window_shapes if nested else (self.sliding_window_shapes,)
        strides = self.strides if nested and isinstance(self.strides, (tuple, list)) else [self.strides] * len(given)
        if len(given) != len(shapes) or len(strides) != len(shapes):
            raise ValueError(
                f"sliding_window_shapes: expected one window for each of {len(shapes)} input tensors, got {given} "
                f"with strides {self.strides}"
            )
        return [_fit(w, s, shape) for w, s, shape in zip(given, strides, shapes, strict=True)]


def _flat(value: object) -> Iterator[int]:
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from _flat(part)
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
    sizes = tuple(_flat(window))
    if len(sizes) > len(shape):
        raise ValueError(f"sliding_window_shapes: {sizes} has more dimensions than the samples {tuple(shape)}")
    sizes = sizes + tuple(shape[len(sizes) :])
    steps = tuple(_flat(stride)) if stride is not None else (1,)
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


def _starts(shape: Size, sizes: Window, steps: Window) -> list[range]:
    """First index of every window position, dimension by dimension; the last window may overhang."""
    return [
        range(0, ceil((full - size) / step) * step + 1, step)
        for full, size, step in zip(shape, sizes, steps, strict=True)
    ]


def _regions(shapes: Sequence[Size], windows: Sequence[tuple[Window, Window]]) -> Iterator[Tensor]:
    """Flat element indices of every window position, tensor by tensor, in row-major order."""
    offset = 0
    for shape, (sizes, steps) in zip(shapes, windows, strict=True):
        elements = torch.arange(offset, offset + shape.numel()).reshape(shape)
        for corner in itertools.product(*_starts(shape, sizes, steps)):
            window = tuple(slice(c, c + s) for c, s in zip(corner, sizes, strict=True))
            yield elements[window].flatten()
        offset += shape.numel()
