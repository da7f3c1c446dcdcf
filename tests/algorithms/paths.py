"""Gradients, paths and small models: what tests of algorithms along a path share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.models_for_tests import mlp, numbers

N, D = 4, 6
TARGET = [0, 2, 1, 2]
RULES = ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"]
Function = Callable[[Tensor], Tensor]


def exactly(one: Tensor, other: Tensor, tolerance: float = 1e-11) -> None:
    torch.testing.assert_close(one, other.detach(), rtol=tolerance, atol=tolerance)


def samples(d: int = D) -> tuple[Tensor, Tensor]:
    return numbers(N, d), numbers(N, d, seed=2)


def chosen(output: Tensor) -> Tensor:
    return output[torch.arange(len(output)), torch.tensor(TARGET)]


def gradient(f: Function, x: Tensor) -> Tensor:
    """df/dx of every row."""
    leaf = x.detach().clone().requires_grad_()
    return torch.autograd.grad(f(leaf).sum(), leaf)[0]


def halves(n: int = 5) -> tuple[nn.Sequential, Function, Function]:
    """A network on D numbers, its part up to the hidden layer "1" of n units, and the explained output behind it."""
    model = mlp(D, n, 4, 3)
    return model, model[:2], lambda y: chosen(model[2:](y))


class Single(nn.Module):
    """A network with one output, (n,)."""

    def __init__(self, activation: type[nn.Module] = nn.Tanh, d: int = D) -> None:
        super().__init__()
        self.inner = mlp(d, 7, 1, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        return 3 * self.inner(x).squeeze(1)


# Activations


def by_hook(model: nn.Module, layer: str, target: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The values at the layer and the gradient there; a copy goes on, as an in-place function may follow."""
    seen: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        seen.append(output)
        return output.clone()

    handle = model.get_submodule(layer).register_forward_hook(hook)
    output = model(*inputs)
    handle.remove()
    return seen[0].detach(), torch.autograd.grad(output[torch.arange(len(target)), target].sum(), seen[0])[0]
