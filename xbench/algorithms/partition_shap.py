"""Partition SHAP: Owen values of features in a binary tree, cutting the groups with the largest values first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xbench.algorithms.base import Facts, at_least
from xbench.algorithms.parts.hierarchy import Tree, places
from xbench.algorithms.parts.on_features import OnFeatures
from xbench.core.case import Case
from xbench.core.masking import coalition, numbers, to_elements, value_dtype
from xbench.core.plan import Plan, Steps, Want, values

_AT_ONCE = 8  # number of cuts chosen at a time, so that many rows pass the model together


@dataclass(frozen=True)
class PartitionShap(OnFeatures):
    """Shapley values with neighbouring features in coalitions: the Owen values of a balanced binary tree.

    A group is cut into two halves; each half gets the mean of its contributions without and with the other half, and is
    cut again in both contexts. The groups with the largest shares are cut first, eight at a time; when `max_evals` is
    used up, the share of an uncut group is divided equally among its features. Neighbours are features at nearby
    positions in the tensor. The map sums to f(x) - f(x0) at any budget; every element of a feature carries the
    feature's value. Rows per sample: 2, and 2 for every cut, at most `max_evals`; all cuts of K = 2^m features take 2
    (K^2 - 1) / 3. Sources: Owen 1977, "Values of Games with a Priori Unions"; Lundberg, Lee 2017 (arXiv 1705.07874).

    Args:
        max_evals: maximum number of evaluations per sample.
    """

    max_evals: int = 500

    def __post_init__(self) -> None:
        at_least("max_evals", self.max_evals, 2)

    @property
    def facts(self) -> Facts:
        return Facts(
            "Partition SHAP",
            "Owen 1977, Values of Games with a Priori Unions, Lecture Notes in Economics and Mathematical Systems 141",
            complete=True,
        )

    def plan(self, case: Case, x: Tensor) -> Steps:
        k_max = int(case.counts.max())
        nothing = torch.zeros(len(x), k_max, dtype=torch.bool, device=x.device)
        ends = numbers((yield Plan([x, coalition(case, x, nothing)], 2, Want.VALUE, values)), self.facts.label)
        trees = [Tree(places(case, row), k_max, *reversed(ends[row].tolist())) for row in range(len(x))]
        left = [(self.max_evals - 2) // 2] * len(x)  # cuts that may still be made
        while any(cuts := [tree.next(min(_AT_ONCE, most)) for tree, most in zip(trees, left, strict=True)]):
            left = [most - len(own) for most, own in zip(left, cuts, strict=True)]
            each = [(row, group) for row, own in enumerate(cuts) for group in own]
            rows = torch.tensor([row for row, _ in each])
            masks = torch.from_numpy(np.stack([trees[row].masks(group) for row, group in each])).to(x.device)
            part, here = case.subset(rows), x[rows.to(x.device)]
            points = [coalition(part, here, masks[:, half]) for half in (0, 1)]
            found = yield Plan(points, 2, Want.VALUE, values, samples=rows)
            for (row, group), (a, b) in zip(each, found.double().tolist(), strict=True):
                trees[row].cut(group, a, b)
        phi = torch.from_numpy(np.stack([tree.shares() for tree in trees]))
        return to_elements(case, phi.to(x.device, value_dtype(x)), x)
