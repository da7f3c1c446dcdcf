"""Places in a model: where points enter and where gradients or activations are read.

A site is written `layer` (its output), `layer:input`, and `layer@2` for the second call of a module that the
forward pass calls more than once. Every hook on the model belongs to a `with` block that removes it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from xbench.core.names import SITE, SITE_FORMS


class Place(Protocol):
    """A place in a forward pass whose tensors can be watched: a layer's output, the attention weights."""

    def watch(self, model: nn.Module, *, detach: bool = False) -> AbstractContextManager[Visit]:
        """Watch one forward pass; with `detach` the tensors at the place become leaves to differentiate by."""
        ...


@dataclass(frozen=True)
class Site:
    """The output (or input) of the module named `layer`, at its `call`-th call (from 1; None: its only call)."""

    layer: str
    at: str = "output"
    call: int | None = None

    @classmethod
    def parse(cls, text: str) -> Site:
        """Parse `layer`, `layer:input`, `layer@2` or `layer@2:input`."""
        found = SITE.fullmatch(text)
        if found is None:
            raise ValueError(f"site {text!r}: expected {SITE_FORMS}")
        call = found["call"]
        return cls(found["layer"], found["at"] or "output", int(call) if call else None)

    def __str__(self) -> str:
        call = f"@{self.call}" if self.call else ""
        return f"{self.layer}{call}" + (":input" if self.at == "input" else "")

    def module(self, model: nn.Module) -> nn.Module:
        """The module of that name. Raises ValueError with the nearest names if there is none."""
        modules = dict(model.named_modules(remove_duplicate=False))
        if self.layer not in modules:
            near = difflib.get_close_matches(self.layer, modules, n=3, cutoff=0.4)
            known = ", ".join(list(modules)[1:20]) or "none, as a plain function has"
            hint = f"did you mean {' or '.join(near)}?" if near else f"it has {known}"
            raise ValueError(f"the model has no layer {self.layer!r}; {hint}")
        found: nn.Module = modules[self.layer]
        return found

    def watch(self, model: nn.Module, *, detach: bool = False) -> AbstractContextManager[Visit]:
        """See `Place`."""
        return visit(model, self, detach=detach)

    def enter(self, model: nn.Module, points: Sequence[Tensor]) -> AbstractContextManager[Visit]:
        """Replace the tensors that the model computes at this place by `points`."""
        return visit(model, self, replace=points)


