"""The mode that applies relevance rules to a model: one forward pass, then relevance instead of gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from xbench.rules import operations
from xbench.rules.errors import UnknownOperation
from xbench.rules.hooked import is_passed_on
from xbench.rules.lrp.layers import Layer
from xbench.rules.lrp.presets import Composite
from xbench.rules.lrp.propagate import Passed, SharedOut, Shares, in_proportion, of_operands
from xbench.rules.lrp.rows import Rows
from xbench.rules.lrp.rules import LayerRule
from xbench.rules.override import Call, Override, Unknown, canonical_name, public_name, refuse_if_used, tensors_in

# A handler runs one call, given its tensors that carry relevance, and returns the result.
Handler = Callable[["Relevance", Call, list[Tensor]], object]

LAYERS = operations.CONVOLUTIONS | {"linear"}
_DEEPENING = LAYERS | operations.PRODUCTS - {"mul"}

# These add to existing values instead of moving them.
_ADDING = {"index_add", "scatter_add"}
# Relevance of complex numbers is not defined here.
COMPLEX = {"view_as_real", "view_as_complex", "real", "imag", "conj", "conj_physical", "stft", "istft"}
# Each result is one value of the input, or a constant: relevance moves like gradients.
MOVING = (operations.SAME_ORDER - operations.DROPOUTS | operations.MOVES) - _ADDING - COMPLEX | {
    *("where", "masked_fill", "tril", "triu", "copy", "fill", "zero"),
    *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "im2col"),
}
# These preserve the origin of a tensor, for finding gates.
_KEEPING = MOVING | operations.DROPOUTS | {"mul", "div", "to"}


class Mark(NamedTuple):
    """Facts remembered about a tensor.

    deep: whether a linear layer lies between the explained input and the tensor.
    origin: the operation that computed the tensor; moving and scaling do not count.
    refused: the first operation without a rule on the way to the tensor, and the reason.
    """

    deep: bool = False
    origin: str = ""
    refused: tuple[str, str] | None = None


class Pending(NamedTuple):
    """A linear layer that a batch norm may follow: the layer, its input, and the version of its output."""

    call: Call
    layer: Layer
    rule: LayerRule
    x: Tensor
    version: int


class Relevance(Override):
    """Runs a table of handlers by operation name; operations without one are refused."""

    title = "LRP"
    fallback = "sharing in proportion to input times gradient"

    def __init__(self, composite: Composite, table: Mapping[str, Handler], unknown: Unknown) -> None:
        super().__init__(unknown)
        self.composite = composite
        self.preceded = False  # whether layers ran before the points entered: no later one is first
        # Inside an operation, a step on constants, such as an initial state, does not count as an earlier layer.
        self.inside = False
        self.pending = WeakTensorKeyDictionary()
        self._table = table
        self._marks = WeakTensorKeyDictionary()
        self._rows = Rows()
        self._calls: list[str] = []  # the running operation, followed by its steps

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        if not self.preceded and not self.inside and canonical_name(func)[0] in LAYERS:
            self.preceded = not any(tensor.requires_grad for tensor in tensors_in((args, kwargs or {})))
        return super().__torch_function__(func, types, args, kwargs)

    def derives(self, tensor: Tensor) -> bool:
        return tensor in self._marks

    def mark(self, tensor: Tensor) -> Mark:
        mark: Mark = self._marks.get(tensor, Mark())
        return mark

    def explains(self, tensor: Tensor, name: str) -> bool:
        if is_passed_on(tensor):
            self._rows.passed_on(tensor)
        return super().explains(tensor, name)

    def handle(self, call: Call) -> object:
        self._calls.append(call.name)
        try:
            return self._handled(call)
        except UnknownOperation as refusal:
            if len(self._calls) > 1 or call.in_place:
                raise
            return self._refuse(call, refusal.reason)
        finally:
            self._calls.pop()

    def _refuse(self, call: Call, reason: str) -> object:
        """Run the plain operation; relevance that reaches its result is an error."""
        result = call.run()
        results = [tensor for tensor in tensors_in(result) if all(tensor is not operand for operand in call.operands())]
        first = next(filter(None, (self.mark(tensor).refused for tensor in call.operands())), None)
        refused = first or (public_name(call.name), reason)
        for tensor in results:
            self._marks[tensor] = Mark(refused=refused)

        def refuse() -> None:
            raise UnknownOperation(*refused)

        refuse_if_used(results, refuse)
        return result

    def _handled(self, call: Call) -> object:
        target = None
        if call.in_place and call.name not in MOVING:
            target = call.args[0]
            call = replace(call, function=_beside(call.function))
        active = [tensor for tensor in call.operands() if tensor.requires_grad]
        handler = self._table.get(call.name) if active else None
        result = self._other(call, active) if handler is None else handler(self, call, active)
        if target is not None and isinstance(result, Tensor):
            result = target.copy_(result)
        results = [call.args[0]] if result is None else list(tensors_in(result))
        self._remember(call, active, results)
        if active:
            self._watch(call, active, results)
        return result

    def _watch(self, call: Call, active: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        """Refuse a result that mixes samples, once relevance reaches it."""
        culprit = self._rows.mixed(call, active, results)
        if culprit is not None:
            named = self._calls[0] if culprit == call.name else culprit
            reason = "it mixes the samples of a batch, so that relevance of one would go to others"
            refuse_if_used(results, lambda: self.complain(public_name(named), reason))

    def linear(self, call: Call, active: Sequence[Tensor], factors: int = 1) -> object:
        """Distribute relevance in proportion to each element's contribution to the result; see `in_proportion`."""
        operands = list({id(tensor): tensor for tensor in active}.values())
        function = of_operands(call, operands)
        return self.shared(call, in_proportion(function, self.composite.stabilizer, factors), *operands)

    def shared(self, call: Call, shares: Shares, *operands: Tensor) -> object:
        """Distribute the result's relevance among the operands by `shares`."""
        # Keep the values of operands that are overwritten later.
        kept = [tensor.clone() if call.in_place and tensor is call.args[0] else tensor for tensor in operands]
        return SharedOut.apply(call.run, shares, *kept)

    def passed(self, call: Call, *operands: Tensor, keep: Tensor | None = None) -> object:
        """Give all operands the same part of the relevance, independent of their values; see `Passed`."""
        return Passed.apply(call.run, 1 / len(operands), keep, *operands)

    def _other(self, call: Call, active: Sequence[Tensor]) -> object:
        """An operation without a handler; refused if gradients pass through it."""
        result = call.run()
        if not any(tensor.requires_grad for tensor in tensors_in(result)):
            return result
        self.complain(call.name, "it is not linear or elementwise, and has no rule")
        return self.linear(call, active) if isinstance(result, Tensor) else result

    def _remember(self, call: Call, active: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        # If a handler decomposes an operation, its steps arrive here first.
        deep = call.name in _DEEPENING or any(self.mark(tensor).deep for tensor in (*active, *results))
        origin = call.name
        if origin in _KEEPING and len(active) == 1:
            divided = origin == "div" and active[0] is not call.args[0]
            origin = "reciprocal" if divided else self.mark(active[0]).origin
        refused = next(filter(None, (self.mark(tensor).refused for tensor in active)), None)
        for tensor in results:
            self._marks[tensor] = Mark(deep, origin, refused)


def _beside(function: Callable[..., object]) -> Callable[..., object]:
    """Turn an in-place function into one that writes into a copy of its first argument and returns the copy."""

    def result(first: Tensor, *args: object, **kwargs: object) -> Tensor:
        copy = first.clone()
        function(copy, *args, **kwargs)
        return copy

    return result


def arguments(call: Call, *names: str) -> dict[str, Any]:
    """The first arguments of a call by name, whether given by position or by keyword."""
    return dict(zip(names, call.args, strict=False)) | call.kwargs


def scoped(function: Callable[..., object]) -> Handler:
    """A handler that runs `function` with the rule active, so that each of its steps has its own handler."""

    def handler(mode: Relevance, call: Call, active: list[Tensor]) -> object:
        outside, mode.inside = mode.inside, True
        try:
            with mode, torch.enable_grad():
                result = function(*call.args, **call.kwargs)
        finally:
            mode.inside = outside
        if result is NotImplemented:
            mode.complain(call.name, "it has no rule with these arguments")
            return call.run()
        return result

    return handler
