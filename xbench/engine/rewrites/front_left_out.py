"""Skips the front of a model if points enter at a later layer, because the points replace its result anyway.

One forward pass shows which modules have finished when the layer is reached. They return NaN instead, a tensor without
memory of its own. Any later use of their results (a skip connection past the layer) would change the output: the trial
uses NaN and also other numbers, because comparisons hide NaN, and the output must not change.
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
    """The subject without its front, once for every replacement number; empty if there is no front."""
    if not isinstance(subject.inject, Site) or subject.create_graph:
        return
    for poison in _POISONS:
        cut = _cut(subject, subject.inject, samples, poison)
        if cut is None:  # there is no front, for any replacement
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
    """Whether a module computes more than an embedding lookup; skipping a lookup saves nothing."""
    return any(
        not isinstance(inner, (nn.Embedding, nn.EmbeddingBag))
        and next(inner.parameters(recurse=False), None) is not None
        for inner in module.modules()
    )


@dataclass
class _Seen:
    """A module's calls: the output of each, if it is one tensor with the rows of the input, and the early calls."""

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
    """The largest modules whose calls all end before the site is reached, and that contain no site."""
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
