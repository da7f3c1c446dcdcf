"""Attention weights as a place in the model: every softmax(q k') of a forward pass, in any implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xbench.core.sites import Visit
from xbench.rules.composites import attention_weights
from xbench.rules.override import canonical_name, opened
from xbench.rules.signatures import by_position


@dataclass(frozen=True)
class AttentionWeights:
    """All attention weights, (rows, heads, queries, keys) each, in the order of the forward pass. See `sites.Place`.

    Recorded are scaled dot-product attention (fused or in `nn.MultiheadAttention`), and any softmax over the last
    dimension of a tensor with four. Attention inside custom compiled code is not recorded.
    """

    def __str__(self) -> str:
        return "attention weights"

    @contextmanager
    def watch(self, model: nn.Module, *, detach: bool = False) -> Iterator[Visit]:
        visited = Visit()
        with _Recorder(visited, detach):
            yield visited


class _Recorder(TorchFunctionMode):
    """Records attention weights; fused attention is replaced by its steps, which compute the weights."""

    def __init__(self, visited: Visit, detach: bool) -> None:
        super().__init__()
        self._visited = visited
        self._detach = detach
        self._open: list[Callable[..., object]] = []
        self._heads: int | None = None  # inside multi-head attention, whose first dimension holds the heads

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
            return self._attention(*args, **kwargs)  # type: ignore[arg-type]
        body = opened(func)
        if body is not None and func not in self._open:
            self._open.append(func)
            heads = self._heads
            if name == "multi_head_attention_forward":
                self._heads = kwargs["num_heads"] if "num_heads" in kwargs else args[4]  # type: ignore[assignment]
            try:
                with self:
                    return body(*args, **kwargs)
            finally:
                self._open.pop()
                self._heads = heads
        result = func(*args, **kwargs)
        if name == "softmax" and isinstance(result, Tensor):
            (_, dim, *_), _ = by_position(func, args, kwargs)
            return self._softmax(result) if dim in (-1, result.dim() - 1) else result
        return result

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        weights = attention_weights(query, key, attn_mask, is_causal, scale, enable_gqa)
        if weights.dim() in (3, 4):  # three dimensions: one head
            weights = self._record(weights.reshape(len(weights), -1, *weights.shape[-2:])).reshape(weights.shape)
        weights = torch.dropout(weights, dropout_p, dropout_p > 0)
        return weights @ (value.repeat_interleave(query.size(-3) // value.size(-3), -3) if enable_gqa else value)

    def _softmax(self, result: Tensor) -> Tensor:
        if result.dim() == 4:
            return self._record(result)
        if result.dim() == 3 and self._heads is not None:
            return self._record(result.unflatten(0, (-1, self._heads))).flatten(0, 1)
        return result

    def _record(self, weights: Tensor) -> Tensor:
        if self._detach and not weights.requires_grad:
            weights = weights.detach().requires_grad_()
        self._visited.calls += 1
        self._visited.tensors = (*self._visited.tensors, weights)
        return weights.clone() if torch.is_grad_enabled() else weights
