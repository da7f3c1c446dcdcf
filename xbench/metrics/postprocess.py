"""Post-processing: how the values of a map become one number per feature. A recorded choice, part of the method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.names import CHANNELS, NORMALISERS, SIGNS
from xbench.metrics.maps import Maps, by_feature, relevance


@dataclass(frozen=True)
class Postprocess:
    """Elements of a feature (the channels of a pixel, the dimensions of a word vector) to one number, and its sign.

    Args:
        sign: "signed" as it is, "absolute" its size, "positive" 0 where it is negative.
        channels: "sum" of the elements (what adds up to the output), "sum_abs" of their sizes, "l2" their norm, "mean".
        normaliser: of the features of a sample: "none", "range" (least to greatest become 0 to 1), or "max" (divided by
            the greatest size). Never over several samples.
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
        phi, own = relevance(case, maps)
        if self.channels == "sum_abs":
            phi = by_feature(case, maps.density.abs())
        elif self.channels == "l2":
            phi = by_feature(case, maps.density.double().square()).sqrt()
        elif self.channels == "mean":
            phi = phi / by_feature(case, torch.ones_like(maps.density)).clamp(min=1)
        phi = phi.abs() if self.sign == "absolute" else phi.clamp(min=0) if self.sign == "positive" else phi
        return self._normalised(phi, own), own

    def _normalised(self, phi: Tensor, own: Tensor) -> Tensor:
        if self.normaliser == "none":
            return phi
        if self.normaliser == "max":
            size = phi.abs().masked_fill(~own, 0).amax(1, keepdim=True) if phi.shape[1] else phi.new_ones(len(phi), 1)
            return phi / torch.where(size > 0, size, 1)
        low = phi.masked_fill(~own, torch.inf).amin(1, keepdim=True)
        span = phi.masked_fill(~own, -torch.inf).amax(1, keepdim=True) - low
        return ((phi - low) / torch.where(span > 0, span, 1)).masked_fill(~own, 0)


SIGNED = Postprocess()
_CALLED = {"sum": "", "sum_abs": "sum of absolute values", "l2": "norm of the channels", "mean": "mean of the elements"}
_NORMALISED = {"none": "", "range": "scaled from 0 to 1", "max": "divided by the greatest size"}
