"""Feature importance over a data set, against Captum's DataLoaderAttribution and sums by hand."""

from __future__ import annotations

import captum.attr as c
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import xbench
from tests.models_for_tests import TwoInputs, mlp, numbers, weights
from xbench import algorithms as a

MODEL, X = mlp(4, 8, 3), numbers(23, 4)
Y = MODEL(X + numbers(23, 4, seed=5) / 2).argmax(1)
DATA = DataLoader(TensorDataset(X, Y), batch_size=5)


def loss(output: Tensor, y: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(output, y, reduction="none")


def hit(output: Tensor, y: Tensor) -> Tensor:
    return output.argmax(1) == y


def same(ours: object, wanted: object) -> None:
    torch.testing.assert_close(ours, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("pool", [1024, 7])
@pytest.mark.parametrize("score", [loss, hit])
def test_ablation_over_a_data_set_is_captums(score, pool: int) -> None:
    groups = torch.tensor([[0, 1, 1, 2]])
    theirs = c.DataLoaderAttribution(c.FeatureAblation(lambda x, y: score(MODEL(x), y).double()))
    wanted = theirs.attribute(
        DATA, input_roles=(0, 1), baselines=(0.3,), feature_mask=(groups,), to_metric=lambda all_: all_.mean()[None]
    )[0]
    ours = xbench.importance(
        MODEL, DATA, a.FeatureAblation(), score=score, baselines=0.3, features=groups, pool=pool, rows=4
    )
    torch.testing.assert_close(ours.values, wanted[0].detach(), rtol=1e-6, atol=1e-7)
    same(ours.score, float(score(MODEL(X), Y).detach().double().mean()))
    assert ours.n == 23


def test_errors_are_those_of_the_mean() -> None:
    ours = xbench.importance(MODEL, DATA, a.FeatureAblation(), score=loss, pool=3)
    each = torch.stack([loss(MODEL(X), Y) - loss(MODEL(X * (torch.arange(4) != k)), Y) for k in range(4)], 1)
    same(ours.values, each.mean(0).detach())
    same(ours.errors, (each.std(0) / 23**0.5).detach())


@pytest.mark.slow
def test_permutation_importance_of_a_linear_model() -> None:
    """Squared error of y = w.x: a feature replaced by that of any other sample costs w_k^2 E[(x_k - x'_k)^2]."""
    x, w = numbers(40, 3), torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64)
    data = DataLoader(TensorDataset(x, x @ w), batch_size=8)
    spread = w.square() * 2 * x.var(0)  # the mean over all pairs of different samples
    ours = xbench.importance(
        lambda t: t @ w, data, a.FeaturePermutation(4000), score=lambda out, y: -(out - y).square()
    )
    torch.testing.assert_close(ours.values, spread, rtol=0.03, atol=1e-9)
    assert ours.score == 0


@pytest.mark.slow
def test_donors_come_from_the_whole_data_set() -> None:
    """Sorted data: within a batch a feature is nearly constant, and a permutation there would cost nearly nothing."""
    x = torch.arange(400.0, dtype=torch.float64)[:, None] / 400
    data = DataLoader(TensorDataset(x, x[:, 0]), batch_size=4)
    score = lambda out, y: -(out - y).square()  # noqa: E731
    ours = xbench.importance(lambda t: t[:, 0], data, a.FeaturePermutation(50), score=score, pool=200)
    torch.testing.assert_close(float(ours.values), float(2 * x.var()), rtol=0.1, atol=0)


def test_several_inputs_one_of_them_given_as_it_is() -> None:
    model, left, right = weights(TwoInputs()), numbers(9, 3), numbers(9, 2, 2)
    data = DataLoader(TensorDataset(torch.arange(9) % 3, right, left), batch_size=4)
    ours = xbench.importance(
        lambda second, first: model(first, second), data, a.FeatureAblation(), score=loss, input_roles=(2, 0, 1), pool=2
    )  # fmt: skip
    y = torch.arange(9) % 3
    without = [right.clone() for _ in range(4)]
    for k, each in enumerate(without):
        each.flatten(1)[:, k] = 0
    wanted = [(loss(model(left, right), y) - loss(model(left, each), y)).mean() for each in without]
    same(ours.values, torch.stack(wanted).reshape(2, 2).detach())


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match=r"score: gave shape \(\) for \d+ samples; expected a number for each"):
        xbench.importance(MODEL, DATA, score=lambda out, y: loss(out, y).mean())
    with pytest.raises(ValueError, match="input_roles: expected 0, 1 or 2 for each of the 2 parts"):
        xbench.importance(MODEL, DATA, score=hit, input_roles=(0,))
    with pytest.raises(ValueError, match="data: there is no sample"):
        xbench.importance(MODEL, [], score=hit)
    with pytest.raises(TypeError, match="data: expected batches of tensors .* got dict"):
        xbench.importance(MODEL, [{"x": X}], score=hit)
