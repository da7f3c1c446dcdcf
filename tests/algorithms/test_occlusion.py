"""Occlusion, against a loop over windows."""

from math import ceil

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.formulas import Linear, N, exactly
from tests.models_for_tests import mlp, numbers
from xbench import algorithms as a
from xbench import attribute


def slow_occlusion(model: nn.Module, x: Tensor, x0: Tensor, window: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Every window on an image (n, H, W), the last of a row cut at the border."""
    height, width = x.shape[1:]
    total, cover = torch.zeros_like(x), torch.zeros_like(x)
    for i in range(ceil((height - window[0]) / stride[0]) + 1):
        for j in range(ceil((width - window[1]) / stride[1]) + 1):
            place = np.s_[:, i * stride[0] : i * stride[0] + window[0], j * stride[1] : j * stride[1] + window[1]]
            occluded = x.clone()
            occluded[place] = x0[place]
            total[place] += (model(x) - model(occluded))[:, None, None]
            cover[place] += 1
    assert cover.min() >= 1
    return total / cover


class Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp(35, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.flatten(1)).squeeze(1)


@pytest.mark.parametrize(
    ("window", "stride"),
    [((2, 3), (1, 1)), ((2, 3), (2, 3)), ((3, 3), (2, 2)), ((4, 2), (3, 2)), ((5, 7), (1, 1)), ((1, 1), (1, 1))],
)
def test_occlusion_against_a_loop_over_windows(window, stride):
    model, x, x0 = Image(), numbers(N, 5, 7), numbers(N, 5, 7, seed=2)
    maps = attribute(model, x, a.Occlusion(window, stride), baselines=x0)
    exactly(maps, slow_occlusion(model, x, x0, window, stride))


def test_occlusion_completes_windows_and_strides():
    model, x = Image(), numbers(N, 5, 7)
    zeros = torch.zeros_like(x)
    exactly(attribute(model, x, a.Occlusion((2,))), slow_occlusion(model, x, zeros, (2, 7), (1, 1)))
    exactly(attribute(model, x, a.Occlusion((2,), 2)), slow_occlusion(model, x, zeros, (2, 7), (2, 1)))
    exactly(attribute(model, x, a.Occlusion((2, 2), 2)), slow_occlusion(model, x, zeros, (2, 2), (2, 2)))
    exactly(attribute(model, x, a.Occlusion()), slow_occlusion(model, x, zeros, (1, 7), (1, 1)))
    exactly(attribute(model, x, a.Occlusion(((2, 3),), ((2, 1),))), slow_occlusion(model, x, zeros, (2, 3), (2, 1)))


def test_occlusion_of_an_image_takes_a_quarter_of_its_sides():
    model, x = Linear(3, 8, 12), numbers(2, 3, 8, 12)
    chosen = attribute(model, x, a.Occlusion())
    assert torch.equal(chosen, attribute(model, x, a.Occlusion((3, 2, 3), (3, 1, 1))))
    chosen = attribute(model, x, a.Occlusion(strides=2))
    assert torch.equal(chosen, attribute(model, x, a.Occlusion((3, 2, 3), (3, 2, 2))))


@pytest.mark.parametrize(
    ("window", "strides", "message"),
    [
        ((6, 1), None, r"window \(6, 1\) is larger than the samples \(5, 7\)"),
        ((2, 2), (3, 1), r"strides: \(3, 1\) is larger than the window \(2, 2\), elements would be skipped"),
        ((1, 1, 1), None, r"\(1, 1, 1\) has more dimensions than the samples \(5, 7\)"),
        (((1, 1), (1, 1)), None, "expected one window for each of 1 input tensors"),
        ((2, 2), (1, 1, 1), "strides: .* has more dimensions"),
    ],
)
def test_windows_that_do_not_fit(window, strides, message):
    with pytest.raises(ValueError, match=message):
        attribute(Image(), numbers(N, 5, 7), a.Occlusion(window, strides))


@pytest.mark.parametrize(("window", "strides"), [((0, 2), None), ((2, 2), 0), ((), None), ((2, -1), None)])
def test_windows_without_size_are_refused(window, strides):
    with pytest.raises(ValueError, match="expected positive sizes"):
        a.Occlusion(window, strides)


def test_windows_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match="expected integers, got 1.5"):
        a.Occlusion((1.5, 2))  # type: ignore[arg-type]
