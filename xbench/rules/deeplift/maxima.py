"""DeepLIFT-Rescale handlers for maxima and minima of windows, dimensions and pairs of tensors."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from xbench.rules.deeplift.differences import CrossMaximum, Larger
from xbench.rules.deeplift.paired import Paired
from xbench.rules.deeplift.rescale import elementwise
from xbench.rules.override import Call


def larger_or_smaller(mode: Paired, call: Call, active: list[Tensor]) -> object:
    if len(active) == 1:
        return elementwise(mode, call, active)
    a, b = active
    place = mode.place(call, a)
    if place is None or mode.place(call, b) != place:
        return mode.plain(call, active)
    if "max" in call.name:
        return mode.finish(call, Larger.apply(a, b, place), active)
    return mode.finish(call, -Larger.apply(-a, -b, place), active)


def extremum(mode: Paired, call: Call, active: list[Tensor]) -> object:
    """max and min in their three forms: of a whole tensor, along a dimension, of two tensors."""
    values = dict(zip(("input", "dim", "keepdim"), call.args, strict=False)) | call.kwargs
    x, dim = values["input"], values.get("dim", values.get("other"))
    with mode:
        if isinstance(dim, Tensor):
            return getattr(torch, f"{call.name}imum")(x, dim)
        if dim is None:
            return getattr(torch, f"a{call.name}")(x)
        sign = 1 if call.name == "max" else -1
        last = (x * sign).movedim(dim, -1)
    place = mode.place(call, last)
    if place is not None and place.dim == -1:
        mode.complain(call.name, "it runs over the dimension of the examples")
    if place is None or place.dim == -1:
        return mode.plain(call, active)
    largest, index = last.max(-1, keepdim=True)
    picked = CrossMaximum.apply(last, largest, index, place, mode.eps)
    mode.remember(picked, place.outer(picked.shape))
    mode.remember(index, place.outer(index.shape))
    with mode:
        picked, index = (picked * sign).movedim(-1, dim), index.movedim(-1, dim)
        if not values.get("keepdim", False):
            picked, index = picked.squeeze(dim), index.squeeze(dim)
    return getattr(torch.return_types, call.name)((picked, index))


def max_pool(mode: Paired, call: Call, active: list[Tensor]) -> object:
    x, name = active[0], call.name.removesuffix("_with_indices")
    kwargs = {key: value for key, value in call.kwargs.items() if key != "return_indices"}
    # torch's compiled adaptive pooling always returns indices.
    always = name.startswith("adaptive") and not hasattr(call.function, "__code__")
    with_indices = call.kwargs.get("return_indices", always or call.name != name)
    place = mode.place(call, x)
    if place is None:
        return mode.plain(call, active)
    y, index = getattr(F, name)(*call.args, **kwargs, return_indices=True)
    dims = int(name[-2])
    if place.dim >= -dims:
        mode.complain(call.name, "the pool runs over the dimension of the examples")
        return mode.plain(call, active)
    flat = replace(place, dim=place.dim + dims - 1)
    windows = (tensor.flatten(-dims) for tensor in (x, y, index))
    picked = CrossMaximum.apply(*windows, flat, mode.eps).view(y.shape)
    for result in (picked, index):
        mode.remember(result, place.outer(y.shape))
    return (picked, index) if with_indices else picked
