"""Partition SHAP, against the Owen value of its tree."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.algorithms.games import FEATURES, NUMBERED, Coalitions, D, Game, Linear, N, exactly, gains, mapped, samples
from xbench import algorithms as a
from xbench import attribute
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

# Partition SHAP


def orders(tree) -> list[list[int]]:
    """All orders in which the members of every group follow each other."""
    if isinstance(tree, int):
        return [[tree]]
    left, right = map(orders, tree)
    return [[*one, *two] for a in left for b in right for one, two in ((a, b), (b, a))]


def owen(value: Coalitions, tree) -> np.ndarray:
    """The mean gain over these orders."""
    return sum(gains(value, order) for order in orders(tree)) / len(orders(tree))


LINE = {
    1: 0,
    2: (0, 1),
    4: ((0, 1), (2, 3)),
    5: (((0, 1), 2), (3, 4)),
    8: (((0, 1), (2, 3)), ((4, 5), (6, 7))),
}


@pytest.mark.parametrize("k", LINE)
def test_partition_shap_is_the_owen_value_of_its_tree(k):
    model, (x, x0) = Game(k), samples(N, k)
    maps = attribute(model, x, a.PartitionShap(), baselines=x0)
    exactly(maps, mapped(lambda value, _: owen(value, LINE[k]), model, x, x0, torch.arange(k)))
    same = torch.allclose(maps, attribute(model, x, a.ShapleyValues(), baselines=x0))
    assert same == (k <= 2)


@pytest.mark.parametrize(
    ("shapes", "ids", "tree"),
    [
        ([(5,)], [4, 2, 0, 1, 3], (((4, 2), 0), (1, 3))),
        ([(6,)], [9, -1, 5, 7, 9, 5], ((2, 1), 0)),  # their middles are 3.5, 3 and 2
        ([(4, 2)], [0, 0, 1, 1, 2, 2, 3, 3], ((0, 1), (2, 3))),
        ([(2, 2, 4)], [*range(8), *range(8)], (((0, 1), (4, 5)), ((2, 3), (6, 7)))),
        ([(1, 4, 1)], [3, 2, 1, 0], ((3, 2), (1, 0))),
        ([(2,), (3,)], [1, 3, 0, 2, 4], (((1, 3), 0), (2, 4))),
        ([(), ()], [0, 1], (0, 1)),
    ],
    ids=["shuffled", "groups", "tokens", "image", "column", "two tensors", "two numbers"],
)
def test_the_tree_of_partition_shap_keeps_neighbours_together(shapes, ids, tree):
    d, sizes = len(ids), [torch.Size(shape).numel() for shape in shapes]
    model, (x, x0) = Game(d), samples(N, d)
    groups = torch.unique(torch.tensor(ids), return_inverse=True)[1] - int(-1 in ids)

    def parts(t: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.reshape(-1, *s) for part, s in zip(t.split(sizes, 1), shapes, strict=True))

    maps = attribute(model, parts(x), a.PartitionShap(), baselines=parts(x0), features=parts(torch.tensor([ids])))
    wanted = mapped(lambda value, _: owen(value, tree), model, x, x0, groups)
    exactly(torch.cat([m.reshape(N, -1) for m in maps], 1), wanted)


def partition(value: Coalitions, max_evals: int) -> np.ndarray:
    """Cut the groups with the largest shares, up to eight at a time, and divide the others equally."""
    groups = [(tuple(range(value.k)), (), 1.0)]  # members, what is present besides, weight of this context

    def share(group) -> float:
        members, context, weight = group
        return weight * (value((*context, *members)) - value(context))

    left = (max_evals - 2) // 2
    while left and any(len(members) > 1 for members, _, _ in groups):
        largest = sorted((g for g in groups if len(g[0]) > 1), key=lambda g: -abs(share(g)))[: min(8, left)]
        left -= len(largest)
        groups = [g for g in groups if g not in largest]
        for members, context, weight in largest:
            half = (len(members) + 1) // 2
            one, two = members[:half], members[half:]
            for own, other in ((one, two), (two, one)):
                groups += [(own, context, weight / 2), (own, (*context, *other), weight / 2)]
    phi = np.zeros(value.k)
    for group in groups:
        phi[list(group[0])] += share(group) / len(group[0])
    return phi


@pytest.mark.parametrize("max_evals", [2, 3, 4, 7, 12, 21, 30, 42, 61, 107, 108, 109])
def test_partition_shap_at_any_budget(max_evals):
    """Halves of 6, 3, 2 and 1 feature take 1 + 4 + 16 + 32 cuts."""
    model, (x, x0) = Game(12), samples(N, 12)
    explainer = Explainer(Request(model, x, baselines=x0))
    maps = explainer.attribute(a.PartitionShap(max_evals))
    exactly(maps, mapped(lambda value, _: partition(value, max_evals), model, x, x0, torch.arange(12)))
    exactly(maps.sum(1), model(x) - model(x0))
    assert explainer.engine.counters.forward_rows == N * min(max_evals // 2 * 2, 2 + 2 * 53)


@pytest.mark.parametrize("max_evals", [2, 8, 14, 100])
def test_partition_shap_of_samples_with_different_numbers_of_features(max_evals):
    """Their features lie in the order of their ids along the line, but for the first sample's."""
    model, (x, x0) = Game(D), samples()
    order = torch.tensor([5, 3, 1, 0, 2, 4])  # places of the features of that sample: 2, -1, 0, 1, 0, 1
    x[0], x0[0], groups, ids = x[0, order], x0[0, order], NUMBERED.clone(), FEATURES.clone()
    groups[0], ids[0] = torch.tensor([0, -1, 0, 1, 2, 1]), torch.tensor([2, -1, 2, 7, 40, 7])
    maps = attribute(model, x, a.PartitionShap(max_evals), baselines=x0, features=ids)
    exactly(maps, mapped(lambda value, _: partition(value, max_evals), model, x, x0, groups))


def test_a_cut_gives_each_half_its_sum_where_features_add_up():
    """Whatever the budget, once there is a cut."""
    model, (x, x0) = Linear(8), samples(N, 8)
    share = model.w * (x - x0)
    for max_evals in (4, 9, 20):
        maps = attribute(model, x, a.PartitionShap(max_evals), baselines=x0)
        exactly(maps[:, :4].sum(1), share[:, :4].sum(1))
        exactly(maps[:, 4:].sum(1), share[:, 4:].sum(1))
