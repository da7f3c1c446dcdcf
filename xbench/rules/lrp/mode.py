"""The mode that brings relevance rules to a model: one forward pass, then relevance instead of gradients."""

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

# What a rule does at one call, given the tensors in it that carry relevance; returns the call's result.
Handler = Callable[["Relevance", Call, list[Tensor]], object]

LAYERS = operations.CONVOLUTIONS | {"linear"}
_DEEPENING = LAYERS | operations.PRODUCTS - {"mul"}

# They add to what is there instead of moving it.
_ADDING = {"index_add", "scatter_add"}
# Relevance of complex numbers is not defined here.
COMPLEX = {"view_as_real", "view_as_complex", "real", "imag", "conj", "conj_physical", "stft", "istft"}
# Each result is one value of the input, or a constant: relevance moves as gradients do.
MOVING = (operations.SAME_ORDER - operations.DROPOUTS | operations.MOVES) - _ADDING - COMPLEX | {
    *("where", "masked_fill", "tril", "triu", "copy", "fill", "zero"),
    *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "im2col"),
}
# What comes out of these is still what went in, as far as gates are concerned.
_KEEPING = MOVING | operations.DROPOUTS | {"mul", "div", "to"}


class Mark(NamedTuple):
    """What is remembered of a tensor.

    deep: a linear layer lies between the explained input and it.
    origin: the operation that made it; moving and scaling do not count.
    refused: the first operation without a rule that it was made by, and why.
    """

    deep: bool = False
    origin: str = ""
    refused: tuple[str, str] | None = None


class Pending(NamedTuple):
    """A linear layer that a batch norm may follow: which it is, its input, and the version of its output."""

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
        self.preceded = False  # layers ran before the points entered: none that follows is the model's first
        # In the steps of an operation: one on constants, such as a first state, is no layer that ran before.
        self.inside = False
        self.pending = WeakTensorKeyDictionary()
        self._table = table
        self._marks = WeakTensorKeyDictionary()
        self._rows = Rows()
        self._calls: list[str] = []  # the operation that runs and, behind it, its steps

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
        """The plain operation, whose result no relevance may reach."""
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
        """Refuse what would send relevance to other samples, once relevance reaches it."""
        culprit = self._rows.mixed(call, active, results)
        if culprit is not None:
            named = self._calls[0] if culprit == call.name else culprit
            reason = "it mixes the samples of a batch, so that relevance of one would go to others"
            refuse_if_used(results, lambda: self.complain(public_name(named), reason))

    def linear(self, call: Call, active: Sequence[Tensor], factors: int = 1) -> object:
        """Relevance in proportion to what each element adds to the result; see `in_proportion`."""
        operands = list({id(tensor): tensor for tensor in active}.values())
        function = of_operands(call, operands)
        return self.shared(call, in_proportion(function, self.composite.stabilizer, factors), *operands)

    def shared(self, call: Call, shares: Shares, *operands: Tensor) -> object:
        """The operands take what `shares` says of the result's relevance."""
        # What is written to later is needed as it was.
        kept = [tensor.clone() if call.in_place and tensor is call.args[0] else tensor for tensor in operands]
        return SharedOut.apply(call.run, shares, *kept)

    def passed(self, call: Call, *operands: Tensor, keep: Tensor | None = None) -> object:
        """All operands take the same part of the relevance, whatever their values; see `Passed`."""
        return Passed.apply(call.run, 1 / len(operands), keep, *operands)

    def _other(self, call: Call, active: Sequence[Tensor]) -> object:
        """An operation without a handler; refused when gradients pass through it."""
        result = call.run()
        if not any(tensor.requires_grad for tensor in tensors_in(result)):
            return result
        self.complain(call.name, "it is not linear or elementwise, and has no rule")
        return self.linear(call, active) if isinstance(result, Tensor) else result

    def _remember(self, call: Call, active: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        # A handler that takes an operation apart comes here for each of its steps first.
        deep = call.name in _DEEPENING or any(self.mark(tensor).deep for tensor in (*active, *results))
        origin = call.name
        if origin in _KEEPING and len(active) == 1:
            divided = origin == "div" and active[0] is not call.args[0]
            origin = "reciprocal" if divided else self.mark(active[0]).origin
        refused = next(filter(None, (self.mark(tensor).refused for tensor in active)), None)
        for tensor in results:
            self._marks[tensor] = Mark(deep, origin, refused)


def _beside(function: Callable[..., object]) -> Callable[..., object]:
    """An in-place function that writes into a copy of its first argument instead, and gives that."""

    def result(first: Tensor, *args: object, **kwargs: object) -> Tensor:
        copy = first.clone()
        function(copy, *args, **kwargs)
        return copy

    return result


def arguments(call: Call, *names: str) -> dict[str, Any]:
    """The first arguments of a call by name, whichever way they were given."""
    return dict(zip(names, call.args, strict=False)) | call.kwargs


def scoped(function: Callable[..., object]) -> Handler:
    """A handler that runs `function` with the rule in force, so that each of its steps has its own handler."""

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
