"""Gradients of differences: autograd functions whose backward explains y - y0 exactly by x - x0.

Each holds for inputs and references in one tensor (`pairs.Place`). Inputs get the factors; the references' gradients
are of no use, and 0.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xbench.rules.override import RuleFunction
from xbench.rules.pairs import Place

Context = Any  # autograd's contexts take any attribute


def _slope(x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, gradient: Tensor, eps: float) -> Tensor:
    """(y - y0) / (x - x0), or the gradient where x and x0 are closer than eps or the same infinity.

    Also where they agree in half their digits: there rounding of y spoils the quotient by more than the gradient
    differs from it.
    """
    difference = x - x0
    digits = x.abs().mul_(torch.finfo(x.dtype).eps ** 0.5).clamp_(min=eps)  # where it decides, |x0| is nearly |x|
    apart = difference.abs() >= digits  # not so for the same infinities, whose difference is NaN
    return torch.where(apart, (y - y0).div_(difference), gradient)


class Quotient(RuleFunction):
    """An elementwise function, with the difference quotient as its derivative."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, function: Callable[[Tensor], Tensor], place: Place, eps: float) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            y = function(leaf)
            (gradient,) = torch.autograd.grad(y, leaf, torch.ones_like(y))
        y = y.detach()
        slope = _slope(*place.sides(leaf.detach()), *place.sides(y), place.sides(gradient)[0], eps)
        # Only the slope is kept: it is no larger than the inputs in x, and x may be overwritten in place later.
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
        places: tuple[Place, Place],
    ) -> Tensor:
        means = [sum(place.sides(operand)) / 2 for operand, place in zip((a, b), places, strict=True)]
        ctx.save_for_backward(*means)
        ctx.function, ctx.places = function, places
        return function(a, b)

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        # The rule may still be in force here; these are steps of its own, not of the model.
        with torch.enable_grad(), torch._C.DisableTorchFunction():
            operands = [
                place.filled(mean).requires_grad_() for mean, place in zip(ctx.saved_tensors, ctx.places, strict=True)
            ]
            output = ctx.function(*operands)
        a, b = torch.autograd.grad(output, operands, grad)
        return a, b, None, None


class Ratio(RuleFunction):
    """a / b, where both depend on the input.

    From a = y b and a0 = y0 b0 with the product rule: y - y0 = ((a - a0) - (b - b0) (y + y0) / 2) / ((b + b0)
    / 2). Unlike the product a * (1 / b) at its mean, nothing blows up when b0 is tiny, as the deviation of a
    flat reference in a normalisation is. Where the sign of b changes, that product is used instead.
    """

    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Tensor, place: Place) -> Tensor:
        (a1, a0), (b1, b0) = place.sides(a), place.sides(b)
        share = torch.where(b1 * b0 > 0, b1 / (b1 + b0), 0.5)
        for_a = share / b1 + (1 - share) / b0
        for_b = -((1 - share) * a1 + share * a0) / (b1 * b0)
        ctx.save_for_backward(for_a, for_b)
        ctx.place, ctx.shapes = place, (a.shape, b.shape)
        return a / b

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        factors = zip(ctx.saved_tensors, ctx.shapes, strict=True)
        return *(ctx.place.scale(grad, factor).sum_to_size(shape) for factor, shape in factors), None


class CrossMaximum(RuleFunction):
    """A maximum over windows of the last dimension: x (..., L) -> y (..., K) with y = x at `index` (..., K).

    In each window the whole difference y - y0 is given to one position p: where the larger of the two maxima
    is. There |x_p - x0_p| >= |y - y0|, so that the slope is between 0 and 1. Windows that overlap add up.
    """

    @staticmethod
    def forward(ctx: Context, x: Tensor, y: Tensor, index: Tensor, place: Place, eps: float) -> Tensor:
        (x1, x0), (y1, y0), (index1, index0) = (place.sides(tensor) for tensor in (x, y, index))
        position = torch.where(y1 >= y0, index1, index0)
        slope = _slope(x1.gather(-1, position), x0.expand_as(x1).gather(-1, position), y1, y0, torch.ones_like(y1), eps)
        ctx.save_for_backward(position, slope)
        ctx.place, ctx.length = place, x.size(-1)
        return y.clone()

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        position, slope = ctx.saved_tensors
        scaled = ctx.place.scale(grad, slope)
        zeros = scaled.new_zeros(*scaled.shape[:-1], ctx.length)
        return zeros.scatter_add(-1, ctx.place.filled(position), scaled), None, None, None, None


class LogSumExp(RuleFunction):
    """log(sum(exp(x))) along a dimension (kept, of size 1), under the quotient rule for exp and for log.

    The multiplier of x_j is M(exp x_j, exp x0_j) / M(sum exp x, sum exp x0), where M(a, b) = (a - b) / (log a
    - log b) is the logarithmic mean. It is between 0 and 1, and does not change when x and x0 are shifted
    together, so it is computed from logarithms, without overflow.
    """

    @staticmethod
    def forward(ctx: Context, x: Tensor, dim: int, place: Place) -> Tensor:
        y = x.logsumexp(dim, keepdim=True)
        logarithm = _log_of_mean(*place.sides(x))
        # A value of minus infinity (masked) has no weight, even where all values are.
        weight = (logarithm - _log_of_mean(*place.sides(y))).exp().masked_fill(logarithm == -torch.inf, 0.0)
        ctx.save_for_backward(weight)
        ctx.place = place
        return y

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return ctx.place.scale(grad, weight), None, None


def _log_of_mean(a: Tensor, b: Tensor) -> Tensor:
    """log M(exp a, exp b)."""
    distance = (a - b).abs()
    ratio = torch.where((a == b) | (distance == 0), 1.0, -torch.expm1(-distance) / distance)
    return torch.maximum(a, b) + ratio.log()
