"""Gradients of differences at sums of exponentials: log-sum-exp, softmax and its logarithm.

With p = softmax(x), and q_j = (p_j - p0_j) / (log p_j - log p0_j) the logarithmic means of the two sides, all three
follow from the quotient rule for exp and for log, taken at the logarithms of p, whose exponentials sum to 1:

    log(sum(exp(x)))    w_j = q_j / sum(q)
    log softmax(x)_i    [i = j] - w_j
    softmax(x)_i        q_i ([i = j] - w_j)

The differences are explained exactly: sum(q_j (log p_j - log p0_j)) = 0, so sum(w_j (x_j - x0_j)) is the difference of
the log-sum-exp. For x = x0 these are the gradients; like the gradients they are invariant to shifts of x or x0. Small
numbers are computed from small numbers, never as a difference of logits or of shares near 1, so single precision
suffices for logits of any size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xbench.rules.override import Context, RuleFunction
from xbench.rules.pairs import PairAxis


def _within(place: PairAxis, dim: int) -> int:
    """The index, from the back, of a tensor's dimension in the sides into which `place` splits the tensor."""
    return dim if dim > place.dim else dim - 2


def _means(x: Tensor, dim: int, place: PairAxis) -> Tensor:
    """The logarithmic means q of softmax(x) at inputs and references: (1 - exp(-r)) / r times the larger of two."""
    (x1, x0), (log1, log0) = place.sides(x), place.sides(x.log_softmax(dim))
    ratio = (log1 - log0).abs_()
    means = torch.maximum(log1, log0).exp_() * torch.where(ratio == 0, 1.0, -torch.expm1(-ratio) / ratio)
    # A value of minus infinity (masked) has no share, even if all values are masked.
    return means.masked_fill_((x1 == -torch.inf) | (x0 == -torch.inf), 0.0)


def _shares(means: Tensor, dim: int) -> Tensor:
    total = means.sum(dim, keepdim=True)
    return means / total.masked_fill(total == 0, 1.0)


class LogSumExp(RuleFunction):
    """log(sum(exp(x))) along a dimension (from the back), which is kept with size 1."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, dim: int, place: PairAxis) -> Tensor:
        ctx.save_for_backward(_shares(_means(x, dim, place), _within(place, dim)))
        ctx.place = place
        return x.logsumexp(dim, keepdim=True)

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor, None, None]:
        (shares,) = ctx.saved_tensors
        return ctx.place.scale(grad, shares), None, None


class LogSoftmax(RuleFunction):
    """log(softmax(x)) along a dimension (from the back)."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, dim: int, place: PairAxis) -> Tensor:
        ctx.save_for_backward(_shares(_means(x, dim, place), _within(place, dim)))
        ctx.place, ctx.dim = place, _within(place, dim)
        return x.log_softmax(dim)

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor, None, None]:
        (shares,) = ctx.saved_tensors
        own, _ = ctx.place.sides(grad)
        largest = shares.argmax(ctx.dim, keepdim=True)
        others = shares.scatter(ctx.dim, largest, 0.0).sum(ctx.dim, keepdim=True)
        rest = (1 - shares).scatter_(ctx.dim, largest, others)
        slope = own * rest - shares * (own.sum(ctx.dim, keepdim=True) - own)
        return ctx.place.only(slope), None, None


class Softmax(RuleFunction):
    """softmax(x) along a dimension (from the back)."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, dim: int, place: PairAxis) -> Tensor:
        ctx.save_for_backward(_means(x, dim, place))
        ctx.place, ctx.dim = place, _within(place, dim)
        return x.softmax(dim)

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor, None, None]:
        (means,) = ctx.saved_tensors
        own, _ = ctx.place.sides(grad)
        # Gradients are invariant to a shift; this shift makes that of the largest probability, which may be near 1,
        # exact.
        own = own - own.gather(ctx.dim, means.argmax(ctx.dim, keepdim=True))
        average = (own * _shares(means, ctx.dim)).sum(ctx.dim, keepdim=True)
        return ctx.place.only(means * (own - average)), None, None
