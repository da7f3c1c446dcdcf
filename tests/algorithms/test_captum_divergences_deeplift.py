"""DeepLIFT where Captum 0.9.0 and ours differ on purpose; the list is docs/captum.md."""

import captum.attr as c
import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.endpoints import TARGET, N, difference, error
from tests.models_for_tests import mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute

pytestmark = [
    pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks and attributes:UserWarning"),
    pytest.mark.filterwarnings("ignore:(?s).*You are providing multiple inputs for Lime:UserWarning"),
]


class Softmax(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(6, 8, 3)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.softmax(self.body(x))


class ReluThenPool(nn.Module):
    """As in VGG: both hooks of Captum sit on the same tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 3)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool1d(2)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.pool(self.relu(self.conv(x.unsqueeze(1)))).flatten(1))


class Overlapping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 2)
        self.pool = nn.MaxPool1d(3, stride=1)
        self.out = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.pool(self.conv(x.unsqueeze(1))).flatten(1))


class Derived(nn.ReLU):
    """Captum knows exact types only."""


class Subclassed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(6, 8, 3, activation=Derived)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(6, 8)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.hidden(x)))


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.left(x) * self.right(x))


class Gelu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(6, 8, 3, activation=nn.GELU)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@pytest.mark.parametrize("kind", [Softmax, ReluThenPool, Overlapping, Subclassed, Functional, Product, Gelu])
def test_deeplift_is_complete_where_captums_is_not(kind):
    model = weights(kind(), seed=1, scale=2)
    x, x0 = numbers(N, 6), numbers(N, 6, seed=2)
    wanted = difference(model, x, x0)
    assert wanted.abs().min() > 1e-3
    assert error(attribute(model, x, a.DeepLift(), target=TARGET, baselines=x0), wanted) < 1e-10
    assert error(c.DeepLift(model).attribute(x, x0, TARGET), wanted) > 1e-2


def test_deeplift_of_a_sample_does_not_depend_on_the_batch_under_a_softmax():
    model, x, x0 = weights(Softmax(), seed=1, scale=2), numbers(N, 6), numbers(1, 6, seed=2)
    ours = attribute(model, x, a.DeepLift(), target=TARGET, baselines=x0)
    alone = attribute(model, x[:1], a.DeepLift(), target=TARGET[:1], baselines=x0)
    torch.testing.assert_close(alone, ours[:1], rtol=1e-12, atol=1e-12)
    theirs = c.DeepLift(model)
    batch, single = theirs.attribute(x, x0, TARGET)[:1], theirs.attribute(x[:1], x0, TARGET[:1])
    assert not torch.allclose(batch, single, rtol=1e-2)


def test_deeplift_accepts_a_module_used_twice():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.relu(self.second(self.relu(self.first(x)))))

    model, x, x0 = weights(Twice(), scale=2), numbers(N, 6), numbers(1, 6, seed=2)
    ours = attribute(model, x, a.DeepLift(), target=TARGET, baselines=x0)
    assert error(ours, difference(model, x, x0.expand_as(x))) < 1e-10
    with pytest.raises(RuntimeError, match="used more than once"):
        c.DeepLift(model).attribute(x, x0, TARGET)
