"""What an explainer from elsewhere is asked: a model, samples where points enter, and all it may need beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xbench.core.case import Case
from xbench.core.layout import Layout
from xbench.core.model_places import Places
from xbench.core.readouts import Target

Explain = Callable[["Question"], object]


@dataclass(frozen=True)
class Question:
    """Explain `model(*inputs, *extra)` of n samples: rows of outputs, among which `target` chooses.

    Attributes:
        model: takes the tensors of the place where points enter, then `extra`, and gives a tensor (rows, ...). It is
            the user's own model where that does so. Elsewhere (a layer such as an embedding, a probability, a neuron,
            a part of the output, keywords) it is a module around it; the rows of `inputs` and of the tensors in
            `extra` may be repeated together, as libraries do, and `extra` may be left out with the n samples as
            they are.
        inputs: what is explained, each (n, ...).
        target: in the user's form: an index (or a tuple of them) for all samples, or one per sample.
        baselines: each (1, ...), (n, ...), or (R, ...) for a distribution; (n, R, ...) where every sample has its own
            (`apart`).
        extra: further arguments of the model, tensors with a row per sample among them.
        features: integer group ids, each (1 or n, ...); -1 belongs to no feature.
        seed: for draws of its own. The global generators of torch, numpy and Python start from it.
        single: one tensor is shown to the user as itself, not as a tuple of one.
        paired: baselines are one for all, or one per sample; False: a distribution, whatever their number.
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
        """One tensor or a tuple of them, like the inputs that the user gave."""
        return tensors[0] if self.single else tensors

    @property
    def apart(self) -> bool:
        """Whether every sample has a distribution of baselines of its own: at a layer that sees its own arguments."""
        return not self.paired and self.baselines[0].dim() > self.inputs[0].dim()

    def one_by_one(self, explain: Explain) -> tuple[Tensor, ...]:
        """The maps of samples that are asked about by themselves, each with its own baselines."""
        alone = (self.part(slice(row, row + 1)) for row in range(len(self)))
        made = [map_tensors(explain(question)) for question in alone]
        return tuple(torch.cat(maps) for maps in zip(*made, strict=True))

    def part(self, rows: slice) -> Question:
        """The question about these samples alone."""
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
        """Those of some samples: (R, ...) of a single one with its own distribution."""
        own = self.apart or (self.paired and len(given) == len(self))
        part = given[rows] if own else given
        return part[0] if self.apart and len(part) == 1 else part


@dataclass(frozen=True, kw_only=True)
class Asking(Places):
    """The model's places, with a way to put the model itself before an explainer from elsewhere.

    Attributes:
        ask: the explainer's answer about the samples of a case, moved to the points (n, d).
    """

    ask: Callable[[Case, Tensor, Explain], object]


def target_part(target: Target, rows: slice, n: int) -> Target:
    """The target of some of n samples: the same where one holds for all."""
    if target is None or isinstance(target, (int, tuple)) or rows == slice(0, n):
        return target
    if isinstance(target, Tensor) and target.numel() == 1:
        return target
    return target[rows] if len(target) == n else target


def map_tensors(made: Any) -> list[Any]:  # noqa: ANN401  (whatever was made)
    """Maps as a list of tensors; what is neither a tensor nor an array stays what it is."""
    given = made if isinstance(made, (tuple, list)) else (made,)
    # Copies: an array may be read-only or run backwards.
    return [torch.from_numpy(np.array(m)) if isinstance(m, np.ndarray) else m for m in given]


def flat_maps(made: Any, layout: Layout, like: Tensor, who: str) -> Tensor:  # noqa: ANN401  (whatever was made)
    """Maps in the shapes of the layout's tensors as one matrix (n, d); ValueError naming `who` and the shapes."""
    tensors = map_tensors(made)
    wanted = [(len(like), *shape) for shape in layout.shapes]
    found = [tuple(m.shape) if isinstance(m, Tensor) else type(m).__name__ for m in tensors]
    if found != wanted:
        raise ValueError(f"{who}: expected maps of shape {wanted}, got {found}")
    flat = torch.cat([m.detach().to(like.device).reshape(len(m), -1) for m in tensors], dim=1)
    return flat if flat.is_floating_point() else flat.to(torch.get_default_dtype())
