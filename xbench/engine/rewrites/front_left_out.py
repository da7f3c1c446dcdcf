"""The front of a model left out when points enter at a later layer: what it computes there is replaced anyway.

One forward pass tells which modules are done when the layer is reached. They give NaN instead, a tensor without
memory of its own. Whatever still used their results (a skip connection past the layer) would show it: the model is
tried with NaN and, as a comparison swallows NaN, with other numbers in their place, and must not notice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from xbench.core.plan import Rule
from xbench.core.sites import Site, _split
from xbench.engine.rewrites.twin import sites, twin, watch_once
from xbench.engine.subject import Subject

_POISONS = (math.nan, 0.0, 1.0, -1.0)


def without_front(subject: Subject, samples: Tensor, rule: Rule | None) -> Iterator[Subject]:
    """The subject without its front, once for every number put in its place; none when there is no front."""
    if not isinstance(subject.inject, Site) or subject.create_graph:
        return
    for poison in _POISONS:
        cut = _cut(subject, subject.inject, samples, poison)
        if cut is None:  # there is no front, whatever is put in its place
            return
        yield cut


def _cut(subject: Subject, inject: Site, samples: Tensor, poison: float) -> Subject | None:
    model = twin(subject.model)
    seen = _watch(replace(subject, model=model), inject, samples[:1])
    kept = {site.module(model) for site in sites(subject) if site != inject}
    front = list(_front(model, seen, kept))
    if not any(map(_works, front)):
        return None
    for module in front:
        (shape, dtype), *_ = seen[module].gave
        module.forward = _stub(shape, dtype, poison)
    return replace(subject, model=model)


def _works(module: nn.Module) -> bool:
    """Whether a module does more than look embeddings up, which saves nothing where it is left out."""
    return any(
        not isinstance(inner, (nn.Embedding, nn.EmbeddingBag))
        and next(inner.parameters(recurse=False), None) is not None
        for inner in module.modules()
    )


@dataclass
class _Seen:
    """A module's calls: what each gave, where that is one tensor with the rows of what it took; which end early."""

    begun: int = 0
    gave: list[tuple[torch.Size, torch.dtype]] = field(default_factory=list)
    early: int = 0  # calls that ended before the site was reached


def _watch(subject: Subject, site: Site, sample: Tensor) -> dict[nn.Module, _Seen]:
    seen = {module: _Seen() for module in subject.model.modules()}
    place = site.module(subject.model)
    reached = False

    def begin(module: nn.Module, _args: object, _kwargs: object) -> None:
        nonlocal reached
        seen[module].begun += 1
        if module is place and site.at == "input" and seen[module].begun == (site.call or 1):
            reached = True

    def end(module: nn.Module, args: object, kwargs: object, output: object) -> None:
        nonlocal reached
        of = seen[module]
        of.early += not reached
        rows = _rows(args, kwargs)
        if isinstance(output, Tensor) and output.is_floating_point() and output.dim() and len(output) == rows:
            of.gave.append((output.shape[1:], output.dtype))
        if module is place and site.at == "output" and of.begun == (site.call or 1):
            reached = True

    handles = [m.register_forward_pre_hook(begin, with_kwargs=True) for m in seen]
    handles += [m.register_forward_hook(end, with_kwargs=True) for m in seen]
    watch_once(subject, sample, handles)
    return seen


def _front(module: nn.Module, seen: dict[nn.Module, _Seen], kept: set[nn.Module]) -> Iterator[nn.Module]:
    """The largest modules whose every call is over when the site is reached, and that nobody looks into."""
    of = seen[module]
    alike = len(set(of.gave)) == 1 and len(of.gave) == of.begun
    if alike and of.early == of.begun and not kept.intersection(module.modules()):
        yield module
        return
    for child in module.children():
        yield from _front(child, seen, kept)


def _stub(shape: torch.Size, dtype: torch.dtype, poison: float) -> Callable[..., Tensor]:
    def forward(*args: object, **kwargs: object) -> Tensor:
        first = _tensors(args, kwargs)[0]
        return torch.full((), poison, dtype=dtype, device=first.device).expand(len(first), *shape)

    return forward


def _rows(args: object, kwargs: object) -> int | None:
    tensors = _tensors(args, kwargs)
    return len(tensors[0]) if tensors and tensors[0].dim() else None


def _tensors(args: object, kwargs: object) -> tuple[Tensor, ...]:
    return _split((args, kwargs))[0]
