"""How far to trust each column of a table: three measures of a metric where the answer is known.

Computed from the scores and the distances of the methods to the known answer; no model is evaluated.
Source: Hedström, Bommer, Wickstrøm, Samek, Lapuschkin, Höhne 2023, "The Meta-Evaluation Problem in Explainable AI:
Identifying Reliable Estimators with MetaQuantus" (arXiv 2302.07265), with these deviations: the order by distance is
compared too, which a known answer allows; the minor perturbation is another seed, so all draws of metric and method,
and the disruptive one a random map, both of which a store holds; of the paper's two criteria the inter-consistency is
taken, over pairs of methods, without the intra-consistency, whose p-values depend on the number of samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xbench.tables.agreement import Measure, Numbers
from xbench.tables.stats import drawn_shares

MEASURES = (
    Measure("truth_order", "Order by the answer", "Spearman's correlation of the order of methods by their mean score "
            "with their order by the mean distance to the known answer; a metric of noise has 0."),
    Measure("noise_resilience", "Noise resilience", "The share of pairs of methods that another seed orders alike on a "
            "sample; 1 where nothing is drawn, 1/2 for a metric of noise."),
    Measure("adversary_reactivity", "Adversary reactivity", "The share of methods that score better than a random map "
            "on a sample, ties by half; a metric of noise has 1/2."),
)  # fmt: skip
NAMES = tuple(measure.name for measure in MEASURES)
_TIED = 1e-6  # share of the largest magnitude; maps of one method under two names differ by rounding alone
_FEWEST = 3  # methods that have an order worth a correlation


@dataclass(frozen=True)
class Estimate:
    """A measure of one metric, and its values in resamples of the samples, from which intervals are taken."""

    value: float
    resampled: Numbers

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % percentile interval; NaN where the value is undefined."""
        defined = self.resampled[~np.isnan(self.resampled)]
        if np.isnan(self.value) or not defined.size:
            return float("nan"), float("nan")
        low, high = np.quantile(defined, [0.025, 0.975])
        return float(low), float(high)


def spearman(one: Numbers, other: Numbers) -> Numbers:
    """Spearman's correlation along the last axis, (...), without entries that are NaN in either.

    NaN for fewer than three entries, and where all are equal in one. Numbers that differ by less than 1e-6 of the
    largest are equal, and equal ones share their mean rank.
    """
    both = ~(np.isnan(one) | np.isnan(other))
    first, second = _centred_ranks(one, both), _centred_ranks(other, both)
    size = np.sqrt(np.square(first).sum(-1) * np.square(second).sum(-1))
    found = (first * second).sum(-1) / np.where(size > 0, size, 1)
    known: Numbers = np.where((size > 0) & (both.sum(-1) >= _FEWEST), np.clip(found, -1, 1), np.nan)
    return known


def truth_order(scores: Numbers, distances: Numbers) -> Estimate:
    """The correlation over methods of the mean scores with the mean closeness, from (A, n) each.

        rho_a( mean_i s[a, i], -mean_i d[a, i] )

    Scores are signed so that higher is better. NaN is left out of a mean; a resample draws the samples of both.
    """
    shares = drawn_shares(scores.shape[1])
    value = spearman(_means(scores)[0], -_means(distances)[0])
    return Estimate(float(value), spearman(_means(scores, shares), -_means(distances, shares)))


def noise_resilience(scores: Numbers, again: Numbers) -> Estimate:
    """The mean over samples of the share of pairs of methods a < b that both runs order alike, from (A, n) each.

    mean_i share_{a < b}( sign(s[a, i] - s[b, i]) = sign(s'[a, i] - s'[b, i]) )
    """
    upper = np.triu_indices(len(scores), 1)
    first, second = (_signs(run.T)[:, *upper] for run in (scores, again))
    known = ~(np.isnan(first) | np.isnan(second))
    return _mean_over_samples(np.where(known, first == second, np.nan))


def adversary_reactivity(scores: Numbers, random: Numbers) -> Estimate:
    """The mean over samples of the share of methods that beat the random map, from (A, n) and (n,).

    mean_i mean_a (1 + sign(s[a, i] - r[i])) / 2
    """
    signs = np.stack([_signs(np.stack([row, random], axis=1))[:, 0, 1] for row in scores], axis=1)
    return _mean_over_samples((1 + signs) / 2)


def mean_of(estimates: list[Estimate]) -> Estimate:
    """The mean over settings, of which each is resampled by itself; undefined ones are left out."""
    known = [each for each in estimates if not np.isnan(each.value)]
    if not known:
        return Estimate(float("nan"), np.full(1, np.nan))
    # Every estimate of equally many samples has the same draws: turned against each other they are independent.
    turned = np.stack([np.roll(each.resampled, 7 * place) for place, each in enumerate(known)])
    return Estimate(float(np.mean([each.value for each in known])), _known_mean(turned))


def _signs(values: Numbers) -> Numbers:
    """Which of two entries of the last axis is larger, (..., A, A) as -1, 0, 1; NaN where one of them is."""
    size = np.abs(np.where(np.isnan(values), 0, values)).max(-1, initial=0)
    gap = values[..., :, None] - values[..., None, :]
    tied: Numbers = np.where(np.abs(gap) <= _TIED * size[..., None, None], 0, np.sign(gap))
    return tied


def _centred_ranks(values: Numbers, counted: np.ndarray) -> Numbers:
    """Mean ranks less their mean among the entries counted, 0 for others: half of wins less losses."""
    signs = _signs(np.where(counted, values, np.nan))
    ranks: Numbers = np.where(np.isnan(signs), 0, signs).sum(-1) / 2
    return ranks


def _means(values: Numbers, shares: Numbers | None = None) -> Numbers:
    """The means of the defined values of (A, n), (R, A): with the samples' shares (R, n), else of all alike."""
    shares = np.ones((1, values.shape[1])) if shares is None else shares
    known = ~np.isnan(values)
    weight = shares @ known.T
    total = shares @ np.where(known, values, 0).T
    means: Numbers = np.where(weight > 0, total / np.where(weight > 0, weight, 1), np.nan)
    return means


def _mean_over_samples(values: Numbers) -> Estimate:
    """The mean over samples of the mean of each one's defined values, from (n, m)."""
    each = _known_mean(values.T)[None]
    return Estimate(float(_means(each)[0, 0]), _means(each, drawn_shares(each.shape[1]))[:, 0])


def _known_mean(values: Numbers) -> Numbers:
    """The mean over the first axis of what is defined; NaN without any."""
    known = ~np.isnan(values)
    count = known.sum(0)
    mean: Numbers = np.where(count > 0, np.where(known, values, 0).sum(0) / np.maximum(count, 1), np.nan)
    return mean
