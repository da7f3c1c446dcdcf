"""The image network: sizes it takes, and that normalisation is inside."""

import pytest
import torch

from xbench.models.cnn import SmallCNN


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 5, 7)])
def test_sizes(shape: tuple[int, int, int]) -> None:
    assert SmallCNN(shape, 10, width=4)(torch.rand(2, *shape)).shape == (2, 10)


def test_too_small_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4x4"):
        SmallCNN((1, 3, 8), 10)


def test_black_is_minus_one_inside() -> None:
    seen = []
    network = SmallCNN((1, 8, 8), 2, width=4)
    network.features[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 1, 8, 8))
    assert seen[0][:, 0, 0, 0].tolist() == [-1.0, 1.0]
