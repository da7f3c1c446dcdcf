"""Gathers evidence: model evaluations that are shared, ranked by a map, or of samples that are explained again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from xbench.algorithms.base import Algorithm
from xbench.algorithms.noise_tunnel import NoiseTunnel
from xbench.core.case import Case
from xbench.core.plan import Plan, Plans, Several, Want, sequence
from xbench.explain.explainer import Explainer
from xbench.explain.explanation import Explanation
from xbench.metrics.evidence import Again, Changed, Evidence, Explained, Ranked, Shared, Smoothing
from xbench.metrics.maps import Maps


def gather(
    explainer: Explainer, evidence: Evidence, explanation: Explanation | None, share: slice | None = None
) -> Tensor:
    """The result of the evidence, (n, q), for the samples `share`. `explanation` may be None for shared evidence."""
    if isinstance(evidence, Shared):
        # A copy, because a plan may write into it.
        return explainer.run(evidence.plan, explainer.case(distribution=False), explainer.x.clone(), share=share)
    assert explanation is not None, "evidence of a map needs one"
    maps = explanation.maps
    if isinstance(evidence, Ranked):
        return explainer.run(
            lambda part, x: evidence.plan(part, x, maps.part(part.span)),
            explainer.case(distribution=False),
            explainer.x.clone(),
            share=share,
        )
    algorithm = explanation.again
    assert algorithm is not None, "nothing explains again without the algorithm"
    if isinstance(evidence, Again):
        return _again(explainer, evidence, maps, algorithm, share)
    assert isinstance(evidence, Changed), "evidence is of one of four kinds"
    return _changed(explainer, evidence, maps, algorithm, share)


def _again(explainer: Explainer, evidence: Again, maps: Maps, algorithm: Algorithm, share: slice | None) -> Tensor:
    case = explainer.case(distribution=algorithm.facts.distribution)

    def plan(part: Case, x: Tensor) -> Plan | Several:
        own = maps.part(part.span)
        count, versions = evidence.versions(part, x, own)
        moved: deque[Tensor] = deque()

        def plans() -> Iterator[Plans]:
            for keyed, version in versions:
                moved.append(version)
                yield algorithm.plan(keyed, version)

        def pairs(again: Iterator[Tensor]) -> Iterator[tuple[Tensor, Maps]]:
            for found in again:
                yield moved.popleft(), replace(own, values=found, density=algorithm.density(part, found))

        if count == 0:
            return Plan((), 0, Want.VALUE, lambda _: evidence.reduce(part, x, own, iter(())))
        return sequence(plans(), count, lambda again: evidence.reduce(part, x, own, pairs(again)))

    return explainer.run(plan, case, explainer.x, whole=algorithm.facts.whole, share=share)


def _changed(explainer: Explainer, evidence: Changed, maps: Maps, algorithm: Algorithm, share: slice | None) -> Tensor:
    case = explainer.case(distribution=algorithm.facts.distribution)
    explained = Explained(explainer.setting.model, explainer.subject.target, explainer.outputs)
    rows = slice(0, len(explainer.x)) if share is None else share

    def others() -> Iterator[Tensor]:
        for change in evidence.changes(case, explained):
            other = explainer.changed(change.model, change.target, change.shift)
            found = other.attribute(_smoothed(algorithm, change.smoothing), share)
            explainer.engine.counters.add(other.engine.counters)  # before `reduce`, which may not ask for more
            yield found

    return evidence.reduce(case.part(rows), maps.part(rows), others())


def _smoothed(algorithm: Algorithm, smoothing: Smoothing | None) -> Algorithm:
    """The algorithm on noisy copies of its samples; itself without any."""
    if smoothing is None:
        return algorithm
    return NoiseTunnel(algorithm, nt_samples=smoothing.nt_samples, stdevs=smoothing.stdevs, relative=True)
