"""Class activation maps: channels of a layer, weighted, summed and enlarged to the sample."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Size, Tensor

from xbench.algorithms.base import Algorithm, Need, NotApplicable
from xbench.algorithms.parts.positions import Mode, channels, check_mode, distortion, onto_samples, require_positions
from xbench.case import Case
from xbench.places import CONVOLUTIONS
from xbench.plan import Answer, Plan, Want
from xbench.rules.attention import AttentionWeights
from xbench.sites import Site

Channels = Literal["first", "last"]


@dataclass(frozen=True)
class ActivationMap(Algorithm):
    """Base of the algorithms that weigh the channels of a layer.

    Args:
        layer: the layer's name; None: the last one that has the positions of the last convolution, which is behind its
            activation, a residual step, the branches beside it. Branches that never meet at those positions are seen
            one at a time only. Where attention mixes the positions, a layer must be named.
        channels: whether the layer gives (channels, positions...) or (positions..., channels); None tells by its
            kind: convolutions first, hidden states (positions, channels) last, of others (a, b, c) what has the image's
            proportions. A grid of patches after a class token is put back onto its image.
        interpolate_mode: how the map is enlarged to the sample: `linear` (in all its dimensions) or `nearest`.
        relu_attributions: negative values of the map become 0.
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
        """What is needed to find the layer, and more."""
        return (*others, Need.MODULE) if self.layer is not None else (*others, Need.MODULE, Need.CONVOLUTION)

    def check(self, case: Case) -> None:
        if self.layer is None and case.places.reached(AttentionWeights()):
            raise NotApplicable("needs a convolutional layer near the output: there is attention, so name a `layer`")
        require_positions(case, self.shape(case)[1:], str(self.site(case)))

    def density(self, case: Case, maps: Tensor) -> Tensor:
        return maps / channels(case, self.shape(case)[1:], maps)

    def site(self, case: Case) -> Site:
        """The layer that is read."""
        return case.places.convolved() if self.layer is None else Site.parse(self.layer)

    def shape(self, case: Case) -> Size:
        """(channels, positions...) of that layer."""
        shapes = case.places.layout(self.site(case)).shapes
        if len(shapes) != 1 or len(shapes[0]) < 2:
            found = ", ".join(str(tuple(shape)) for shape in shapes)
            raise NotApplicable(f"needs a layer with channels and positions: {self.site(case)} gives {found}")
        return Size((shapes[0][-1], *shapes[0][:-1])) if self._last(case) else shapes[0]

    def unflat(self, case: Case, flat: Tensor) -> Tensor:
        """What was read there as (n, channels, positions...)."""
        channels, *positions = self.shape(case)
        if self._last(case):
            return flat.reshape(len(flat), *positions, channels).movedim(-1, 1)
        return flat.reshape(len(flat), channels, *positions)

    def flat(self, case: Case, levels: Tensor) -> Tensor:
        """(n, channels, positions...) in the layer's own order, (n, width)."""
        return (levels.movedim(1, -1) if self._last(case) else levels).flatten(1)

    def _last(self, case: Case) -> bool:
        site = self.site(case)
        shape = case.places.layout(site).shapes[0]
        if self.channels is not None or self.layer is None:
            return self.channels == "last"
        if len(shape) == 3 and not isinstance(site.module(case.places.model), CONVOLUTIONS):
            return distortion(case, shape[:-1]) < distortion(case, shape[1:])
        return case.places.channels_last(site)

    def finished(self, case: Case, cam: Tensor) -> Tensor:
        """The map (n, positions...) as the user gets it, (n, d)."""
        return onto_samples(case, cam.relu() if self.relu_attributions else cam, self.interpolate_mode)


@dataclass(frozen=True)
class GradientMap(ActivationMap):
    """Base of those that make their map from the activations and the gradient there, in one pass."""

    @abstractmethod
    def combine(self, levels: Tensor, slopes: Tensor) -> Tensor:
        """(n, positions...) from activations and gradients, (n, channels, positions...) each."""

    def plan(self, case: Case, x: Tensor) -> Plan:
        def read(answers: Iterator[Answer]) -> Tensor:
            answer = next(answers)
            return self.finished(case, self.combine(self.unflat(case, answer.level), self.unflat(case, answer.slope)))

        return Plan([x], 1, Want.GRADIENT | Want.ACTIVATION, read, read=self.site(case))


def weighted(levels: Tensor, weights: Tensor) -> Tensor:
    """Activations (n, C, positions...) summed with a weight per channel, (n, C)."""
    return torch.einsum("nc...,nc->n...", levels, weights)
