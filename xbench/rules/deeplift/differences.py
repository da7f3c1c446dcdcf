"""Gradients of differences: autograd functions whose backward explains y - y0 exactly by x - x0.

Inputs and references share one tensor (`pairs.PairAxis`). Inputs get the factors; the references' gradients are unused
and 0.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from xbench.rules.override import Context, RuleFunction
from xbench.rules.pairs import PairAxis

_ULPS = 4  # rounding error of the difference of two function values, in units in the last place


def _divided(rise: Tensor, run: Tensor, otherwise: Tensor, eps: float) -> Tensor:
    """rise / run; `otherwise` where the run is below eps, or where both ends are the same infinity."""
    return torch.where((run.abs() >= eps) & (run != 0), rise / run, otherwise)


def _slope(x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor], gradient: tuple[Tensor, Tensor], eps: float) -> Tensor:
    """(y - y0) / (x - x0), or the gradient where x and x0 are closer than eps or the same infinity.

    The mean of the two gradients is used where it explains y - y0 up to rounding: there it is more precise than the
    quotient of small differences. The rounding is that of y; where x and x0 agree in half of their digits, the rounding
    of x is added, because functions such as gelu are composed of it.
    """
    run, rise = x[0] - x[1], y[0] - y[1]
    mean = (gradient[0] + gradient[1]) / 2
    unit = torch.finfo(rise.dtype).eps
    size, distance, values = x[1].abs(), run.abs(), torch.maximum(y[0].abs(), y[1].abs())
    rounding = torch.where(distance > unit**0.5 * size, values, torch.maximum(values, size)).mul_(_ULPS * unit)
    explained = (mean * run - rise).abs() <= rounding
    return torch.where(explained & (distance >= eps), mean, _divided(rise, run, gradient[0], eps))


class Quotient(RuleFunction):
    """An elementwise function, with the difference quotient as its derivative."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, function: Callable[[Tensor], Tensor], place: PairAxis, eps: float) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            y = function(leaf)
            (gradient,) = torch.autograd.grad(y, leaf, torch.ones_like(y))
        y = y.detach()
        slope = _slope(place.sides(leaf.detach()), place.sides(y), place.sides(gradient), eps)
        # Only the slope is kept: it is no larger than the inputs, and x may be overwritten in place later.
        ctx.save_for_backward(slope)
        ctx.place = place
        return y

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (slope,) = ctx.saved_tensors
        return ctx.place.scale(grad, slope), None, None, None


class AtMean(RuleFunction):
    """A function linear in each of a and b, with its gradient at the mean of input and reference.

    a b - a0 b0 = (a - a0) (b + b0) / 2 + (b - b0) (a + a0) / 2
    """

    @staticmethod
    def forward(
        ctx: Context,
        a: Tensor,
        b: Tensor,
        function: Callable[[Tensor, Tensor], Tensor],
        places: tuple[PairAxis, PairAxis],
    ) -> Tensor:
        means = [sum(place.sides(operand)) / 2 for operand, place in zip((a, b), places, strict=True)]
        ctx.save_for_backward(*means)
        ctx.function, ctx.places = function, places
        return function(a, b)

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        # The rule may still be active here; these steps belong to the rule, not to the model.
        with torch.enable_grad(), torch._C.DisableTorchFunction():
            operands = [
                place.filled(mean).requires_grad_() for mean, place in zip(ctx.saved_tensors, ctx.places, strict=True)
            ]
            output = ctx.function(*operands)
        a, b = torch.autograd.grad(output, operands, grad)
        return a, b, None, None


class Ratio(RuleFunction):
    """y = a / b, where both depend on the input.

    From a = y b and a0 = y0 b0 with the product rule: y - y0 = ((a - a0) - (b - b0) (y + y0) / 2) / ((b + b0)
    / 2). Unlike the product a * (1 / b) at its mean, this is stable for a tiny b0, such as the deviation of a
    flat reference in a normalisation. Where the sign of b changes, that product is used instead.
    """

    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Tensor, place: PairAxis) -> Tensor:
        y = a / b
        (a1, a0), (b1, b0), (y1, y0) = (place.sides(tensor) for tensor in (a, b, y))
        same = (b1 > 0) == (b0 > 0)
        for_a = torch.where(same, 2 / (b1 + b0), (1 / b1 + 1 / b0) / 2)
        for_b = -torch.where(same, (y1 + y0) / (b1 + b0), (a1 + a0) / 2 / b1 / b0)
        ctx.save_for_backward(for_a, for_b)
        ctx.place, ctx.shapes = place, (a.shape, b.shape)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        factors = zip(ctx.saved_tensors, ctx.shapes, strict=True)
        return *(ctx.place.scale(grad, factor).sum_to_size(shape) for factor, shape in factors), None


class Larger(RuleFunction):
    """The larger of a and b: b + relu(a - b), without intermediate rounding."""

    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Tensor, place: PairAxis) -> Tensor:
        (a1, a0), (b1, b0) = place.sides(a), place.sides(b)
        lead, lead0 = a1 - b1, a0 - b0
        ahead, same, change = lead > 0, (lead > 0) == (lead0 > 0), lead - lead0
        shares = (
            torch.where(same, ahead.to(change), (lead.clamp(min=0) - lead0.clamp(min=0)) / change),
            torch.where(same, (~ahead).to(change), (lead.clamp(max=0) - lead0.clamp(max=0)) / change),
        )
        ctx.save_for_backward(*shares)
        ctx.place, ctx.shapes = place, (a.shape, b.shape)
        return torch.maximum(a, b)

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        shares = zip(ctx.saved_tensors, ctx.shapes, strict=True)
        return *(ctx.place.scale(grad, share).sum_to_size(shape) for share, shape in shares), None


class CrossMaximum(RuleFunction):
    """A maximum over windows of the last dimension: x (..., L) -> y (..., K) with y = x at `index` (..., K).

    In each window the whole difference y - y0 goes to one position p, that of the larger of the two maxima. There
    |x_p - x0_p| >= |y - y0|, so the slope is between 0 and 1. Overlapping windows add up.
    """

    @staticmethod
    def forward(ctx: Context, x: Tensor, y: Tensor, index: Tensor, place: PairAxis, eps: float) -> Tensor:
        (x1, x0), (y1, y0), (index1, index0) = (place.sides(tensor) for tensor in (x, y, index))
        position = torch.where(y1 >= y0, index1, index0)
        run = x1.gather(-1, position) - x0.expand_as(x1).gather(-1, position)
        slope = _divided(y1 - y0, run, torch.ones_like(y1), eps)  # a maximum copies a value: there is no rounding
        ctx.save_for_backward(position, slope)
        ctx.place, ctx.length = place, x.size(-1)
        return y.clone()

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        position, slope = ctx.saved_tensors
        scaled = ctx.place.scale(grad, slope)
        zeros = scaled.new_zeros(*scaled.shape[:-1], ctx.length)
        return zeros.scatter_add(-1, ctx.place.filled(position), scaled), None, None, None, None
