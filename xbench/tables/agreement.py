"""How far two methods agree on a sample: the same important features, in the same order, with the same signs.

All from the relevance of the features that attribution cells hold; no model is evaluated.
Source of the six formulas: Krishna, Han, Gu, Pombra, Jabbari, Wu, Lakkaraju 2022, "The Disagreement Problem in
Explainable Machine Learning: A Practitioner's Perspective" (arXiv 2202.01602).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

MOST = 512  # features whose pairs are compared; of more, so many at even distances
_CHUNK = 2**22  # pairs of features times methods held at once


@dataclass(frozen=True)
class Measure:
    """What one of the measures is, for readers."""

    name: str
    label: str
    meaning: str


MEASURES = (
    Measure("feature_agreement", "Feature agreement", "The share of the most important features that both name."),
    Measure("rank_agreement", "Rank agreement", "The share of them that both name at the same rank."),
    Measure("sign_agreement", "Sign agreement", "The share of them that both name with the same sign."),
    Measure("signed_rank_agreement", "Signed rank agreement", "The share with the same rank and the same sign."),
    Measure("rank_correlation", "Rank correlation", "Spearman's correlation of the importance of all features."),
    Measure("pairwise_rank_agreement", "Pairwise rank agreement", "The share of all pairs of features that both order "
            "alike."),
)  # fmt: skip
NAMES = tuple(measure.name for measure in MEASURES)


def agree(relevance: Numbers, top: float) -> Numbers:
    """How far each pair of maps agrees, (6, A, A) in the order of `MEASURES`; NaN where that is undefined.

    Importance is the magnitude of the relevance; the most important of equal ones is the first. With T(a) the k most
    important features of map a and R(a, s) the rank of s:

        feature agreement        |{s in T(a) and T(b)}| / k
        rank agreement           |{s in T(a) and T(b): R(a, s) = R(b, s)}| / k
        sign agreement           |{s in T(a) and T(b): sign(a, s) = sign(b, s)}| / k
        signed rank agreement    both
        rank correlation         Spearman's, of the importance; equal ones share their mean rank
        pairwise rank agreement  the share of the pairs s < t for which a and b both say s > t, or s < t, or s = t

    A map that gives all features one importance has no most important ones and no order: NaN.

    Args:
        relevance: (A, K), one map per row.
        top: k, or from 0 to 1 the share of the features that is k, at least one.
    """
    importance = np.abs(relevance)
    maps, count = importance.shape
    k = min(count, max(1, round(top * count) if top < 1 else int(top)))
    flat = importance.min(1, initial=np.inf) == importance.max(1, initial=-np.inf)
    found = np.full((len(MEASURES), maps, maps), np.nan)
    if not count or flat.all():
        return found
    order = np.argsort(-importance, axis=1, kind="stable")[:, :k]
    found[:4] = _of_the_top(np.sign(relevance), order)
    found[4] = _rank_correlation(importance, flat)
    found[5] = _pairwise(importance[:, np.linspace(0, count - 1, MOST).astype(int)] if count > MOST else importance)
    found[:, flat] = found[:, :, flat] = np.nan
    return found


def _of_the_top(signs: Numbers, order: NDArray[np.intp]) -> Numbers:
    """The first four measures, (4, A, A), from the signs (A, K) and each map's most important features (A, k)."""
    maps, k = order.shape
    named = np.zeros(signs.shape, dtype=bool)
    np.put_along_axis(named, order, True, axis=1)
    by_sign = np.concatenate([named & (signs == sign) for sign in (-1, 0, 1)], axis=1)
    of_top = np.take_along_axis(signs, order, axis=1)
    found = np.empty((4, maps, maps))
    found[0], found[2] = _common(named), _common(by_sign)
    for row in range(maps):  # one at a time: all pairs of maps times k is more than fits
        same = order == order[row]
        found[1, row] = same.sum(1)
        found[3, row] = (same & (of_top == of_top[row])).sum(1)
    shares: Numbers = found / k
    return shares


def _common(sets: NDArray[np.bool_]) -> Numbers:
    """How many elements each pair of sets shares, (A, A)."""
    members = sets.astype(np.float32)  # whole numbers up to 2**24 are exact
    return (members @ members.T).astype(np.float64)


def _rank_correlation(importance: Numbers, flat: NDArray[np.bool_]) -> Numbers:
    ranks = np.stack([mean_ranks(row) for row in importance])
    ranks -= ranks.mean(1, keepdims=True)
    size = np.sqrt(np.square(ranks).sum(1, keepdims=True))
    scaled = ranks / np.where(flat[:, None], 1, size)
    return np.clip(scaled @ scaled.T, -1, 1)


def mean_ranks(values: Numbers) -> Numbers:
    """The rank of every value from 0 on; equal ones share their mean."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean: Numbers = (np.cumsum(counts) - (counts + 1) / 2)[which]
    return mean


def _pairwise(importance: Numbers) -> Numbers:
    """The share of the pairs of features that each pair of maps orders alike, (A, A), some features at a time."""
    maps, count = importance.shape
    if count < 2:
        return np.full((maps, maps), np.nan)
    step = max(1, _CHUNK // (maps * count))
    concordance, tied = np.zeros((maps, maps)), np.zeros((maps, maps))
    for start in range(0, count, step):
        stop = min(start + step, count)
        left, right = importance[:, start:stop, None], importance[:, None, :stop]
        before = np.arange(stop) < np.arange(start, stop)[:, None]
        signs = np.sign(left - right)[:, before].astype(np.float32)
        concordance += signs @ signs.T  # alike less opposite
        equal = (signs == 0).astype(np.float32)
        tied += equal @ equal.T
        untied = 1 - equal
        concordance += untied @ untied.T  # twice those alike
    alike: Numbers = (concordance / 2 + tied) / (count * (count - 1) / 2)
    return alike
