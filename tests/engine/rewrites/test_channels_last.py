"""Images go through in channels-last order where the model gives the same numbers, and only there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.models_for_tests import numbers, weights
from xbench import attribute
from xbench.algorithms import DeepLift, IntegratedGradients, Occlusion, Saliency


class Watched(nn.Module):
    """A CNN that notes whether its second convolution got images in channels-last order."""

    def __init__(self, *, view: bool = False, strided: bool = False) -> None:
        super().__init__()
        self.view, self.strided = view, strided
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4 * 36, 3)
        self.orders: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.max_pool2d(torch.relu(self.first(x)), 1)
        self.orders.append(not hidden.is_contiguous())
        hidden = torch.relu(self.second(hidden))
        if self.strided:  # reads memory as it lies: a bug of the model that the usual order hides
            hidden = torch.as_strided(hidden, (len(x), 144), (144, 1))
        return self.head(hidden.view(len(x), -1) if self.view else hidden.flatten(1))


def explained(model: nn.Module, algorithm: object, **settings: object) -> Tensor:
    maps = attribute(model, IMAGES, algorithm, target=TARGET, **settings)  # type: ignore[arg-type]
    assert isinstance(maps, Tensor)
    return maps


IMAGES, TARGET = numbers(40, 2, 6, 6).float(), torch.arange(40) % 3
ALGORITHMS = [Saliency(abs=False), IntegratedGradients(7), DeepLift(), Occlusion((2, 3, 3))]


def model(**faults: bool) -> Watched:
    found = weights(Watched(**faults)).float()
    assert isinstance(found, Watched)
    return found


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: type(a).__name__)
def test_it_is_used_and_changes_no_number(algorithm: object) -> None:
    fast = model()
    maps = explained(fast, algorithm)
    assert fast.orders[-1]
    exact = attribute(fast.double(), IMAGES.double(), algorithm, target=TARGET)  # type: ignore[arg-type]
    assert not fast.orders[-1]  # float64 stays in the usual order
    torch.testing.assert_close(maps.double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "algorithm"),
    [("view", algorithm) for algorithm in ALGORITHMS]
    # DeepLIFT refuses as_strided: it has no rule for it.
    + [("strided", algorithm) for algorithm in ALGORITHMS if not isinstance(algorithm, DeepLift)],
)
def test_a_model_that_depends_on_the_order_keeps_the_usual_one(fault: str, algorithm: object) -> None:
    faulty = model(**{fault: True})
    maps = explained(faulty, algorithm)
    assert not faulty.orders[-1]
    torch.testing.assert_close(maps, explained(model(**{fault: True}), algorithm, rows=1), rtol=1e-4, atol=1e-6)


def test_the_model_s_own_weights_keep_their_order() -> None:
    net = model()
    explained(net, Saliency())
    assert all(parameter.is_contiguous() for parameter in net.parameters())
