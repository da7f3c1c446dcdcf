"""Guided IG, against a loop over samples and features."""

from math import inf

import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.paths import Function, Single, exactly, gradient, samples
from xbench import algorithms as a
from xbench import attribute

pytestmark = pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning")


# Guided IG


def slow_guided(f: Function, x: Tensor, x0: Tensor, n: int, fraction: float, max_dist: float) -> Tensor:
    """The authors' code (PAIR's saliency), for one sample (d,), feature by feature."""
    d, way = len(x), (x - x0).abs().tolist()
    moving = sum(w > 0 for w in way)
    gone, phi = [0.0] * d, torch.zeros_like(x)
    for step in range(1, n + 1):
        slope = gradient(f, (x0 + x.new_tensor(gone) * (x - x0))[None])[0]
        least, most = max(step / n - max_dist, 0.0), min(step / n + max_dist, 1.0)
        to_leave, before = sum(way) * (1 - step / n), list(gone)
        gone = [max(g, least) for g in gone]
        gamma = inf
        while gamma > 1:
            left = sum(w * (1 - g) for w, g in zip(way, gone, strict=True))
            if left - to_leave <= 1e-12 * sum(way):
                break
            ranks = [abs(float(s)) if w > 0 and g < most else inf for s, w, g in zip(slope, way, gone, strict=True)]
            limit = sorted(ranks)[int((moving - 1) * fraction)]
            subset = [i for i in range(d) if ranks[i] <= limit and ranks[i] < inf]
            gamma = (left - to_leave) / sum(way[i] * (most - gone[i]) for i in subset)
            for i in subset:
                gone[i] = most if gamma > 1 else gone[i] + gamma * (most - gone[i])
        phi += slope * (x - x0) * (x.new_tensor(gone) - x.new_tensor(before))
    return phi


@pytest.mark.slow
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])  # ReLU: slopes that are equal, many of them 0
@pytest.mark.parametrize("max_dist", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize(("n", "fraction"), [(1, 0.1), (4, 0.25), (11, 0.1), (11, 0.6), (5, 1.0)])
def test_guided_ig_against_a_loop_over_samples_and_features(activation, max_dist, n, fraction):
    model, (x, x0) = Single(activation, 11), samples(11)
    x[1, 2:5] = x0[1, 2:5]  # features without a way to go
    x[3] = x0[3]  # a sample without
    wanted = torch.stack([slow_guided(model, *row, n, fraction, max_dist) for row in zip(x, x0, strict=True)])
    exactly(attribute(model, x, a.GuidedIG(n, fraction, max_dist), baselines=x0), wanted, 1e-10)


@pytest.mark.parametrize("fraction", [0.1, 1.0])
def test_guided_ig_without_a_distance_is_integrated_gradients(fraction):
    model, (x, x0) = Single(), samples()
    wanted = attribute(model, x, a.IntegratedGradients(9, "riemann_left"), baselines=x0)
    exactly(attribute(model, x, a.GuidedIG(9, fraction, 0.0), baselines=x0), wanted)


def test_guided_ig_moves_the_flat_feature_first():
    """f = 2a + b + ab from (0, 0) to (1, 1) in two steps: b at slope 1, then a at slope 2 + 1."""
    maps = attribute(lambda x: 2 * x[:, 0] + x[:, 1] + x.prod(1), torch.ones(1, 2).double(), a.GuidedIG(2, 0.1, 1.0))
    exactly(maps, torch.tensor([[3.0, 1.0]]).double())


@pytest.mark.slow
@pytest.mark.parametrize("max_dist", [0.02, 1.0])
def test_guided_ig_sums_to_the_difference_up_to_an_error_of_the_order_of_a_step(max_dist):
    model, (x, x0) = Single(), samples()
    difference = (model(x) - model(x0)).detach()
    errors = [
        (attribute(model, x, a.GuidedIG(n, 0.1, max_dist), baselines=x0).sum(1) - difference).abs().max() * n
        for n in (20, 80, 320)
    ]
    assert 0.5 < errors[1] / errors[0] < 2
    assert 0.5 < errors[2] / errors[1] < 2
    assert errors[2] / 320 < 0.05 * difference.abs().min()
