"""What stands in place of removed features, against dense equations, numpy, and loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.metrics.toys import bag, case_of, score
from tests.models_for_tests import ConvNet, numbers, weights
from xbench.core.needs import NotApplicable
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request
from xbench.metrics import DeletionAUC, Interpolation, NoisyLinear, PixelFlipping, TokenDeletion
from xbench.metrics.imputers.base import Baseline, NamedBaseline
from xbench.metrics.imputers.known import IMPUTERS, imputer_of


def holes(*shape: int, share: float = 0.5) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) < share


def dense(image: Tensor, missing: Tensor) -> Tensor:
    """The same equations, one matrix per channel: (H, W) each."""
    height, width = image.shape
    places = [tuple(place) for place in missing.nonzero().tolist()]
    matrix, right = np.zeros((len(places), len(places))), np.zeros(len(places))
    for row, (i, j) in enumerate(places):
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                a, b = i + di, j + dj
                if (di, dj) == (0, 0) or not (0 <= a < height and 0 <= b < width):
                    continue
                weight = 1 / 6 if di == 0 or dj == 0 else 1 / 12
                matrix[row, row] += weight
                if missing[a, b]:
                    matrix[row, places.index((a, b))] -= weight
                else:
                    right[row] += weight * image[a, b].item()
    filled = image.clone()
    filled[missing] = torch.from_numpy(np.linalg.solve(matrix, right))
    return filled


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alike", [True, False], ids=["pixels", "channel values"])
def test_noisy_linear_solves_the_equations_of_each_channel(channels: int, alike: bool) -> None:
    x = numbers(3, channels, 9, 7)
    missing = holes(3, 1, 9, 7).expand(x.shape) if alike else holes(*x.shape)
    missing = missing.clone()
    missing[2] = False  # nothing is missing
    missing[1, 0, :6] = True  # a large hole at an edge
    case, flat = case_of(x, baselines=0.5)
    found = NoisyLinear(noise=0).fill(case, flat)(missing.flatten(1)).reshape(x.shape)
    for i in range(3):
        for c in range(channels):
            expected = dense(x[i, c], missing[i, c])
            torch.testing.assert_close(found[i, c], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[~missing], x[~missing])


def test_noisy_linear_adds_keyed_noise_and_leaves_an_empty_channel_at_the_baseline() -> None:
    x = numbers(2, 3, 6, 6)
    missing = torch.zeros_like(x, dtype=torch.bool)
    missing[0, 1] = True
    missing[1, :, 2:4, 2:4] = True
    case, flat = case_of(x, baselines=0.5)
    quiet = NoisyLinear(noise=0).fill(case, flat)(missing.flatten(1)).reshape(x.shape)
    noisy = NoisyLinear(noise=0.1).fill(case, flat)(missing.flatten(1)).reshape(x.shape)
    assert (noisy[0, 1] == 0.5).all()
    spread = (noisy - quiet)[1][missing[1]]
    width = (x[1].max() - x[1].min()).item()
    assert 0.03 * width < spread.std().item() < 0.3 * width
    again = NoisyLinear(noise=0.1).fill(case, flat)(missing.flatten(1)).reshape(x.shape)
    assert torch.equal(noisy, again)
    alone, one = case_of(x[1:], baselines=0.5, ids=("1",))
    torch.testing.assert_close(NoisyLinear(noise=0.1).fill(alone, one)(missing[1:].flatten(1)), noisy[1:].flatten(1))


def test_interpolation_is_numpy_s() -> None:
    x = numbers(4, 2, 12)
    missing = holes(4, 2, 12)
    missing[0, 0] = True
    case, flat = case_of(x, baselines=0.25)
    found = Interpolation().fill(case, flat)(missing.flatten(1)).reshape(x.shape)
    for i in range(4):
        for c in range(2):
            left = (~missing[i, c]).nonzero().flatten().numpy()
            expected = np.full(12, 0.25) if not len(left) else np.interp(np.arange(12), left, x[i, c].numpy()[left])
            np.testing.assert_allclose(found[i, c].numpy(), expected, rtol=1e-12, atol=1e-15)


def test_deleted_tokens_leave_no_gap() -> None:
    ids = torch.tensor([[5, 6, 7, 8, 0, 0], [1, 2, 3, 4, 5, 6]])
    features = torch.tensor([[0, 1, 2, 3, -1, -1], [0, 1, 2, 3, 4, 5]])
    explainer = Explainer(Request(nn.Identity(), ids, features=features, named_baselines=lambda _: ids * 0))
    case, flat = explainer.case(distribution=False), explainer.x
    removed = torch.tensor([[False, True, False, True, False, False], [True, True, False, False, False, True]])
    found = TokenDeletion().fill(case, flat)(removed)
    assert found.tolist() == [[5, 7, 0, 0, 0, 0], [3, 4, 5, 0, 0, 0]]
    with pytest.raises(NotApplicable, match="needs token ids"):
        score(bag(), ids, DeletionAUC(imputer="delete"), numbers(2, 6, 4), layer="embedding", target=1)
    with pytest.raises(NotApplicable, match="needs token ids"):
        score(weights(ConvNet()), numbers(2, 1, 6, 6), DeletionAUC(imputer="delete"), numbers(2, 1, 6, 6), target=1)


def test_baselines_of_the_data_set_go_by_name() -> None:
    x = numbers(3, 1, 6, 6)
    named = {"mean": torch.full((1, 1, 6, 6), 0.3).double(), "train": numbers(3, 1, 6, 6, seed=4)}
    model, phi = weights(ConvNet()), numbers(3, 1, 6, 6, seed=2)

    def choose(name: str) -> Tensor:
        if name not in named:
            raise ValueError(f"there is no baseline {name}")
        return named[name]

    for name, values in named.items():
        found = score(model, x, PixelFlipping(4, imputer=name), phi, target=1, baselines=9.0, named_baselines=choose)
        expected = score(model, x, PixelFlipping(4), phi, target=1, baselines=values)
        torch.testing.assert_close(found, expected)
        rows = score(model, x, PixelFlipping(4, imputer=name), phi, target=1, named_baselines=choose, rows=1)
        torch.testing.assert_close(rows, expected)
    with pytest.raises(NotApplicable, match="needs data that have the baseline 'mask': there is no baseline mask"):
        score(model, x, PixelFlipping(imputer="mask"), phi, target=1, named_baselines=choose)
    with pytest.raises(NotApplicable, match="needs a data set that has the baseline 'mean'"):
        score(model, x, PixelFlipping(imputer="mean"), phi, target=1)


def test_a_named_baseline_reaches_the_layer_where_points_enter() -> None:
    ids = torch.tensor([[5, 6, 7, 8, 0, 0], [1, 2, 3, 4, 5, 6]])
    features = torch.tensor([[0, 1, 2, 3, -1, -1], [0, 1, 2, 3, 4, 5]])
    words = torch.where(features >= 0, 9, ids)
    setting = {"layer": "embedding", "target": 1, "features": features.unsqueeze(2)}
    phi = numbers(2, 6, 4)
    found = score(
        bag(nn.Linear(4, 2)), ids, DeletionAUC(imputer="mask"), phi, named_baselines=lambda _: words, **setting
    )
    expected = score(bag(nn.Linear(4, 2)), ids, DeletionAUC(), phi, baselines=words, **setting)
    torch.testing.assert_close(found, expected)


def test_an_imputer_that_does_not_suit_the_data_is_skipped() -> None:
    for imputer, shape in ((NoisyLinear(), (2, 4)), (Interpolation(), (2, 1, 4, 5))):
        with pytest.raises(NotApplicable, match="needs (images|sounds)"):
            score(lambda x: x.flatten(1).sum(1), numbers(*shape), DeletionAUC(imputer=imputer), numbers(*shape))


def test_every_imputer_has_a_name() -> None:
    assert {type(imputer_of(name)) for name in IMPUTERS} == {
        Baseline, NamedBaseline, NoisyLinear, Interpolation, TokenDeletion,
    }  # fmt: skip
    assert imputer_of("linear") == NoisyLinear()
    with pytest.raises(ValueError, match="noise: expected 0 or more"):
        NoisyLinear(noise=-1)
