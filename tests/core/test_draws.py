"""Keyed randomness: a draw is a function of seed, sample, purpose and index alone."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from xbench.core.draws import Draws

KINDS = ["normal", "uniform"]
NORMAL = [-0.16256412162499737, -1.43169443749987, 0.11450916275533836]
UNIFORM = [0.3386470928294354, 0.0582387838719467]


def draw(kind: str, draws: Draws, purpose: str, index: int, like: Tensor) -> Tensor:
    return getattr(draws, kind)(purpose, index, like)


def like(n: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.empty(n, *shape, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_a_samples_draws_do_not_depend_on_its_batch_mates(kind, dtype):
    together = draw(kind, Draws(3, ("a", "b", "c")), "noise", 5, like(3, 4, dtype=dtype))
    swapped = draw(kind, Draws(3, ("c", "a")), "noise", 5, like(2, 4, dtype=dtype))
    assert together.dtype == dtype
    assert torch.equal(swapped, together[[2, 0]])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_a_longer_draw_begins_like_a_shorter_one(kind, dtype):
    """Padding a text on the right does not change the noise of its words."""
    draws = Draws(3, ("a", "b"))
    long = draw(kind, draws, "noise", 0, like(2, 500, 4, dtype=dtype))
    short = draw(kind, draws, "noise", 0, like(2, 7, 4, dtype=dtype))
    assert torch.equal(long[:, :7], short)


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_the_key_matters(kind):
    base = draw(kind, Draws(3, ("a",)), "noise", 0, like(1, 4))
    others = [
        draw(kind, Draws(4, ("a",)), "noise", 0, like(1, 4)),
        draw(kind, Draws(3, ("b",)), "noise", 0, like(1, 4)),
        draw(kind, Draws(3, ("a",)), "path", 0, like(1, 4)),
        draw(kind, Draws(3, ("a",)), "noise", 1, like(1, 4)),
        draw(kind, Draws(3, ("a",)).within("copy1"), "noise", 0, like(1, 4)),
        draw(kind, Draws(3, ("a",)).within("copy1").within("copy1"), "noise", 0, like(1, 4)),
        draw(kind, Draws(31, ("",)), "noise", 0, like(1, 4)),
        draw(kind, Draws(3, ("1",)), "noise", 0, like(1, 4)),
    ]
    every = [base, *others]
    assert len({tuple(t.flatten().tolist()) for t in every}) == len(every)
    assert torch.equal(base, draw(kind, Draws(3, ("a",)), "noise", 0, like(1, 4)))


def test_neighbouring_draws_share_no_numbers():
    draws = Draws(0, ("a",))
    parts = [draws.uniform("noise", k, like(1, 20_000)).flatten() for k in range(3)]
    assert len(torch.cat(parts).unique()) == 60_000


def test_the_numbers_are_those_of_earlier_versions():
    """Stored results were made with them; a change here must raise the algorithms' versions."""
    draws = Draws(0, ("sample-1",))
    assert draws.normal("noise", 0, like(1, 3)).tolist()[0] == pytest.approx(NORMAL, abs=1e-15)
    assert draws.uniform("path", 2, like(1, 2)).tolist()[0] == pytest.approx(UNIFORM, abs=1e-15)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_distributions(dtype):
    draws = Draws(1, tuple(f"sample-{i}" for i in range(200)))
    normal = draws.normal("noise", 0, like(200, 50, dtype=dtype)).double().flatten().numpy()
    uniform = draws.uniform("path", 0, like(200, 50, dtype=dtype)).double().flatten().numpy()
    assert stats.kstest(normal, "norm").pvalue > 1e-3
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    across = (
        draws.normal("noise", 0, like(200, 1)).flatten(),
        draws.normal("noise", 1, like(200, 1)).flatten(),
    )
    assert abs(np.corrcoef(across[0].numpy(), across[1].numpy())[0, 1]) < 4 / 200**0.5


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_the_rounded_single_precision(kind):
    draws = Draws(0, ("a", "b"))
    single = draw(kind, draws, "noise", 0, like(2, 5, dtype=torch.float32))
    half = draw(kind, draws, "noise", 0, like(2, 5, dtype=torch.bfloat16))
    assert torch.equal(half, single.bfloat16())


def test_the_generator_reaches_any_draw_at_once():
    draws = Draws(0, ("a", "b"))
    direct = draws.generator(1, "noise", 7).standard_normal(4)
    assert np.array_equal(direct, draws.normal("noise", 7, like(2, 4))[1].numpy())
