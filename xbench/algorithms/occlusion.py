"""Occlusion: slides a window of baseline values over the sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts
from xbench.algorithms.parts.windows import Strides, Window, Windows, fit_windows, flat_sizes, regions, starts
from xbench.core.case import Case
from xbench.core.masking import value_dtype
from xbench.core.plan import Answer, Plan, Want


@dataclass(frozen=True)
class Occlusion(Algorithm):
    """phi_i = mean over the windows that cover i of f(x) - f(x with the window replaced by the baseline).

    Source: Zeiler, Fergus 2014, "Visualizing and Understanding Convolutional Networks" (arXiv 1311.2901).
    The last window along a dimension is cut at the border if stride and size do not divide it evenly.
    Rows per sample: 1 + the number of windows (all input tensors together).

    Args:
        sliding_window_shapes: window size in every dimension after the batch; a tuple of sizes for several inputs.
            A window with fewer dimensions than the sample is completed with the sample's full size at the end,
            so that `[1]` slides over the tokens of an embedding (tokens, dimensions). None chooses: a quarter of
            the height and width of an image (C, H, W) with all channels, one step along the first dimension of
            anything else.
        strides: steps of the window, like `sliding_window_shapes`, or one int for all dimensions; None is 1, or half
            the window if `sliding_window_shapes` is None too.
    """

    sliding_window_shapes: Windows = None
    strides: Strides = None

    def __post_init__(self) -> None:
        sizes = [*flat_sizes(self.sliding_window_shapes), *flat_sizes(self.strides)]
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

    def _windows(self, case: Case) -> list[tuple[Window, Window]]:
        return fit_windows(self.sliding_window_shapes, self.strides, case.layout.shapes)

    def density(self, case: Case, maps: Tensor) -> Tensor:
        # Divide by the mean size of the windows that cover the element; windows at the border may be cut.
        sizes, cover = torch.zeros(2, maps.shape[1], dtype=maps.dtype)
        for region in regions(case.layout.shapes, self._windows(case)):
            sizes[region] += len(region)
            cover[region] += 1
        density: Tensor = maps * (cover / sizes).to(maps.device)
        return density

    def plan(self, case: Case, x: Tensor) -> Plan:
        x0 = case.baseline(x)
        shapes, windows = case.layout.shapes, self._windows(case)
        n_windows = sum(prod(map(len, starts(s, *w))) for s, w in zip(shapes, windows, strict=True))

        def points() -> Iterator[Tensor]:
            yield x
            for region in regions(shapes, windows):
                occluded = x.clone()
                occluded[:, region] = x0[:, region]
                yield occluded

        def average(answers: Iterator[Answer]) -> Tensor:
            full = next(answers).value
            total = torch.zeros(x.shape, dtype=value_dtype(x), device=x.device)
            cover = torch.zeros(x.shape[1], dtype=total.dtype, device=x.device)
            for region, answer in zip(regions(shapes, windows), answers, strict=True):
                total[:, region] += (full - answer.value).to(total.dtype).unsqueeze(1)
                cover[region] += 1
            return total / cover

        return Plan(points(), n_windows + 1, Want.VALUE, average)
