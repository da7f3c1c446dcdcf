"""The case: n samples to explain, as algorithms and metrics see them, at the site where points enter the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from xbench.core.draws import Draws
from xbench.core.layout import Layout
from xbench.core.model_places import Places
from xbench.core.needs import NotApplicable
from xbench.core.positions import from_left
from xbench.core.sites import Place
from xbench.core.truth import Planted, Truth


@dataclass(frozen=True)
class Mates:
    """All samples of a call, and the positions of a case's samples among them in the order of ids.

    Attributes:
        values: (N, d) at the site where points enter, in the order given.
        order: (N,) int64, the indices that sort the ids.
        positions: (n,) int64, the positions of the case's samples in that order.
    """

    values: Tensor
    order: Tensor
    positions: Tensor

    @classmethod
    def of(cls, x: Tensor, ids: Sequence[str]) -> Mates:
        order = torch.tensor(sorted(range(len(ids)), key=lambda i: ids[i]))
        return cls(x, order, order.argsort())

    def at(self, places: Tensor) -> Tensor:
        """The samples at these positions in the order of ids, (m, d)."""
        return self.values[self.order[places].to(self.values.device)]


@dataclass(frozen=True)
class Case:
    """n samples, flattened to d elements each (see `Layout`).

    Attributes:
        layout: the tensors at the site where points enter (the input, an embedding, a layer).
        read: the tensors at the site where gradients and activations are read; `layout` by default.
        baselines: (1, d), (n, d) or, for methods that average over a distribution of baselines, (R, d); (n, R, d) at a
            layer whose distribution depends on each sample's own arguments.
        features: (1 or n, d) int64 group ids, 0..K-1; -1 marks elements that belong to no feature (padding).
        draws: keyed random numbers of these samples.
        span: the rows of these samples in the whole set.
        places: answers questions about the model's layers.
        mates: all samples of the call.
        paired: False when the baselines are a distribution, whatever their number.
        neuron: whether a neuron is explained instead of the output.
        site: the layer where points enter; None: the input.
        called: the features' name in tables: "words", "edges".
        named_baseline: gives the data set's baseline of a name, (1 or N, d) for all samples of the call, where points
            enter; ValueError where the data have none. None: no data set is known.
        truth: the ground truth about where the evidence lies; None if unknown.
        target: (n, k) indices into the output; None where nothing chooses an output, or a neuron is explained.
        planted: the known properties of a constructed function; None for a learned model.
        channels_last: whether the samples are hidden states, (positions, channels), such as an embedding's output.
    """

    layout: Layout
    read: Layout
    baselines: Tensor
    features: Tensor
    draws: Draws
    span: slice
    places: Places
    mates: Mates
    paired: bool = True
    neuron: bool = False
    channels_last: bool = False
    truth: Truth | None = None
    planted: Planted | None = None
    site: Place | None = None
    called: str = "features"
    target: Tensor | None = None
    named_baseline: Callable[[str], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.draws.ids)

    def baseline(self, x: Tensor) -> Tensor:
        """The baseline of each sample, (n, d)."""
        if len(self.baselines) not in (1, len(x)):
            raise ValueError(
                f"got {len(self.baselines)} baselines for {len(x)} samples: give one, or one per sample "
                "(a distribution of baselines is for methods such as GradientShap)"
            )
        return self.baselines.expand_as(x)

    @property
    def distribution(self) -> Sequence[Tensor]:
        """The baselines of a distribution in order, each (1, d) or (n, d)."""
        return self.baselines.unbind(1) if self.baselines.dim() == 3 else self.baselines.split(1)

    def named(self, name: str) -> Tensor:
        """The data set's baseline of that name for each sample, (1 or n, d). ValueError where the data have none."""
        if self.named_baseline is None:
            raise ValueError(f"baseline {name!r}: no data set is known that has it")
        values = self.named_baseline(name)
        if len(values) == 1:
            return values
        return values[self.mates.order[self.mates.positions].to(values.device)]

    def drawn(self, which: Tensor) -> Tensor:
        """For each sample the baseline number `which` (n,) of its distribution: (n, d)."""
        if self.baselines.dim() < 3:
            return self.baselines[which]
        return self.baselines[torch.arange(len(which), device=which.device), which]

    @property
    def _own_baselines(self) -> bool:
        """Whether the first dimension of the baselines counts samples."""
        return self.baselines.dim() == 3 or (self.paired and len(self.baselines) == len(self))

    @property
    def read_apart(self) -> bool:
        """Whether gradients are read at another site than the one where points enter, even if the shapes agree."""
        return self.read is not self.layout

    @property
    def counts(self) -> Tensor:
        """Features per sample, (n,) int64."""
        return (self.features.amax(dim=1) + 1).expand(len(self))

    @cached_property
    def membership(self) -> tuple[Tensor, Tensor | None]:
        """The feature of each element (0 for none), and a mask of elements without a feature (None: there are none).

        Both are (1 or n, d).
        """
        outside = self.features < 0
        return (self.features.clamp(min=0), outside) if bool(outside.any()) else (self.features, None)

    def feature_sizes(self, x: Tensor) -> Tensor:
        """For each element the number of elements in its feature, (n, d); 1 outside any feature."""
        ids = self.features.clamp(min=0).expand(x.shape[0], -1)
        member = (self.features >= 0).to(x.dtype).expand_as(ids)
        sizes = x.new_zeros(len(ids), int(ids.max()) + 1).scatter_add_(1, ids, member)
        return torch.where(self.features >= 0, sizes.gather(1, ids), torch.ones_like(member))

    def ranges(self, x: Tensor) -> Tensor:
        """Each sample's max - min within each tensor, without padding, repeated for its elements, (n, d)."""
        real = (self.features >= 0).expand_as(x)
        parts = zip(x.split(self.layout.sizes, 1), real.split(self.layout.sizes, 1), strict=True)
        spans = [
            (part.masked_fill(~inside, -torch.inf).amax(1) - part.masked_fill(~inside, torch.inf).amin(1))
            .clamp(min=0)
            .unsqueeze(1)
            .expand_as(part)
            for part, inside in parts
        ]
        return torch.cat(spans, dim=1)

    def donors(self, purpose: str, draw: int, count: int) -> Iterator[Tensor]:
        """For each sample `count` random other samples of the call, each (n, d); every `draw` has its own."""
        others = len(self.mates.values) - 1
        if others < 1:
            raise NotApplicable("needs at least two samples: there is only one")
        drawn = self.draws.uniform(purpose, draw, torch.empty(len(self), count, dtype=torch.float64))
        which = (drawn * others).long()
        which += which >= self.mates.positions[:, None]  # excludes the sample itself
        for column in which.unbind(1):
            yield self.mates.at(column)

    def part(self, rows: slice) -> Case:
        """The case of the samples `rows`, relative to this case."""
        start = self.span.start
        return replace(
            self,
            baselines=self.baselines[rows] if self._own_baselines else self.baselines,
            features=self.features[rows] if len(self.features) == len(self) else self.features,
            draws=replace(self.draws, ids=self.draws.ids[rows]),
            span=slice(start + rows.start, start + rows.stop),
            mates=replace(self.mates, positions=self.mates.positions[rows]),
            truth=self.truth and self.truth.part(rows),
            target=None if self.target is None else self.target[rows],
        )

    def subset(self, rows: Tensor) -> Case:
        """The case of the samples at positions (m,), for points that belong to these alone."""
        here = rows.to(self.features.device)
        return replace(
            self,
            baselines=self.baselines[here] if self._own_baselines else self.baselines,
            features=self.features[here] if len(self.features) == len(self) else self.features,
            draws=replace(self.draws, ids=tuple(self.draws.ids[row] for row in rows.tolist())),
            mates=replace(self.mates, positions=self.mates.positions[rows.cpu()]),
            truth=self.truth and self.truth.part(here),
            target=None if self.target is None else self.target[rows.to(self.target.device)],
        )

    def redrawn(self, scope: str) -> Case:
        """The same samples with fresh random draws, keyed by `scope`."""
        return replace(self, draws=self.draws.within(scope))


