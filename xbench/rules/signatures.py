"""Normalises calls: operands and options are passed by position where torch allows it.

`F.linear(input=x, weight=w)`, `F.linear(x, weight=w)` and `F.linear(x, w)` are the same call; so are `x.sum(axis=1)`
and `x.sum(1)`. Rules only need to know the last form, and the names of keyword-only arguments.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

# torch accepts NumPy's names; the first operand is "self" in its schemas.
_ALIASES = {"self": "input", "x": "input", "a": "input", "x1": "input", "x2": "other"}
_ALIASES |= {"axis": "dim", "keepdims": "keepdim"}


@cache
def _forms(name: str) -> list[tuple[list[str], set[str]]]:
    """The parameters of each overload of a torch operation: the positional ones, in order, and all names."""
    packet = getattr(torch.ops.aten, name, None)  # dunder names give Python's own methods, not operations
    forms = []
    for overload in packet.overloads() if isinstance(packet, torch._ops.OpOverloadPacket) else ():
        arguments = getattr(packet, overload)._schema.arguments
        names = ["input" if argument.name == "self" else argument.name for argument in arguments]
        positional = [name for name, argument in zip(names, arguments, strict=True) if not argument.kwarg_only]
        forms.append((positional, set(names)))
    return forms


def by_position(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same arguments of a compiled function, with keywords moved to their position if no earlier one is missing.

    Functions without a torch schema keep their keywords.
    """
    for positional, known in _forms(function.__name__.split(".")[0]):
        named = {key if key in known else _ALIASES.get(key, key): value for key, value in kwargs.items()}
        if named.keys() <= known and named.keys().isdisjoint(positional[: len(args)]):
            moved = list(args)
            for parameter in positional[len(args) :]:
                if parameter not in named:
                    break
                moved.append(named.pop(parameter))
            return tuple(moved), named
    return args, kwargs
