"""Controls against what they are said to be: the opposite of a map, the edges of an image, the mask of the data."""

import math

import pytest
import torch
from torch import Tensor, nn

import xbench
from tests.metrics.toys import score
from tests.models_for_tests import ConvNet, numbers, weights
from xbench import algorithms as a
from xbench import metrics as m
from xbench.algorithms.base import Algorithm
from xbench.core.needs import NotApplicable
from xbench.datasets.planted import PlantedInteraction, PlantedLinear
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

METHODS = [a.Saliency(), a.InputXGradient(), a.KernelShap(n_samples=40), a.NoiseTunnel(nt_samples=3), a.GuidedIG()]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_the_inverse_is_the_same_map_with_the_opposite_sign(method: Algorithm) -> None:
    model, x = weights(ConvNet()), numbers(3, 1, 6, 6)
    found = {
        name: xbench.attribute(model, x, each, target=[0, 1, 2])
        for name, each in (("map", method), ("inverse", a.Inverse(method)))
    }
    torch.testing.assert_close(found["inverse"], -found["map"], rtol=0, atol=0)


def test_the_inverse_takes_an_algorithm() -> None:
    with pytest.raises(TypeError, match="of: expected an algorithm to invert, got str"):
        a.Inverse("ig")  # type: ignore[arg-type]


def _sobel(image: Tensor) -> Tensor:
    """The magnitude of one channel's gradient, pixel by pixel from the two kernels."""
    kernel = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    height, width = image.shape
    found = torch.zeros_like(image)
    for i in range(height):
        for j in range(width):
            across = down = 0.0
            for di in range(3):
                for dj in range(3):
                    pixel = float(image[min(max(i + di - 1, 0), height - 1), min(max(j + dj - 1, 0), width - 1)])
                    across += kernel[di][dj] * pixel / 8
                    down += kernel[dj][di] * pixel / 8
            found[i, j] = math.hypot(across, down)
    return found


def test_edges_are_the_sobel_magnitude_of_every_channel() -> None:
    x = numbers(2, 3, 5, 7)
    model = nn.Sequential(nn.Flatten(), nn.Linear(105, 2, dtype=torch.float64))
    maps = xbench.attribute(model, x, a.Edges(), target=0)
    expected = torch.stack([torch.stack([_sobel(channel) for channel in image]) for image in x])
    torch.testing.assert_close(maps, expected)


def test_edges_need_an_image() -> None:
    model = nn.Linear(4, 2, dtype=torch.float64)
    assert (Explainer(Request(model, numbers(2, 4), target=[0, 1])).missing(a.Edges()) or "").startswith("needs images")


def test_the_true_map_is_the_mask_of_every_channel() -> None:
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(24, 2, dtype=torch.float64)), numbers(2, 2, 3, 4)
    masks = numbers(2, 1, 3, 4, seed=1) > 0
    explainer = Explainer(Request(model, x, target=[0, 1], masks=masks))
    (maps,) = explainer.shaped(explainer.attribute(a.TrueMap()))
    torch.testing.assert_close(maps, masks.expand_as(x).double())
    without = Explainer(Request(model, x, target=[0, 1])).missing(a.TrueMap())
    assert (without or "").startswith("needs masks of where the evidence lies")


def test_on_planted_data_the_true_map_is_the_ceiling_and_an_inverse_lies_below_the_random_map() -> None:
    data = PlantedLinear(n=40).load()
    model, x, masks = data.known().double(), data.test.inputs.double(), data.test.masks
    setting = {"target": data.test.targets.tolist(), "masks": masks, "ids": data.test.ids}

    def mean(metric: m.Metric, method: Algorithm) -> float:
        return float(score(model, x, metric, method, **setting)[metric.main].nanmean())

    for metric in (m.RelevanceRank(), m.LocalisationAUC(), m.RelevanceMass()):
        truth = mean(metric, a.TrueMap())
        assert truth == pytest.approx(1)
    exact = a.IntegratedGradients(n_steps=2)
    flipped = {name: mean(m.PixelFlipping(), method) for name, method in
               {"exact": exact, "random": a.Random(), "inverse": a.Inverse(exact)}.items()}  # fmt: skip
    assert flipped["exact"] > flipped["random"] > flipped["inverse"]


@pytest.mark.parametrize("function", [PlantedLinear(n=8), PlantedInteraction(n=8)], ids=["linear", "products"])
def test_the_exact_map_is_the_closed_form(function: PlantedLinear | PlantedInteraction) -> None:
    data = function.load()
    model, x = data.known().double(), data.test.inputs.double()
    found = xbench.attribute(model, x, a.ExactMap(), target=0)
    if isinstance(function, PlantedLinear):
        x0 = numbers(*x.shape, seed=1)
        found = xbench.attribute(model, x, a.ExactMap(), target=0, baselines=x0)
        torch.testing.assert_close(found, model.linear.weight[0].detach() * (x - x0))
    empty = torch.zeros_like(x[:1])
    if isinstance(function, PlantedInteraction):
        for i, j in zip(model.left[0].tolist(), model.right[0].tolist(), strict=True):
            torch.testing.assert_close(found[:, i], found[:, j])
        torch.testing.assert_close(found.sum(1), model(x)[:, 0] - model(empty)[:, 0])


def test_the_exact_map_needs_a_function_that_is_written_down() -> None:
    with pytest.raises(NotApplicable, match="needs a function whose attribution is known: dataset=planted_linear"):
        xbench.attribute(weights(ConvNet()), numbers(2, 1, 6, 6), a.ExactMap(), target=0)
