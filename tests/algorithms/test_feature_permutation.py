"""Feature permutation, against a loop over donors."""

from math import floor

import pytest
import torch

from tests.algorithms.games import COUNTS, FEATURES, NUMBERED, D, Game, Linear, exactly
from tests.models_for_tests import numbers
from xbench import algorithms as a
from xbench import attribute
from xbench.core.draws import Draws
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

# Feature permutation


def donors(ids: tuple[str, ...], row: int, feature: int, n_samples: int) -> list[int]:
    """Positions of the samples whose values a sample takes: any but itself, counted in the order of their ids.

    A draw has one number per feature.
    """
    others = [i for i in sorted(range(len(ids)), key=lambda i: ids[i]) if i != row]
    numbers = Draws(0, ids)
    return [
        others[floor(numbers.generator(row, "donors", draw).random(feature + 1)[feature] * len(others))]
        for draw in range(n_samples)
    ]


def test_feature_permutation_against_a_loop_over_donors():
    ids, n_samples = ("m", "b", "z", "a", "k"), 6
    model, x = Game(D), numbers(5, D)
    rows = [0, 1, 2, 1, 0]
    explainer = Explainer(Request(model, x, features=FEATURES[rows], ids=ids))
    maps = explainer.attribute(a.FeaturePermutation(n_samples))
    wanted = torch.zeros_like(x)
    for row, groups in enumerate(NUMBERED[rows]):
        for group in range(COUNTS[rows[row]]):
            losses = [
                model(x[[row]]) - model(torch.where(groups == group, x[[donor]], x[[row]]))
                for donor in donors(ids, row, group, n_samples)
            ]
            wanted[row, groups == group] = (sum(losses) / n_samples).item()
    exactly(maps, wanted)


def test_feature_permutation_of_a_linear_model_takes_the_difference_from_the_donor():
    model, x = Linear(D), numbers(4, D)
    ids = tuple(map(str, range(4)))
    maps = attribute(model, x, a.FeaturePermutation(5))
    for row in range(4):
        for k in range(D):
            difference = x[row, k] - torch.stack([x[donor, k] for donor in donors(ids, row, k, 5)]).mean()
            exactly(maps[row, k], model.w[k] * difference)


def test_of_two_samples_each_is_the_others_donor():
    model, x = Linear(D), numbers(2, D)
    exactly(attribute(model, x, a.FeaturePermutation(1)), model.w * (x - x.flip(0)))


def test_every_other_sample_is_a_donor_as_often():
    model, x = Linear(1), numbers(4, 1)
    maps = attribute(model, x, a.FeaturePermutation(4000)).squeeze(1)
    for row in range(4):
        losses = model.w.detach() * (x[row] - torch.cat([x[:row], x[row + 1 :]]).squeeze(1))
        assert (maps[row] - losses.mean()).abs() < 4.5 * losses.std(unbiased=False) / 4000**0.5


def test_feature_permutation_needs_another_sample():
    with pytest.raises(a.NotApplicable, match="Feature Permutation needs at least two samples: there is only one"):
        attribute(Game(D), numbers(1, D), a.FeaturePermutation())
