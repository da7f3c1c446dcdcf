"""A common form of linear layers for relevance rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def divide(relevance: Tensor, z: Tensor, stabilizer: float) -> Tensor:
    """relevance / (z + stabilizer * sign(z)), with sign(0) = 1; 0 for 0 / 0."""
    stable = torch.where(z < 0, z - stabilizer, z + stabilizer)
    shares = relevance / stable
    return shares if stabilizer > 0 else shares.masked_fill(stable == 0, 0.0)


@dataclass(frozen=True)
class Layer:
    """A linear layer in any form: convolution, dense, product with a constant matrix.

    Attributes:
        function: f(x, w), linear in both.
        weight: w.
        bias: b, added to f(x, w); None without a bias.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    weight: Tensor
    bias: Tensor | None = None

    def part(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Term:
        """The same layer with another input and other parameters."""
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            z = self.function(leaf, weight)
        return Term(leaf, z, z.detach() if bias is None else z.detach() + bias)


@dataclass(frozen=True)
class Term:
    """One term of a rule's numerator or denominator: the output at input `leaf`, `z` without and `total` with bias."""

    leaf: Tensor
    z: Tensor
    total: Tensor

    def share(self, factor: Tensor) -> Tensor:
        """The contribution of each element of the input if each output is multiplied by its `factor`."""
        (gradient,) = torch.autograd.grad(self.z, self.leaf, factor)
        return self.leaf.detach() * gradient
