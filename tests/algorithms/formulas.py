"""Functions whose maps can be written down, and the noise that a tunnel adds."""

import torch
from torch import Tensor, nn

from tests.models_for_tests import mlp, numbers
from xbench.core.draws import Draws

N, D = 4, 5
RULES = ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"]


class Linear(nn.Module):
    """f(x) = w . x + 3, for samples of any shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.w = nn.Parameter(numbers(*shape, seed=5))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.w).flatten(1).sum(1) + 3


class Power(nn.Module):
    """f(x) = sum of x^power."""

    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        return x.pow(self.power).sum(1)


def exactly(one: Tensor, other: Tensor, tolerance: float = 1e-11) -> None:
    torch.testing.assert_close(one, other.detach(), rtol=tolerance, atol=tolerance)


def samples() -> tuple[Tensor, Tensor]:
    return numbers(N, D), numbers(N, D, seed=2)


class Game(nn.Module):
    """Not additive, not symmetric."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.inner = mlp(d, 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.inner(2 * x).squeeze(1) + x.prod(1)) * 3


# Noise


def noise(purpose: str, draw: int, like: Tensor, seed: int = 0) -> Tensor:
    return Draws(seed, tuple(map(str, range(len(like))))).normal(purpose, draw, like)
