"""DeepLIFT-Rescale handlers for each kind of operation; maxima are in `maxima`.

Every function takes the mode, the call, and the tensors in the call that carry gradients (`paired.Rule`).
"""

import torch
from torch import Tensor

from xbench.rules.composites import COMPOSITES
from xbench.rules.deeplift.differences import AtMean, Quotient, Ratio
from xbench.rules.deeplift.exponentials import LogSoftmax, LogSumExp, Softmax
from xbench.rules.deeplift.paired import Paired
from xbench.rules.override import Call

_EXPONENTIALS = {"logsumexp": LogSumExp, "log_softmax": LogSoftmax, "softmax": Softmax}


def elementwise(mode: Paired, call: Call, active: list[Tensor]) -> object:
    x = active[0]
    if any(tensor is not x for tensor in active):
        mode.complain(call.name, "two of its operands depend on the input")
        return mode.plain(call, active)
    place = mode.place(call, x)
    if x.is_complex():
        mode.complain(call.name, "it has no rule for complex numbers")
    if place is None or x.is_complex():
        return mode.plain(call, active)

    def function(leaf: Tensor) -> Tensor:
        operand = leaf.clone() if call.in_place else leaf
        value: Tensor = call.with_arguments(lambda tensor: operand if tensor is x else tensor).run()
        return value

    return mode.finish(call, Quotient.apply(x, function, place, mode.eps), active)


def product(mode: Paired, call: Call, active: list[Tensor]) -> object:
    if len(active) == 1:
        return mode.linear(call, active)
    for factor, other in (active, active[::-1]):
        divisor = _divisor(mode, factor)
        if call.name == "mul" and divisor is not None:  # x * rsqrt(...), a common form of normalisation
            return _ratio(mode, call, other, divisor)
    if len(active) > 2:
        mode.complain(call.name, f"{len(active)} of its operands depend on the input; a rule exists for two")
        return mode.plain(call, active)
    places = mode.place(call, active[0]), mode.place(call, active[1])
    if None in places:
        return mode.plain(call, active)

    # The function is kept until backward; it must keep only the positions of the factors, not the tensors.
    blank = torch.empty(0)
    template = call.with_arguments(lambda tensor: blank if tensor.requires_grad else tensor)

    def function(a: Tensor, b: Tensor) -> Tensor:
        factors = iter((a.clone() if call.in_place else a, b))
        product: Tensor = template.with_arguments(lambda t: next(factors) if t is blank else t).run()
        return product

    return mode.finish(call, AtMean.apply(*active, function, places), active)


def div(mode: Paired, call: Call, active: list[Tensor]) -> object:
    numerator, divisor = call.args[:2]
    if call.kwargs.get("rounding_mode") is not None:
        return elementwise(mode, call, active)
    if len(active) == 2:
        return _ratio(mode, call, numerator, divisor)
    if active[0] is numerator:
        return mode.linear(call, active)
    with mode:
        return numerator * divisor.reciprocal()


def _ratio(mode: Paired, call: Call, numerator: Tensor, divisor: Tensor) -> object:
    place = mode.place(call, numerator)
    if place is None or mode.place(call, divisor) != place:
        return mode.plain(call, [numerator, divisor])
    return mode.finish(call, Ratio.apply(numerator, divisor, place), [numerator, divisor])


def modulus(mode: Paired, call: Call, active: list[Tensor]) -> object:
    if not active[0].is_complex():
        return elementwise(mode, call, active)
    with mode:
        parts = torch.view_as_real(active[0])
        # Without the addend, silence (input and baseline both 0) would have the slope 0 * infinity.
        return ((parts * parts).sum(-1) + torch.finfo(parts.dtype).tiny).sqrt()


def reciprocal(mode: Paired, call: Call, active: list[Tensor]) -> object:
    result = elementwise(mode, call, active)
    if not call.in_place and isinstance(result, Tensor):
        mode.divisors[result] = (active[0], result._version, active[0]._version)
    return result


def _divisor(mode: Paired, factor: Tensor) -> Tensor | None:
    """The tensor whose reciprocal is `factor`; None if either has been overwritten since."""
    divisor, *versions = mode.divisors.get(factor, (None,))
    return divisor if divisor is not None and versions == [factor._version, divisor._version] else None


def reciprocal_root(mode: Paired, call: Call, active: list[Tensor]) -> object:
    with mode:
        return active[0].sqrt().reciprocal()


def linear(mode: Paired, call: Call, active: list[Tensor]) -> object:
    if len(active) == 1 and active[0] is call.args[0]:
        return mode.linear(call, active)
    return composite(mode, call, active)


def composite(mode: Paired, call: Call, active: list[Tensor]) -> object:
    with mode:
        result = COMPOSITES[call.name](*call.args, **call.kwargs)
    if result is NotImplemented:
        mode.complain(call.name, "it has no rule with these arguments")
        return mode.plain(call, active)
    return result


def exponentials(mode: Paired, call: Call, active: list[Tensor]) -> object:
    """logsumexp, softmax and log_softmax."""
    values = dict(zip(("input", "dim", "keepdim"), call.args, strict=False)) | call.kwargs
    x, dims = active[0], values["dim"]
    if isinstance(values.get("dtype"), torch.dtype):
        with mode:
            x = x.to(values["dtype"])
    place = mode.place(call, x)
    dim = dims if isinstance(dims, int) else dims[0] if len(dims) == 1 else None
    if dim is None or (place is not None and dim % x.ndim == x.ndim + place.dim):
        mode.complain(call.name, "it has a rule for one dimension, other than that of the examples")
        return mode.plain(call, active)
    if place is None:
        return mode.plain(call, active)
    y = _EXPONENTIALS[call.name].apply(x, dim % x.ndim - x.ndim, place)
    mode.remember(y, place.outer(y.shape))
    with mode:
        return y.squeeze(dim) if call.name == "logsumexp" and not values.get("keepdim", False) else y


def per_example(mode: Paired, call: Call, active: list[Tensor]) -> object:
    if len(active) > 1 or active[0] is not call.args[0]:
        mode.complain(call.name, "an operand other than the first depends on the input")
        return mode.plain(call, active)
    training = call.kwargs.get("training", call.args[5] if len(call.args) > 5 else False)
    if call.name == "batch_norm" and training:
        mode.complain(call.name, "in training mode it mixes examples; call model.eval()")
    return mode.linear(call, active)


def dropout(mode: Paired, call: Call, active: list[Tensor]) -> object:
    if call.kwargs.get("train", call.args[2] if len(call.args) > 2 else True):
        mode.complain(call.name, "it is random in training mode; call model.eval()")
    return mode.linear(call, active)


def packed(mode: Paired, call: Call, active: list[Tensor]) -> object:
    reason = "it merges steps and examples in one dimension; give the recurrent layer the padded sequences instead"
    mode.complain(call.name, reason)
    return mode.plain(call, active)
