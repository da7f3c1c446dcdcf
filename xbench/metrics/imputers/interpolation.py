"""Interpolation: removed stretches of time from their ends."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import NotApplicable
from xbench.metrics.imputers.base import Fill, Imputer


@dataclass(frozen=True)
class Interpolation(Imputer):
    """A straight line from the last step before a removed stretch to the first one behind it, in each channel.

    At either end of a series the nearest step that is left stands. Where nothing of a channel is left, its baseline
    stands.
    """

    def describe(self, case: Case) -> str:
        return "interpolated in time"

    def check(self, case: Case) -> None:
        shapes = case.layout.shapes
        if len(shapes) != 1 or len(shapes[0]) > 2 or case.channels_last or not case.layout.differentiable:
            raise NotApplicable("needs sounds or series, (channels, time): imputer=interpolate draws lines in time")

    def fill(self, case: Case, x: Tensor) -> Fill:
        self.check(case)
        length = case.layout.shapes[0][-1]
        x0 = case.baseline(x)
        series = x.reshape(-1, length)
        time = torch.arange(length, device=x.device)

        def filled(removed: Tensor) -> Tensor:
            gone = removed.reshape(-1, length)
            before = torch.where(gone, -1, time).cummax(dim=1).values
            behind = torch.where(gone, length, time).flip(1).cummin(dim=1).values.flip(1)
            left, right = torch.where(before < 0, behind, before), torch.where(behind == length, before, behind)
            empty = gone.all(1, keepdim=True)
            left, right = left.clamp(0, length - 1), right.clamp(0, length - 1)
            weight = (time - left).to(series.dtype) / (right - left).clamp(min=1).to(series.dtype)
            start, end = series.gather(1, left), series.gather(1, right)
            line = (start + weight * (end - start)).reshape_as(x)
            line = torch.where(empty.expand_as(gone).reshape_as(x), x0, line)
            return torch.where(removed, line, x)

        return filled
