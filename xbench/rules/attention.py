"""Attention weights as a place in the model: every softmax(q k') of a forward pass, in whichever way it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xbench.rules.composites import scaled_dot_product_attention
from xbench.rules.override import canonical_name, opened
from xbench.sites import Visit


@dataclass(frozen=True)
class AttentionWeights:
    """All attention weights, (rows, heads, queries, keys) each, in the order of the forward pass. See `sites.Place`."""

    def __str__(self) -> str:
        return "attention weights"

    @contextmanager
    def watch(self, model: nn.Module, *, detach: bool = False) -> Iterator[Visit]:
        visited = Visit()
        with _Recorder(visited, detach):
            yield visited


class _Recorder(TorchFunctionMode):
    """Writes down the result of every softmax over the last dimension of a (rows, heads, queries, keys) tensor."""

    def __init__(self, visited: Visit, detach: bool) -> None:
        super().__init__()
        self._visited = visited
        self._detach = detach
        self._open: list[Callable[..., object]] = []

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        name, _ = canonical_name(func)
        if name == "scaled_dot_product_attention":
            with self:  # written out, so that its softmax comes by here
                return scaled_dot_product_attention(*args, **kwargs)  # type: ignore[arg-type]
        body = opened(func)
        if body is not None and func not in self._open:
            self._open.append(func)
            try:
                with self:
                    return body(*args, **kwargs)
            finally:
                self._open.pop()
        result = func(*args, **kwargs)
        if name == "softmax" and isinstance(result, Tensor) and result.dim() == 4:
            return self._record(result)
        return result

    def _record(self, weights: Tensor) -> Tensor:
        if self._detach and not weights.requires_grad:
            weights = weights.detach().requires_grad_()
        self._visited.calls += 1
        self._visited.tensors = (*self._visited.tensors, weights)
        return weights.clone() if torch.is_grad_enabled() else weights
