"""Blur IG, against a loop over its path."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from tests.algorithms.paths import TARGET, D, N, Single, chosen, exactly, gradient
from tests.models_for_tests import ConvNet, numbers, weights
from xbench import algorithms as a
from xbench import attribute

pytestmark = pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning")


# Blur IG


def cosines(images: Tensor, sigma: float) -> Tensor:
    """Heat that has spread by `sigma` in the last two dimensions: waves fade by exp(-(sigma w)^2 / 2)."""
    frequencies = np.meshgrid(*(np.pi * np.arange(side) / side for side in images.shape[-2:]), indexing="ij")
    fading = np.exp(-0.5 * sigma**2 * (frequencies[0] ** 2 + frequencies[1] ** 2))
    waves = dctn(images.numpy(), type=2, norm="ortho", axes=(-2, -1))
    return torch.from_numpy(idctn(waves * fading, type=2, norm="ortho", axes=(-2, -1)))


class Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).sum(1)


@pytest.mark.parametrize("sigma", [2.0, 3.5, 8.0])
def test_the_blur_is_a_gaussian_reflected_at_the_borders(sigma):
    """A linear model's map is w (x - blurred x), whatever the steps. Of the blur only what the pixels cut is lost."""
    x = numbers(2, 3, 7, 12)
    maps = attribute(Sum(), x, a.BlurIG(3, sigma))
    blurred = [[gaussian_filter(channel, sigma, mode="reflect", truncate=12) for channel in image] for image in x]
    exactly(x - maps, torch.tensor(np.array(blurred)), 1e-8)
    exactly(maps.sum((2, 3)), torch.zeros(2, 3).double())  # no heat leaves the image


@pytest.mark.parametrize("sigma", [None, 0.3, 5.0])
@pytest.mark.parametrize("n", [1, 4])
def test_blur_ig_against_a_loop_over_the_path(sigma, n):
    model, x = weights(ConvNet()), numbers(N, 1, 6, 6)
    f = lambda image: chosen(model(image))  # noqa: E731
    path = [cosines(x, (sigma or 6.0) * (1 - j / n) ** 2) for j in range(n)] + [x]
    slopes = [gradient(f, point) for point in path]
    wanted = sum((slopes[j] + slopes[j + 1]) / 2 * (path[j + 1] - path[j]) for j in range(n))
    exactly(attribute(model, x, a.BlurIG(n, sigma), target=TARGET, baselines=numbers(N, 1, 6, 6, seed=9)), wanted)


def test_blur_ig_of_two_images_blurs_each_by_its_longer_side():
    class Product(nn.Module):
        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return one.flatten(1).square().sum(1) * 2 + other.flatten(1).sum(1)

    one, other = numbers(N, 2, 3, 5), numbers(N, 1, 4, 2, seed=2)
    maps = attribute(Product(), (one, other), a.BlurIG(6))
    exactly(maps[0], 2 * (one.square() - cosines(one, 5.0).square()))  # the mean of both ends is exact on squares
    exactly(maps[1], other - cosines(other, 4.0))


def test_blur_ig_sums_to_the_difference_from_the_blurred_image():
    model, x = weights(ConvNet()), numbers(N, 1, 6, 6)
    difference = (chosen(model(x)) - chosen(model(cosines(x, 4.0)))).detach()
    errors = [
        torch.linalg.vector_norm(
            attribute(model, x, a.BlurIG(n, 4.0), target=TARGET).flatten(1).sum(1) - difference
        )
        for n in (200, 400)
    ]  # fmt: skip
    assert float(errors[0] / errors[1]) == pytest.approx(4, rel=0.1)
    assert errors[1] < 1e-3 * difference.abs().min()


def test_blur_ig_needs_images():
    with pytest.raises(ValueError, match=r"Blur IG needs images: the samples are not \(channels, ..., height, width\)"):
        attribute(Single(), numbers(N, D), a.BlurIG())