def expand_features(
    features: Sequence[Tensor] | None, layout: Layout, device: torch.device, n: int, inputs: Sequence[torch.Size]
) -> Tensor:
    """Convert group ids per tensor, (1 or n, ...) aligned by `from_left`, to one matrix (1 or n, d).

    Without `features` each element is its own feature. Ids may have gaps; they are renumbered per sample to 0..K-1. The
    same id in two tensors is one feature.
    """
    if features is None:
        return torch.arange(layout.width, device=device).unsqueeze(0)
    if len(features) != len(layout.shapes):
        raise ValueError(f"features: expected {len(layout.shapes)} tensors like the inputs, got {len(features)}")
    rows = max(len(mask) for mask in features)
    parts = []
    for mask, shape in zip(features, layout.shapes, strict=True):
        if mask.dtype.is_floating_point or mask.dtype == torch.bool:
            raise TypeError(f"features: group ids must be integers, got {mask.dtype}")
        padded = from_left("features", mask, n, shape, inputs)
        parts.append(padded.expand(rows, *shape).unsqueeze(1).flatten(1).to(device, torch.int64))
    return torch.stack([_dense(row) for row in torch.cat(parts, dim=1)])


def _dense(ids: Tensor) -> Tensor:
    """Group ids renumbered to 0..K-1 in increasing order; negative ids stay -1."""
    kept: Tensor
    inverse: Tensor
    kept, inverse = torch.unique(ids.clamp(min=-1), return_inverse=True)
    return inverse - int(bool(len(kept)) and int(kept[0]) < 0)
