"""What a regression on few coalitions of features determines, and what is said where it does not."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models_for_tests import mlp, numbers
from xbench import algorithms as a
from xbench import attribute
from xbench.algorithms.parts.coalitions import draw_coalitions, draw_determining

SEEDS = range(30)


def exact(k: int, method: a.Algorithm) -> int:
    """For how many seeds the map of a linear model of k features is w * (x - x0)."""
    w, x, x0 = numbers(k, seed=5), numbers(2, k), numbers(1, k, seed=2)

    def model(points: Tensor) -> Tensor:
        return points @ w + 3

    maps = (attribute(model, x, method, baselines=x0, seed=seed) for seed in SEEDS)
    return sum(torch.allclose(found, w * (x - x0), rtol=0, atol=1e-9) for found in maps)


def test_the_default_of_kernel_shap_is_exact_on_a_linear_model_of_20_features():
    """Its 23 coalitions are 12 pairs, 12 equations for 19 unknowns; drawn one by one they are enough."""
    assert exact(20, a.KernelShap()) == len(SEEDS)


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(
    ("k", "n_samples"),
    [(1, 3), (2, 3), (3, 4), (4, 5), (6, 7), (6, 12), (13, 14), (13, 25), (13, 27), (24, 25), (50, 52), (50, 101)],
)
def test_kernel_shap_is_exact_on_linear_models_from_one_evaluation_more_than_features(k, n_samples, paired):
    assert exact(k, a.KernelShap(n_samples, paired)) == len(SEEDS)


@pytest.mark.slow
@pytest.mark.parametrize("antithetic", [True, False])
def test_shapley_sampling_is_exact_on_linear_models_with_any_number_of_permutations(antithetic):
    for n_samples in (1, 2, 3):
        assert exact(20, a.ShapleyValueSampling(n_samples, antithetic)) == len(SEEDS)


def test_a_linear_fit_of_lime_is_exact_on_linear_models():
    assert exact(12, a.Lime(40, "linear")) == len(SEEDS)


@pytest.mark.parametrize(("k", "count"), [(6, 23), (10, 60), (20, 60), (20, 198)])
def test_pairs_that_determine_the_values_stay(k, count):
    for seed in SEEDS:
        wanted = draw_coalitions(np.random.default_rng(seed), k, count, paired=True)
        found = draw_determining(np.random.default_rng(seed), k, count, paired=True)
        for one, other in zip(found, wanted, strict=True):
            assert np.array_equal(one, other)


def test_pairs_stay_where_single_coalitions_would_not_be_enough_either():
    for seed in SEEDS:
        z, _ = draw_determining(np.random.default_rng(seed), 40, 20, paired=True)
        assert np.array_equal(z[0::2], ~z[1::2])


@pytest.mark.parametrize(
    ("method", "k"),
    [(a.KernelShap(), 25), (a.KernelShap(3, paired=False), 3), (a.Lime(25, "linear"), 25), (a.Lime(9, alpha=0), 12)],
    ids=repr,
)
def test_values_that_are_not_determined_are_said(method, k):
    model, x, x0 = mlp(k, 4, 2), numbers(3, k), numbers(1, k, seed=2)
    said = rf"n_samples={method.n_samples} evaluations leave the values of {k} features open.*n_samples={k + 1} or more"
    with pytest.warns(UserWarning, match=said):
        attribute(model, x, method, target=0, baselines=x0)
    groups = (torch.arange(k) // 2)[None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attribute(model, x, method, target=0, baselines=x0, features=groups)
        attribute(model, x, a.Lime(9), target=0, baselines=x0)  # its penalty decides


def test_what_is_not_determined_is_of_least_norm_and_adds_up():
    """Features that no coalition tells apart get the same value."""
    k = 30
    w, x, x0 = numbers(k, seed=5), numbers(1, k), numbers(1, k, seed=2)
    with pytest.warns(UserWarning, match="least norm"):
        found = attribute(lambda points: points @ w, x, a.KernelShap(3, paired=False), baselines=x0)
    assert len(found.round(decimals=12).unique()) == 2  # of those inside the one coalition, and of those outside
    torch.testing.assert_close(found.sum(), w @ (x - x0)[0], rtol=1e-12, atol=1e-12)
