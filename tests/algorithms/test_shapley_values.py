"""Exact Shapley values and those by sampled orders, against their definition."""

from collections import Counter
from itertools import permutations

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
    N,
    close_on_average,
    exactly,
    gains,
    mapped,
    samples,
    shapley,
)
from tests.models_for_tests import Quadratic, numbers
from xbench import algorithms as a
from xbench import attribute
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

# Exact Shapley values


@pytest.mark.parametrize("rows", [None, 1])
def test_shapley_values_by_brute_force(rows):
    model, (x, x0) = Game(D), samples()
    maps = attribute(model, x, a.ShapleyValues(), baselines=x0, features=FEATURES, rows=rows)
    exactly(maps, mapped(lambda value, _: shapley(value), model, x, x0, NUMBERED))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_shapley_values_of_single_elements_by_brute_force(k):
    model, (x, x0) = Game(k), samples(N, k)
    maps = attribute(model, x, a.ShapleyValues(), baselines=x0[:1])
    exactly(maps, mapped(lambda value, _: shapley(value), model, x, x0[:1], torch.arange(k)))


@pytest.mark.parametrize("method", [a.ShapleyValues(), a.KernelShap(2**4)], ids=str)
def test_shapley_values_do_not_depend_on_how_features_lie_in_tensors(method):
    """Features that span two tensors: renumbered, with the tensors swapped, and in one tensor."""
    model, x, y = Game(7), numbers(N, 3), numbers(N, 2, 2, seed=6)
    x0, y0 = numbers(1, 3, seed=2), numbers(1, 2, 2, seed=7)
    left, right = torch.tensor([[0, 1, 1]]), torch.tensor([[[2, 0], [3, 1]]])

    def joint(one: Tensor, two: Tensor) -> Tensor:
        return torch.cat([one, two.flatten(1)], 1)

    wanted = mapped(lambda value, _: shapley(value), model, joint(x, y), joint(x0, y0), joint(left, right))
    exactly(joint(*attribute(model, (x, y), method, baselines=(x0, y0), features=(left, right))), wanted)
    other = torch.tensor([11, 5, 0, 8])
    maps = attribute(model, (x, y), method, baselines=(x0, y0), features=(other[left], other[right]))
    exactly(joint(*maps), wanted)
    swapped = attribute(
        lambda y, x: model(x, y), (y, x), method, baselines=(y0, x0), features=(other[right], other[left])
    )
    exactly(joint(*swapped[::-1]), wanted)
    one = attribute(model, joint(x, y), method, baselines=joint(x0, y0), features=joint(left, right))
    exactly(one, wanted)


def test_too_many_features_are_refused():
    model, (x, x0) = Game(D), samples()
    with pytest.raises(
        a.NotApplicable,
        match=r"Shapley values needs at most 5 features: a sample has 6, which takes 2\^6 evaluations; group them, "
        "sample them .shapley_sampling, kernel_shap., or raise `max_features`",
    ):
        attribute(model, x, a.ShapleyValues(max_features=5), baselines=x0, features=FEATURES)
    maps = attribute(model, x, a.ShapleyValues(max_features=6), baselines=x0, features=FEATURES)
    exactly(maps, mapped(lambda value, _: shapley(value), model, x, x0, NUMBERED))


# Shapley values by sampling


def places(explainer: Explainer, method: a.ShapleyValueSampling) -> list[Tensor]:
    """When the feature of each element joins, from 0, (n, d) for every permutation: read off the points."""
    case, x = explainer.case(distribution=False), explainer.x
    absent = torch.stack([(p != x) & (case.features >= 0) for p in method.plan(case, x).points])
    assert not absent[0].any()
    assert torch.equal(absent[1], (case.features >= 0).expand_as(x))
    walks = absent[2:].unflatten(0, (method.n_samples, -1))
    size = torch.arange(1, walks.shape[1] + 1)[:, None, None]
    found = [walk.sum(0) for walk in walks]
    for walk, place in zip(walks, found, strict=True):
        assert torch.equal(walk, (place >= size) & (case.features >= 0))
    return found


def order_of(place: Tensor, groups: Tensor) -> list[int]:
    """Features in the order in which they join; each takes a place of its own, together with its elements."""
    pairs = sorted({(p, group) for p, group in zip(place.tolist(), groups.tolist(), strict=True) if group >= 0})
    assert [p for p, _ in pairs] == list(range(int(groups.max()) + 1))
    return [group for _, group in pairs]


@pytest.mark.parametrize("n_samples", [1, 2, 5])
@pytest.mark.parametrize("antithetic", [True, False])
def test_shapley_sampling_against_a_loop_over_its_orders(antithetic, n_samples):
    (model, (x, x0)), method = (Game(D), samples()), a.ShapleyValueSampling(n_samples, antithetic)
    explainer = Explainer(Request(model, x, baselines=x0, features=FEATURES, seed=4))
    drawn = places(explainer, method)

    def sampled(value: Coalitions, row: int) -> np.ndarray:
        orders = [order_of(place[row], NUMBERED[row]) for place in drawn]
        if antithetic:
            assert all(one[::-1] == two for one, two in zip(orders[::2], orders[1::2], strict=False))
        return sum(gains(value, order) for order in orders) / n_samples

    exactly(explainer.attribute(method), mapped(sampled, model, x, x0, NUMBERED))


@pytest.mark.parametrize("antithetic", [True, False])
def test_every_order_is_as_likely_as_another(antithetic):
    n, k = 1200, 4
    explainer = Explainer(Request(Game(k), numbers(1, k).expand(n, k), baselines=numbers(1, k, seed=2)))
    for place in places(explainer, a.ShapleyValueSampling(5, antithetic))[::2]:
        found = Counter(map(tuple, place.tolist()))
        assert set(found) == set(permutations(range(k)))
        chi = sum((times - n / 24) ** 2 / (n / 24) for times in found.values())
        assert chi < 55  # 23 degrees of freedom: one in five thousand


@pytest.mark.parametrize("method", [a.ShapleyValueSampling(3), a.ShapleyValueSampling(3, antithetic=False)], ids=str)
def test_shapley_sampling_is_right_on_average(method):
    n, (x, x0) = 400, samples(1)
    maps = attribute(Game(D), x.expand(n, D), method, baselines=x0)
    close_on_average(maps, mapped(lambda value, _: shapley(value), Game(D), x, x0, torch.arange(D))[0])


def test_an_order_and_its_reverse_are_exact_on_a_quadratic():
    """Of two features that interact each comes first once."""
    model, (x, x0) = Quadratic(D), samples()
    exact = model.gradient((x + x0) / 2) * (x - x0)  # half of every product to each of its factors
    for n_samples in (2, 6):
        exactly(attribute(model, x, a.ShapleyValueSampling(n_samples), baselines=x0), exact)
    for method in (a.ShapleyValueSampling(3), a.ShapleyValueSampling(6, antithetic=False)):
        assert not torch.allclose(attribute(model, x, method, baselines=x0), exact, rtol=1e-2)
