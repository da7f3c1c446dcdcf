"""Post-processing: how the values of a map become one number per feature. A recorded choice, part of the method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.maps import Maps

SIGNS = ("signed", "absolute", "positive")
CHANNELS = ("sum", "sum_abs", "l2", "mean")
NORMALISERS = ("none", "max", "sum", "range")


@dataclass(frozen=True)
class Postprocess:
    """Elements of a feature (the channels of a pixel, the dimensions of a word vector) to one number, and its sign.

    Args:
        sign: "signed" as it is, "absolute" its size, "positive" 0 where it is negative.
        channels: "sum" of the elements (what adds up to the output), "sum_abs" of their sizes, "l2" their norm, "mean".
        normaliser: of the features of a sample: "none", "max" (divided by the largest size), "sum" (of the sizes),
            "range" (from 0 to 1). Never over several samples.
    """

    sign: str = "signed"
    channels: str = "sum"
    normaliser: str = "none"

    def __post_init__(self) -> None:
        for name, known in (("sign", SIGNS), ("channels", CHANNELS), ("normaliser", NORMALISERS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}")

    @property
    def label(self) -> str:
        """For the note below a table; "" for the map's own values."""
        parts = [self.sign if self.sign != "signed" else "", _CALLED[self.channels], _NORMALISED[self.normaliser]]
        return ", ".join(part for part in parts if part)

    def relevance(self, case: Case, maps: Maps) -> tuple[Tensor, Tensor]:
        """One number per feature, (n, K) float64, and which features a sample has, (n, K) bool.

        K is the most features that a sample has; features that one lacks are 0.
        """
        feature, outside = case.membership
        density = maps.density.double()
        if outside is not None:
            density = density.masked_fill(outside, 0)
        feature = feature.expand(len(density), -1)
        counts = case.counts.to(density.device)
        empty = density.new_zeros(len(density), int(counts.max()))
        own = torch.arange(empty.shape[1], device=density.device) < counts[:, None]
        each = {"sum_abs": density.abs(), "l2": density.square()}.get(self.channels, density)
        phi = empty.scatter_add(1, feature, each)
        if self.channels == "l2":
            phi = phi.sqrt()
        if self.channels == "mean":
            member = torch.ones_like(density) if outside is None else (~outside).double().expand_as(density)
            phi = phi / empty.scatter_add(1, feature, member).clamp(min=1)
        phi = phi.abs() if self.sign == "absolute" else phi.clamp(min=0) if self.sign == "positive" else phi
        return self._normalised(phi, own), own

    def _normalised(self, phi: Tensor, own: Tensor) -> Tensor:
        if self.normaliser == "none":
            return phi
        if self.normaliser == "range":
            low = phi.masked_fill(~own, torch.inf).amin(1, keepdim=True)
            span = phi.masked_fill(~own, -torch.inf).amax(1, keepdim=True) - low
            return ((phi - low) / torch.where(span > 0, span, 1)).masked_fill(~own, 0)
        size = phi.abs().sum(1, keepdim=True) if self.normaliser == "sum" else phi.abs().amax(1, keepdim=True)
        return phi / torch.where(size > 0, size, 1)


SIGNED = Postprocess()
ABSOLUTE = Postprocess("absolute")
_CALLED = {"sum": "", "sum_abs": "sum of absolute values", "l2": "norm of the channels", "mean": "mean of the elements"}
_NORMALISED = {
    "none": "", "max": "divided by the largest", "sum": "as shares of the whole", "range": "scaled from 0 to 1",
}  # fmt: skip
