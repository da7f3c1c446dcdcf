"""Class activation maps: channels of a layer, weighted, summed and enlarged to the sample.

If points enter at that layer itself, maps are not enlarged. A layer without positions has one value per sample.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Size, Tensor

from xbench.algorithms.base import Algorithm
from xbench.algorithms.parts.positions import Mode, channels, check_mode, distortion, onto_samples, require_positions
from xbench.core.case import Case
from xbench.core.model_places import CONVOLUTIONS
from xbench.core.needs import Need, NotApplicable
from xbench.core.plan import Answer, Plan, Want
from xbench.core.sites import Site
from xbench.rules.attention import AttentionWeights

Channels = Literal["first", "last"]


@dataclass(frozen=True)
class ActivationMap(Algorithm):
    """Base of the algorithms that weight the channels of a layer.

    A layer with several tensors has one map per tensor; enlarged to the samples, the maps are added. If points enter at
    the layer itself (`layer=` of `xbench.attribute`), every tensor gets its own map of its own size, the same for all
    its channels; only this form works for a layer without positions.

    Args:
        layer: the layer's name; None: the last layer with the positions of the last convolution, i.e. after its
            activation, residual sum and parallel branches. Branches that do not merge at those positions are covered
            one at a time only. If attention mixes the positions, a layer must be named.
        channels: `first` if the layer gives (channels, positions...), `last` for (positions..., channels); None decides
            by the kind of layer: convolutions first, hidden states (positions, channels) last, any other (a, b, c) by
            the image's proportions. A grid of patches after a class token is mapped back to its image.
        interpolate_mode: how the map is enlarged to the sample: `linear` (in all dimensions) or `nearest`.
        relu_attributions: whether negative values of the map become 0.
    """

    layer: str | None = None
    channels: Channels | None = None
    interpolate_mode: Mode = "linear"
    relu_attributions: bool = True

    def __post_init__(self) -> None:
        check_mode(self.interpolate_mode)
        if self.channels is not None and self.channels not in get_args(Channels):
            raise ValueError(f"channels: expected first, last or None, got {self.channels!r}")
        if self.layer is not None:
            Site.parse(self.layer)

    def needs(self, *others: Need) -> tuple[Need, ...]:
        """The requirements of finding the layer, and `others`."""
        return (*others, Need.MODULE) if self.layer is not None else (*others, Need.MODULE, Need.CONVOLUTION)

    def check(self, case: Case) -> None:
        if self.layer is None and case.places.reached(AttentionWeights()):
            raise NotApplicable("needs a convolutional layer near the output: there is attention, so name a `layer`")
        for shape in self.shapes(case):
            if len(shape) < 2 and not self.own(case):
                raise NotApplicable(
                    f"needs a layer with channels and positions: {self.site(case)} gives {tuple(shape)}, which has a "
                    f"map of its own where points enter there (layer={str(self.site(case))!r})"
                )
            if not self.own(case):
                require_positions(case, shape[1:], str(self.site(case)))

    def density(self, case: Case, maps: Tensor) -> Tensor:
        shapes = self.shapes(case)
        if self.own(case):
            return maps / torch.cat([maps.new_full((shape.numel(),), shape[0]) for shape in shapes])
        return maps / channels(case, shapes[0][1:], maps)

    def site(self, case: Case) -> Site:
        """The layer that is read."""
        return case.places.convolved() if self.layer is None else Site.parse(self.layer)

    def own(self, case: Case) -> bool:
        """Whether points enter at the layer itself."""
        return case.site == self.site(case)

    def shapes(self, case: Case) -> list[Size]:
        """(channels, positions...) of each tensor of that layer."""
        shapes = case.places.layout(self.site(case)).shapes
        if not all(shapes):
            raise NotApplicable(f"needs a layer with channels: {self.site(case)} gives one number per sample")
        return [
            Size((shape[-1], *shape[:-1])) if self._last(case, index) else shape for index, shape in enumerate(shapes)
        ]

    def unflat(self, case: Case, flat: Tensor) -> list[Tensor]:
        """The values read at the layer, as (n, channels, positions...) for each tensor."""
        tensors = case.places.layout(self.site(case)).unflatten(flat, cast=False)
        return [t.movedim(-1, 1) if self._last(case, index) else t for index, t in enumerate(tensors)]

    def flat(self, case: Case, levels: Sequence[Tensor]) -> Tensor:
        """Flatten tensors (n, channels, positions...) in the layer's own order of dimensions, (n, width)."""
        ordered = [t.movedim(1, -1) if self._last(case, index) else t for index, t in enumerate(levels)]
        return torch.cat([t.flatten(1) for t in ordered], 1)

    def _last(self, case: Case, index: int) -> bool:
        site = self.site(case)
        shape = case.places.layout(site).shapes[index]
        if self.channels is not None or self.layer is None:
            return self.channels == "last"
        if len(shape) == 3 and not isinstance(site.module(case.places.model), CONVOLUTIONS):
            return distortion(case, shape[:-1]) < distortion(case, shape[1:])
        return case.places.channels_last(site, index)

    def finished(self, case: Case, cams: Sequence[Tensor]) -> Tensor:
        """Convert the maps (n, positions...), one per tensor, to the final map (n, d).

        At their own layer they may still have channels, (n, channels, positions...).
        """
        cams = [cam.relu() for cam in cams] if self.relu_attributions else cams
        if self.own(case):
            shaped = zip(cams, self.shapes(case), strict=True)
            return self.flat(
                case,
                [(cam if cam.dim() > len(shape) else cam.unsqueeze(1)).expand(-1, *shape) for cam, shape in shaped],
            )
        placed = [onto_samples(case, cam, self.interpolate_mode) for cam in cams]
        return torch.stack(placed).sum(0) if len(placed) > 1 else placed[0]


@dataclass(frozen=True)
class GradientMap(ActivationMap):
    """Base of the algorithms that compute the map from activations and gradients in one pass."""

    @abstractmethod
    def combine(self, levels: Tensor, slopes: Tensor) -> Tensor:
        """The map (n, positions...) from activations and gradients, (n, channels, positions...) each."""

    def plan(self, case: Case, x: Tensor) -> Plan:
        def read(answers: Iterator[Answer]) -> Tensor:
            answer = next(answers)
            both = zip(self.unflat(case, answer.level), self.unflat(case, answer.slope), strict=True)
            return self.finished(case, [self.combine(levels, slopes) for levels, slopes in both])

        return Plan([x], 1, Want.GRADIENT | Want.ACTIVATION, read, read=self.site(case))


def by_place(levels: Tensor) -> Tensor:
    """Reshape (n, C, positions...) to (n, C, P); P is 1 without positions."""
    return levels.reshape(*levels.shape[:2], -1)


def weighted(levels: Tensor, weights: Tensor) -> Tensor:
    """Activations (n, C, positions...) summed with a weight per channel, (n, C)."""
    return torch.einsum("nc...,nc->n...", levels, weights)


def each_weighted(levels: Sequence[Tensor], weights: Tensor) -> list[Tensor]:
    """`weighted` for several tensors; `weights` concatenates their channels, (n, all channels)."""
    parts = weights.split([tensor.shape[1] for tensor in levels], 1)
    return [weighted(tensor, part) for tensor, part in zip(levels, parts, strict=True)]
