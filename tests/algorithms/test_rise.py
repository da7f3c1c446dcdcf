"""RISE on features and on images, against a loop over masks."""

from math import floor

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.algorithms.games import (
    FEATURES,
    NUMBERED,
    Coalitions,
    D,
    Game,
    Linear,
    N,
    close_on_average,
    draws,
    exactly,
    mapped,
    samples,
)
from tests.models_for_tests import numbers
from xbench import algorithms as a
from xbench import attribute

# RISE


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_rise_on_features_against_a_loop_over_masks(p):
    model, (x, x0), n_samples = Game(D), samples(), 25

    def slowly(value: Coalitions, row: int) -> np.ndarray:
        total = np.zeros(value.k)
        for draw in range(n_samples):
            kept = draws().generator(row, "kept", draw).random(value.k) < p
            total += value(np.flatnonzero(kept).tolist()) * kept
        return total / n_samples / p

    maps = attribute(model, x, a.Rise(n_samples, p=p), baselines=x0, features=FEATURES)
    exactly(maps, mapped(slowly, model, x, x0, NUMBERED))


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_rise_of_a_linear_model_on_average(p):
    """E[m_i m_k] is p^2, or p where i = k: a feature carries what is expected, and (1 - p) of its own share more."""
    n, model, (x, x0) = 300, Linear(D), samples(1)
    maps = attribute(model, x.expand(n, D), a.Rise(60, p=p), baselines=x0)
    share = (model.w * (x - x0)).detach()
    close_on_average(maps, (model(x0) + p * share.sum() + (1 - p) * share[0]).detach())


def stretched(places: int, cells: int, side: int, shift: int) -> np.ndarray:
    """How much of each of cells + 1 cells, `side` long, lies at each place after the shift, (places, cells + 1)."""
    parts = np.zeros((places, cells + 1))
    for place in range(places):
        centre = max((place + shift + 0.5) / side - 0.5, 0)  # in cells, from the middle of the first
        first = floor(centre)
        parts[place, first] += 1 - (centre - first)
        parts[place, min(first + 1, cells)] += centre - first
    return parts


def grid_mask(row: int, draw: int, cells: int, p: float, height: int, width: int) -> Tensor:
    """A coarse grid, one cell longer than the image along each side, enlarged bilinearly and shifted, (H, W)."""
    generator = draws().generator(row, "grid", draw)
    grid = generator.random((cells + 1, cells + 1)) < p
    sides = -(-height // cells), -(-width // cells)
    down, right = (int(generator.integers(side)) for side in sides)
    rows, columns = stretched(height, cells, sides[0], down), stretched(width, cells, sides[1], right)
    return torch.from_numpy(rows @ grid @ columns.T)


@pytest.mark.parametrize(("cells", "p"), [(3, 0.5), (1, 0.5), (2, 0.2), (9, 0.8)])
def test_rise_on_images_against_a_loop_over_masks(cells, p):
    """Two images of other sizes beside each other; some places belong to no feature and stay."""
    shapes, n_samples = ((2, 4, 5), (1, 3, 2)), 12
    model, x, x0 = Game(46), *(tuple(numbers(N, *s, seed=seed + len(s)) for s in shapes) for seed in (1, 2))
    features = torch.ones(1, 1, 4, 5, dtype=torch.int64), torch.ones(1, 1, 3, 2, dtype=torch.int64)
    features[0][..., :2, 1], features[1][..., 2, :] = -1, -1
    maps = attribute(model, x, a.Rise(n_samples, cells, p), baselines=x0, features=features)
    for row in range(N):
        total = [torch.zeros(s, dtype=torch.float64) for s in shapes]
        for draw in range(n_samples):
            masks = [grid_mask(row, draw, cells, p, *s[1:]) for s in shapes]
            masks = [torch.where(f[0] < 0, 1.0, m) for m, f in zip(masks, features, strict=True)]
            inputs = [(i[row] * m + b[row] * (1 - m))[None] for i, b, m in zip(x, x0, masks, strict=True)]
            for t, m in zip(total, masks, strict=True):
                t += float(model(*inputs).detach()) * m
        for found, t, f in zip(maps, total, features, strict=True):
            exactly(found[row], torch.where(f[0] < 0, 0.0, t / n_samples / p))


def test_rise_of_a_linear_model_of_images_on_average():
    """Places that share a cell go together: E[m_i m_k] = p^2 + p (1 - p) sum over cells of their parts at i and k."""
    n, p, cells, side = 400, 0.4, 2, 2
    model, x, x0 = Linear(1, 4, 4), numbers(1, 1, 4, 4), numbers(1, 1, 4, 4, seed=2)
    maps = attribute(model, x.expand(n, 1, 4, 4), a.Rise(40, cells, p), baselines=x0)
    parts = [stretched(4, cells, side, shift) for shift in range(side)]
    together = torch.from_numpy(sum(part @ part.T for part in parts) / side)
    share = (model.w * (x - x0)).detach()
    wanted = model(x0) + p * share.sum() + (1 - p) * (together @ share[0, 0] @ together)
    close_on_average(maps[:, 0], wanted.detach())
