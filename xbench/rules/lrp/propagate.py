"""Autograd functions that carry relevance backward instead of gradients.

In the backward pass under this rule every tensor's "gradient" is its relevance. Operations that only move values
move relevance like gradients, so they keep their own backward pass.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from xbench.rules.lrp.layers import divide
from xbench.rules.override import Call, Context, RuleFunction

TorchFunction = Callable[..., Tensor]
# Maps the relevance of an operation's result and its operands to the relevance of each operand.
Shares = Callable[..., tuple[Tensor, ...]]


class SharedOut(RuleFunction):
    """An operation `run` whose relevance `shares` divides among the operands."""

    @staticmethod
    def forward(ctx: Context, run: Callable[[], Tensor], shares: Shares, *operands: Tensor) -> Tensor:
        ctx.save_for_backward(*operands)
        ctx.shares = shares
        return run()

    @staticmethod
    def backward(ctx: Context, relevance: Tensor) -> tuple[Tensor | None, ...]:
        # The rule may still be active here; these steps belong to the rule, not to the model.
        with torch._C.DisableTorchFunction():
            return None, None, *ctx.shares(relevance, *ctx.saved_tensors)


class Passed(RuleFunction):
    """An elementwise operation: each operand takes `part` of the relevance, none where `keep` is False.

    Only shapes are kept, so operands may be overwritten later.
    """

    @staticmethod
    def forward(ctx: Context, run: Callable[[], Tensor], part: float, keep: Tensor | None, *operands: Tensor) -> Tensor:
        ctx.part, ctx.keep, ctx.shapes = part, keep, [tensor.shape for tensor in operands]
        return run()

    @staticmethod
    def backward(ctx: Context, relevance: Tensor) -> tuple[Tensor | None, ...]:
        kept = relevance if ctx.keep is None else relevance * ctx.keep
        kept = kept if ctx.part == 1 else kept * ctx.part
        return None, None, None, *(kept.sum_to_size(shape) for shape in ctx.shapes)


def of_operands(call: Call, operands: Sequence[Tensor]) -> TorchFunction:
    """The call as a function of these operands, in order. It keeps their positions, not the tensors."""
    blanks = [torch.empty(0) for _ in operands]
    blank_of = {id(tensor): blank for tensor, blank in zip(operands, blanks, strict=True)}
    template = call.with_arguments(lambda tensor: blank_of.get(id(tensor), tensor))

    def function(*values: Tensor) -> Tensor:
        value_of = {id(blank): value for blank, value in zip(blanks, values, strict=True)}
        result: Tensor = template.with_arguments(lambda tensor: value_of.get(id(tensor), tensor)).run()
        return result

    return function


def in_proportion(function: TorchFunction, stabilizer: float, factors: int = 1) -> Shares:
    """R_i = x_i dz/dx_i / (n z) R: exact distribution in proportion for a function linear in each of `n` factors.

    For other functions this is the first term of their Taylor expansion.
    """

    def shares(relevance: Tensor, *operands: Tensor) -> tuple[Tensor, ...]:
        leaves = [tensor.detach().requires_grad_() for tensor in operands]
        with torch.enable_grad():
            z = function(*leaves)
        gradients = torch.autograd.grad(z, leaves, divide(relevance, factors * z.detach(), stabilizer))
        return tuple(x.detach() * gradient for x, gradient in zip(leaves, gradients, strict=True))

    return shares
