"""Copies a model with shared tensors, so that rewrites leave the user's own model unchanged."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from xbench.core.sites import Site, Sites
from xbench.engine.subject import Subject


class NoTwin(RuntimeError):
    """The model cannot be copied faithfully."""


def twin(model: nn.Module) -> nn.Module:
    """A copy of the modules that shares every parameter and buffer.

    Raises NoTwin if modules have hooks, which may refer to the model itself.
    """
    if any(_hooks(module) for module in model.modules()):
        raise NoTwin("the model has hooks")
    shared: dict[int, Tensor] = {id(t): t for t in chain(model.parameters(), model.buffers())}
    return copy.deepcopy(model, dict[int, object](shared))


def sites(subject: Subject) -> Iterator[Site]:
    """The layers where the subject's points enter, or that it reads or explains."""
    second = None if subject.second is None else subject.second[0]
    for place in (subject.inject, subject.read, second, subject.readout.neuron):
        if isinstance(place, Site):
            yield place
        elif isinstance(place, Sites):
            yield from place.sites


def _hooks(module: nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind) for kind in kinds)


def watch_once(subject: Subject, sample: Tensor, handles: Sequence[RemovableHandle]) -> None:
    """Send a sample through the model while hooks watch, then remove the hooks."""
    try:
        with torch.no_grad():
            subject.forward([t[sample] for t in subject.inputs], sample)
    finally:
        for handle in handles:
            handle.remove()
