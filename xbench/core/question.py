"""The request to an external algorithm: a model, samples at the site where points enter, and further arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xbench.core.layout import Layout
from xbench.core.readouts import Target

Explain = Callable[["Question"], object]


@dataclass(frozen=True)
class Question:
    """A request to explain `model(*inputs, *extra)` for n samples; `target` chooses among the outputs.

    Attributes:
        model: takes the tensors at the place where points enter, then `extra`, and returns a tensor (rows, ...). It is
            the user's own model if that has this form. Otherwise (a layer such as an embedding, a probability, a
            neuron, a part of the output, keywords) it is a wrapper. The rows of `inputs` and of the tensors in `extra`
            may be repeated together, as libraries do. Called with all n samples in order, `extra` may be omitted: the
            stored arguments are used.
        inputs: the tensors to explain, each (n, ...).
        target: in the user's form: an index (or a tuple of them) for all samples, or one per sample.
        baselines: each (1, ...), (n, ...), or (R, ...) for a distribution; (n, R, ...) if each sample has its own
            distribution (`apart`).
        extra: further arguments of the model; some may be tensors with one row per sample.
        features: integer group ids, each (1 or n, ...); -1 belongs to no feature.
        seed: seed for the explainer's own draws; the global generators of torch, numpy and Python are seeded with it.
        single: whether a single tensor is passed to the explainer as a tensor, not as a tuple of one.
        paired: whether there is one baseline for all samples or one per sample; False: a distribution.
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    target: Target
    baselines: tuple[Tensor, ...]
    extra: tuple[object, ...]
    features: tuple[Tensor, ...]
    seed: int
    single: bool = True
    paired: bool = True

    def __len__(self) -> int:
        return len(self.inputs[0])

    def own_form(self, tensors: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        """A tensor or a tuple of tensors, in the form of the user's inputs."""
        return tensors[0] if self.single else tensors

    @property
    def apart(self) -> bool:
        """Whether each sample has its own distribution of baselines, as at a layer that depends on its arguments."""
        return not self.paired and self.baselines[0].dim() > self.inputs[0].dim()

    def one_by_one(self, explain: Explain) -> tuple[Tensor, ...]:
        """The maps of all samples, explained one at a time, each with its own baselines."""
        alone = (self.part(slice(row, row + 1)) for row in range(len(self)))
        made = [map_tensors(explain(question)) for question in alone]
        return tuple(torch.cat(maps) for maps in zip(*made, strict=True))

    def part(self, rows: slice) -> Question:
        """The same question about the samples `rows` only."""
        n = len(self)
        return replace(
            self,
            inputs=tuple(t[rows] for t in self.inputs),
            target=target_part(self.target, rows, n),
            baselines=tuple(self._baselines(b, rows) for b in self.baselines),
            extra=tuple(e[rows] if isinstance(e, Tensor) and e.dim() and len(e) == n else e for e in self.extra),
            features=tuple(f[rows] if len(f) == n else f for f in self.features),
        )

    def _baselines(self, given: Tensor, rows: slice) -> Tensor:
        """The baselines of some samples: (R, ...) for a single sample with its own distribution."""
        own = self.apart or (self.paired and len(given) == len(self))
        part = given[rows] if own else given
        return part[0] if self.apart and len(part) == 1 else part


def target_part(target: Target, rows: slice, n: int) -> Target:
    """The target of the samples `rows` out of n; a target shared by all samples stays the same."""
    if target is None or isinstance(target, (int, tuple)) or rows == slice(0, n):
        return target
    if isinstance(target, Tensor) and target.numel() == 1:
        return target
    return target[rows] if len(target) == n else target


def map_tensors(made: Any) -> list[Any]:  # noqa: ANN401  (an explainer returns anything)
    """Maps as a list of tensors; values that are neither tensors nor arrays are kept unchanged."""
    given = made if isinstance(made, (tuple, list)) else (made,)
    # Copies: an array may be read-only or run backwards.
    return [torch.from_numpy(np.array(m)) if isinstance(m, np.ndarray) else m for m in given]


def flat_maps(made: Any, layout: Layout, like: Tensor, who: str) -> Tensor:  # noqa: ANN401  (whatever was made)
    """Flatten maps shaped like the layout's tensors to a matrix (n, d).

    Raises:
        ValueError: the shapes differ; the message names `who` and the shapes.
    """
    tensors = map_tensors(made)
    wanted = [(len(like), *shape) for shape in layout.shapes]
    found = [tuple(m.shape) if isinstance(m, Tensor) else type(m).__name__ for m in tensors]
    if found != wanted:
        raise ValueError(f"{who}: expected maps of shape {wanted}, got {found}")
    flat = torch.cat([m.detach().to(like.device).reshape(len(m), -1) for m in tensors], dim=1)
    return flat if flat.is_floating_point() else flat.to(torch.get_default_dtype())