@dataclass(frozen=True)
class Sites:
    """Several layers as one place, such as the embeddings of words and of positions; points enter at all at once.

    counts: number of tensors at each layer.
    """

    sites: tuple[Site, ...]
    counts: tuple[int, ...] = ()

    def __str__(self) -> str:
        return " and ".join(map(str, self.sites))

    @contextmanager
    def watch(self, model: nn.Module, *, detach: bool = False) -> Iterator[Visit]:
        """See `Place`; gives the tensors of all layers, in the order in which the layers are named."""
        with ExitStack() as stack:
            yield _Joined([stack.enter_context(visit(model, site, detach=detach)) for site in self.sites])

    @contextmanager
    def enter(self, model: nn.Module, points: Sequence[Tensor]) -> Iterator[Visit]:
        """See `Site.enter`."""
        with ExitStack() as stack:
            parts = self.parted(points)
            yield _Joined(
                [
                    stack.enter_context(visit(model, site, replace=part))
                    for site, part in zip(self.sites, parts, strict=True)
                ]
            )

    def parted(self, tensors: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """The tensors of each layer."""
        given = iter(tensors)
        return [tuple(next(given) for _ in range(count)) for count in self.counts]

    def check(self, model: nn.Module, forward: Callable[[], object]) -> None:
        """Raise ValueError if one layer's tensors depend on another layer: points there would overwrite that effect."""
        with ExitStack() as stack:
            visits = [stack.enter_context(visit(model, site, detach=True)) for site in self.sites]
            with torch.enable_grad():
                forward()
        behind = [str(site) for site, visited in zip(self.sites, visits, strict=True) if visited.attached]
        if behind:
            raise ValueError(
                f"layer: {' and '.join(behind)} follows another of the layers {self}, and points enter at all of "
                "them at once; explain such layers in calls of their own, or name them in `read`"
            )


def layer_name(model: nn.Module, layer: str | nn.Module) -> str:
    """The name of a layer given as a module or as its name."""
    if isinstance(layer, str):
        return layer
    name: str
    for name, module in model.named_modules():
        if module is layer:
            return name
    raise ValueError(f"the layer {type(layer).__name__} is not part of the model")


@dataclass
class Visit:
    """Record of one forward pass at a site: the tensors, and the number of times it was reached.

    attached: whether the tensors that the model computed there belonged to an autograd graph.
    """

    tensors: tuple[Tensor, ...] = ()
    calls: int = field(default=0)
    attached: bool = False


class _Joined(Visit):
    """The visits of several sites as one; it has no tensors before all sites are reached."""

    def __init__(self, parts: Sequence[Visit]) -> None:
        self._parts = parts

    @property
    def tensors(self) -> tuple[Tensor, ...]:  # type: ignore[override]
        whole = all(part.tensors for part in self._parts)
        return tuple(tensor for part in self._parts for tensor in part.tensors) if whole else ()

    @property
    def calls(self) -> int:  # type: ignore[override]
        return min(part.calls for part in self._parts)


def _split(value: object) -> tuple[tuple[Tensor, ...], list[object], TreeSpec]:
    leaves, spec = tree_flatten(value)
    return tuple(leaf for leaf in leaves if isinstance(leaf, Tensor)), leaves, spec


def _rebuild(value: object, tensors: Sequence[Tensor]) -> object:
    _, leaves, spec = _split(value)
    replacement = iter(tensors)
    return tree_unflatten([next(replacement) if isinstance(x, Tensor) else x for x in leaves], spec)


@contextmanager
def visit(
    model: nn.Module, site: Site, *, replace: Sequence[Tensor] | None = None, detach: bool = False
) -> Iterator[Visit]:
    """Watch `site` during a forward pass.

    `replace` replaces the tensors that the model computed there. `detach` starts the gradient there: the tensors become
    leaves, so nothing before the site is kept for the backward pass.
    """
    visited = Visit()

    def handle(value: object) -> object:
        visited.calls += 1
        if site.call is not None and visited.calls != site.call:
            return value
        if site.call is None and visited.calls > 1:
            raise ValueError(
                f"layer {site.layer!r} is called more than once in a forward pass; "
                f"name the call, for example {site.layer}@1 or {site.layer}@{visited.calls}"
            )
        found, _, _ = _split(value)
        if not found:
            raise ValueError(f"site {site}: no tensor there, got {type(value).__name__}")
        visited.attached = any(tensor.requires_grad for tensor in found)
        if replace is not None:
            found = tuple(replace)
        elif detach:
            found = tuple(t.detach().requires_grad_(t.is_floating_point()) for t in found)
        visited.tensors = found
        # Pass clones on: a later in-place operation must not change the tensors read here.
        return _rebuild(value, [t.clone() for t in found])

    def entering(_module: nn.Module, args: object, kwargs: dict[str, Any]) -> tuple[Any, Any]:
        by_name = not _split(args)[0]  # the layer is called with keywords only, such as query=, key=, value=
        return (args, handle(kwargs)) if by_name else (handle(args), kwargs)

    module = site.module(model)
    if site.at == "input":
        handle_ = module.register_forward_pre_hook(entering, with_kwargs=True)
    else:
        handle_ = module.register_forward_hook(lambda _module, _args, output: handle(output))
    try:
        yield visited
    finally:
        handle_.remove()


def check_visited(visited: Visit, site: Place, rows: int | None = None) -> None:
    """Raise ValueError if the forward pass did not reach the site, or its tensors do not have `rows` rows."""
    if not visited.tensors:
        raise ValueError(f"site {site} was not reached by the forward pass (reached {visited.calls} times)")
    if rows is not None and any(t.dim() == 0 or len(t) != rows for t in visited.tensors):
        shapes = ", ".join(str(tuple(t.shape)) for t in visited.tensors)
        raise ValueError(f"site {site}: expected the samples in the first dimension, {rows} rows, got shape {shapes}")


@contextmanager
def frozen(model: nn.Module, *, learning: bool = False) -> Iterator[None]:
    """Inside the block, the model is in evaluation mode without parameter gradients; every flag is restored after it.

    With `learning` the parameters keep their gradients. cuDNN cannot differentiate a recurrent layer in evaluation
    mode, so it is disabled inside the block for models that have one.
    """
    training = [module for module in model.modules() if module.training]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad and not learning]
    cudnn = torch.backends.cudnn.enabled
    for module in training:
        module.training = False
    for parameter in trained:
        parameter.requires_grad_(False)
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = cudnn
        for module in training:
            module.training = True
        for parameter in trained:
            parameter.requires_grad_(True)


def device_of(model: nn.Module, default: torch.device) -> torch.device:
    """The device of the model's first parameter or buffer."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return default
