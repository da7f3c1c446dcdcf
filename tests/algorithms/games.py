"""Functions to explain and loops from definitions: what tests of algorithms that switch features share."""

from itertools import permutations
from math import factorial

import numpy as np
import torch
from torch import Tensor, nn

from tests.models_for_tests import mlp, numbers
from xbench.core.draws import Draws

N, D = 3, 6
# Ids with gaps, several elements to a feature, elements of none, another number of features in every sample.
FEATURES = torch.tensor([[7, 2, 2, -1, 40, 7], [0, 1, 2, 3, 4, 5], [3, 3, 9, -1, -1, 3]])
NUMBERED = torch.tensor([[1, 0, 0, -1, 2, 1], [0, 1, 2, 3, 4, 5], [0, 0, 1, -1, -1, 0]])
COUNTS = (3, 6, 2)


class Game(nn.Module):
    """Not additive, not symmetric. Takes one tensor, or several as if they were one vector."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.inner = mlp(d, 9, 1)

    def forward(self, *parts: Tensor) -> Tensor:
        x = torch.cat([part.reshape(len(part), -1) for part in parts], 1)
        return (self.inner(2 * x).squeeze(1) + x.prod(1)) * 3


class Linear(nn.Module):
    """f(x) = w . x + 3, for samples of any shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.w = nn.Parameter(numbers(*shape, seed=5))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.w).flatten(1).sum(1) + 3


def exactly(one: Tensor, other: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(one, other.detach(), rtol=tolerance, atol=tolerance)


def samples(n: int = N, d: int = D) -> tuple[Tensor, Tensor]:
    return numbers(n, d), numbers(n, d, seed=2)


def draws(n: int = N, seed: int = 0) -> Draws:
    return Draws(seed, tuple(map(str, range(n))))


class Coalitions:
    """What the model says of one sample of which only some features are present."""

    def __init__(self, model: nn.Module, x: Tensor, x0: Tensor, groups: Tensor) -> None:
        self.k = int(groups.max()) + 1
        self._parts, self._known = (model, x, x0, groups), dict[frozenset, float]()

    def point(self, members) -> Tensor:
        _, x, x0, groups = self._parts
        kept = [group < 0 or group in members for group in groups.tolist()]
        return torch.stack([x[i] if keep else x0[i] for i, keep in enumerate(kept)])

    def __call__(self, members) -> float:
        key = frozenset(members)
        if key not in self._known:
            with torch.no_grad():
                self._known[key] = float(self._parts[0](self.point(key).unsqueeze(0)))
        return self._known[key]


def gains(value: Coalitions, order) -> np.ndarray:
    """What each feature adds when they join in this order, (K,)."""
    phi = np.zeros(value.k)
    for place, feature in enumerate(order):
        phi[feature] = value(order[: place + 1]) - value(order[:place])
    return phi


def shapley(value: Coalitions) -> np.ndarray:
    """The definition: the mean gain over all orders."""
    return sum(gains(value, order) for order in permutations(range(value.k))) / factorial(value.k)


def mapped(reference, model: nn.Module, x: Tensor, x0: Tensor, groups: Tensor) -> Tensor:
    """The map of a slow reference, a function of a sample's coalitions and its row, that gives K values."""
    x0, groups = x0.expand_as(x), groups.expand(x.shape)
    maps = torch.zeros(x.shape, dtype=torch.float64)
    for row in range(len(x)):
        phi = reference(Coalitions(model, x[row], x0[row], groups[row]), row)
        for i, group in enumerate(groups[row].tolist()):
            if group >= 0:
                maps[row, i] = float(phi[group])
    return maps


def close_on_average(maps: Tensor, wanted: Tensor) -> None:
    """Maps (n, ...) with draws of their own have this mean, to within their standard error."""
    error = maps.std(0) / len(maps) ** 0.5
    assert error.min() > 1e-5
    assert ((maps.mean(0) - wanted).abs() / error).max() < 4.5


# What holds for all


def alike(x: Tensor, _point: Tensor, _present: Tensor) -> Tensor:
    return torch.ones(len(x))
