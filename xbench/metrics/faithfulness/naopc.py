"""Normalised AOPC: where a curve lies between the best and the worst order that this model and sample allow."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.masking import require_features, require_few_features
from xbench.core.plan import Answer, Plan, Steps, Want
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.curves import ranks, removal, undefined_where_nan
from xbench.metrics.evidence import Evidence, Ranked, Shared
from xbench.metrics.imputers.base import Imputer
from xbench.metrics.imputers.known import imputer_of
from xbench.metrics.maps import Maps
from xbench.metrics.postprocess import Postprocess

EXACT = 8  # features of a sample up to which all subsets are evaluated

Evaluate = Callable[[Tensor], Plan]
Search = Generator[Plan, Tensor, Tensor]


@dataclass(frozen=True)
class OrderLimits(Shared):
    """The least and the greatest mean output over all orders of removal, (n, 2): (1/K) sum_k f(x, k removed), k = 1..K.

    Of a sample of up to `EXACT` features all subsets are evaluated, and the best path through them is exact. Of more
    the limits are found by beam search and are approximate: the real ones are no closer together. Of more than
    `max_features` there are none, NaN.
    """

    beam: int
    max_features: int
    imputer: Imputer

    def plan(self, case: Case, x: Tensor) -> Steps:
        require_features(case)
        return self._limits(case, x)

    def _limits(self, case: Case, x: Tensor) -> Steps:
        counts = case.counts.cpu()
        found = torch.full((len(x), 2), torch.nan, dtype=torch.float64, device=x.device)
        for few, search in ((True, _exact), (False, self._beam_search)):
            chosen = ((counts <= EXACT) == few) & (counts <= self.max_features)
            rows = chosen.nonzero().flatten()  # a sample's limits do not depend on its mates
            if len(rows):
                here, own = rows.to(x.device), counts[rows].to(x.device)
                without = removal(case.subset(rows), x[here], self.imputer)
                found[here] = yield from search(own, partial(_outputs, rows, without))
        return found

    def _beam_search(self, count: Tensor, evaluate: Evaluate) -> Search:
        n, k = len(count), int(count.max())
        own = torch.arange(k, device=count.device) < count[:, None]
        each = torch.eye(k, dtype=torch.bool, device=count.device)
        limits = []
        for sign in (1, -1):
            beams = torch.zeros(n, 1, k, dtype=torch.bool, device=count.device)  # the sets removed so far
            score = torch.zeros(n, 1, dtype=torch.float64, device=count.device)
            best = torch.zeros(n, dtype=torch.float64, device=count.device)
            for step in range(1, k + 1):
                sets = (beams[:, :, None] | each).flatten(1, 2)
                values = yield evaluate(sets.transpose(0, 1))
                new = (~beams & own[:, None]).flatten(1)
                total = (score.repeat_interleave(k, dim=1) + sign * values).masked_fill(~new, torch.inf)
                kept = _without_twins(total, sets).topk(min(self.beam, total.shape[1]), dim=1, largest=False)
                score, beams = kept.values, sets.gather(1, kept.indices[:, :, None].expand(-1, -1, k))
                best = torch.where(count == step, score[:, 0], best)
            limits.append(sign * best / count)
        return torch.stack(limits, dim=1)


def _outputs(rows: Tensor, without: Callable[[Tensor], Tensor], sets: Tensor) -> Plan:
    """f with the features of each set removed, (m, points): `sets` (points, m, K) bool, of the samples `rows`."""

    def stacked(answers: Iterator[Answer]) -> Tensor:
        return torch.stack([answer.value.double() for answer in answers], dim=1)

    return Plan((without(removed) for removed in sets), len(sets), Want.VALUE, stacked, samples=rows)


def _exact(count: Tensor, evaluate: Evaluate) -> Search:
    n, k = len(count), int(count.max())
    bits = (torch.arange(2**k, device=count.device)[:, None] >> torch.arange(k, device=count.device)) & 1 == 1
    values = yield evaluate(bits[:, None].expand(-1, n, -1))
    limits = []
    for sign in (1, -1):
        # The least sum of outputs along the sets that lead to each set.
        least = torch.zeros_like(values)
        for code in range(1, 2**k):
            before = [least[:, code ^ (1 << bit)] for bit in range(k) if code >> bit & 1]
            least[:, code] = sign * values[:, code] + torch.stack(before, 1).amin(1)
        limits.append(sign * least.gather(1, (2**count - 1)[:, None])[:, 0] / count)
    return torch.stack(limits, dim=1)


def _without_twins(total: Tensor, sets: Tensor) -> Tensor:
    """Infinity for all but the best of the beams that removed the same features in another order."""
    order = total.argsort(dim=1, stable=True)
    ranked = sets.gather(1, order[:, :, None].expand_as(sets)).double()
    size = ranked.sum(2)
    shared = ranked @ ranked.transpose(1, 2)
    same = (shared == size[:, :, None]) & (shared == size[:, None, :])
    twin = (same & torch.ones_like(same[0]).tril(-1)).any(2)
    return total.scatter(1, order, total.gather(1, order).masked_fill(twin, torch.inf))


@dataclass(frozen=True)
class OneByOne(Ranked):
    """(1/K) sum_k f(x without k features), (n, 1): the features removed one by one in an order, k = 1..K.

    NaN for samples of more than `max_features`.
    """

    order: str
    max_features: int
    imputer: Imputer
    postprocess: Postprocess

    def plan(self, case: Case, x: Tensor, maps: Maps) -> Plan:
        phi, own = self.postprocess.relevance(case, maps)
        rank = ranks(case, phi if self.order == "morf" else -phi, own)
        without, count = removal(case, x, self.imputer), own.sum(1)
        most = min(phi.shape[1], self.max_features)

        def mean(answers: Iterator[Answer]) -> Tensor:
            whole = torch.zeros(len(x), dtype=torch.float64, device=x.device)
            for step, answer in enumerate(answers, start=1):
                whole += torch.where(step <= count, answer.value.double(), 0)
            return (whole / count).masked_fill(count > most, torch.nan).unsqueeze(1)

        return Plan((without((rank < step) & own) for step in range(1, most + 1)), most, Want.VALUE, mean)


@dataclass(frozen=True)
class NormalisedAOPC(Metric):
    """(AOPC - least) / (greatest - least): AOPC of the map's order between the limits over all orders of the features.

        AOPC = (1/K) sum_k f(x) - f(x without the k most relevant features),  k = 1..K

    0 is the worst and 1 the best order, so models and samples can be compared. `naopc_sufficiency` is the same with the
    least relevant first, turned so that 1 is best too. NaN where all orders give the same. Give `output=probability`
    for the paper's number.
    Pitfall: beyond 8 features the limits are found by beam search, and a map may score a little beyond them.
    Source: Edin, Maistro, Maaløe, Borgholt, Havtorn, Ruotsalo 2024, "Normalized AOPC: Fixing Misleading Faithfulness
    Metrics for Feature Attribution Explainability" (arXiv 2408.08137).

    Args:
        beam: orders that the search keeps.
        max_features: samples of more have NaN: the limits take about K * K * beam evaluations.
        imputer: what stands in place of a removed feature.
        sign: of the relevance: signed, absolute or positive.
        channels: how the elements of a feature become one number.
    """

    beam: int = 5
    max_features: int = 20
    imputer: Imputer | str = "baseline"
    sign: str = "signed"
    channels: str = "sum"

    def __post_init__(self) -> None:
        for name in ("beam", "max_features"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        imputer_of(self.imputer)
        Postprocess(self.sign, self.channels)

    @property
    def facts(self) -> MetricFacts:
        columns = {
            "naopc": Column(
                "higher", label="NAOPC",
                meaning="Mean drop of the output while the most relevant features are removed one by one, from 0 for "
                "the worst order to 1 for the best.",
            ),
            "naopc_sufficiency": Column(
                "higher", label="NAOPC, sufficiency", detail=True,
                meaning="The same with the least relevant features first: 1 when the output stays as high as any order "
                "lets it.",
            ),
        }  # fmt: skip
        source = (
            "Edin, Maistro, Maaløe, Borgholt, Havtorn, Ruotsalo 2024, Normalized AOPC: Fixing Misleading Faithfulness "
            "Metrics for Feature Attribution Explainability, arXiv 2408.08137"
        )
        return MetricFacts("Normalised AOPC", source, columns, "faithfulness")

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        imputer, process = imputer_of(self.imputer), Postprocess(self.sign, self.channels)
        curves = (OneByOne(order, self.max_features, imputer, process) for order in ("morf", "lerf"))
        return OrderLimits(self.beam, self.max_features, imputer), *curves

    def describe(self, case: Case) -> str:
        return f"{case.called} {imputer_of(self.imputer).describe(case)}, one by one"

    def check(self, case: Case) -> None:
        require_features(case)
        require_few_features(case, self.max_features)
        imputer_of(self.imputer).check(case)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        limits, morf, lerf = (each.double() for each in found)
        least, greatest = limits.unbind(1)
        span = torch.where(greatest > least, greatest - least, torch.nan)
        columns = {"naopc": (greatest - morf[:, 0]) / span, "naopc_sufficiency": (lerf[:, 0] - least) / span}
        return {name: undefined_where_nan(maps, values) for name, values in columns.items()}
