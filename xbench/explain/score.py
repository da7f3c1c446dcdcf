"""Scores maps with a metric: gathers its evidence, and converts the maps to the metric's form."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor

from xbench.algorithms.base import Algorithm
from xbench.algorithms.external.external import External
from xbench.algorithms.noise_tunnel import NoiseTunnel
from xbench.core.case import Case
from xbench.core.needs import NotApplicable
from xbench.core.plan import Plan, Plans, Several, Want, sequence
from xbench.core.question import flat_maps
from xbench.explain.explainer import Explainer
from xbench.explain.problem import Inputs
from xbench.metrics.base import Metric
from xbench.metrics.evidence import Again, Changed, Evidence, Explained, Ranked, Shared, Smoothing
from xbench.metrics.maps import Maps

Given = Inputs | tuple[Inputs, Algorithm] | Algorithm | Callable[..., object]


@dataclass(frozen=True)
class Explanation:
    """Maps of the explainer's samples, and the function that explains again.

    `again` is None for maps alone.
    """

    maps: Maps
    again: Algorithm | None

    @classmethod
    def of(cls, explanation: Given, explainer: Explainer) -> Explanation:
        """Build from any accepted form; maps of unknown origin count as global, one value per element."""
        if callable(explanation) and not isinstance(explanation, Algorithm):
            explanation = External(explanation)
        if isinstance(explanation, Algorithm):
            return cls.by(explanation, explainer.attribute(explanation), explainer)
        if isinstance(explanation, tuple) and isinstance(explanation[-1], Algorithm):
            made, algorithm = explanation
            return cls.by(algorithm, _flat(made, explainer), explainer)
        if isinstance(explanation, (Tensor, tuple, Mapping)):
            flat = _flat(cast(Inputs, explanation), explainer)
            return cls(Maps(flat, flat, local=False, stochastic=False), None)
        raise TypeError(
            "explanation: expected maps (a tensor, a tuple or a dict), an algorithm, or a callable "
            f"f(model, inputs, target), got {type(explanation).__name__}"
        )

    @classmethod
    def by(cls, algorithm: Algorithm, flat: Tensor, explainer: Explainer) -> Explanation:
        """Build from maps (n, d) of an algorithm."""
        facts = algorithm.facts
        density = algorithm.density(explainer.case(distribution=facts.distribution), flat)
        return cls(Maps(flat, density, facts.local, facts.stochastic), algorithm)


def refusal(explainer: Explainer, metric: Metric, algorithm: Algorithm | None) -> str | None:
    """The reason why the metric cannot score maps of this algorithm; None if it can."""
    setting = explainer.setting
    if setting.read is not None and not metric.facts.anywhere:
        return f"needs a map where points enter: this one is read at {setting.read}"
    reason = explainer.lacks(metric.facts.needs)
    if reason is not None:
        return reason
    through = algorithm is not None and algorithm.facts.through_neuron and setting.read is None
    if through and setting.neuron is not None and not _explains(metric):
        return "needs a map of the neuron: this one is of the output, as far as it passes the neuron"
    try:
        metric.check(_case(explainer, metric, algorithm))
    except NotApplicable as error:
        return str(error)
    return None


def score_maps(
    explainer: Explainer,
    metric: Metric,
    explanation: Explanation,
    found: Sequence[Tensor] | None = None,
    share: slice | None = None,
) -> dict[str, Tensor]:
    """The metric's columns, (n,) each. `found` is the evidence, if gathered before, of the same samples.

    With `share`, the columns of these samples only; the explanation and the evidence are of all samples.
    """
    refused = refusal(explainer, metric, explanation.again)
    if refused is not None:
        raise NotApplicable(f"{metric.facts.label} {refused}")
    rows = slice(0, len(explainer.x)) if share is None else share
    if _explains(metric) and explanation.again is None:
        raise ValueError(
            f"{metric.facts.label} explains samples again: pass the algorithm (or a callable) instead of its maps"
        )
    if found is None:
        found = [gather(explainer, each, explanation, rows) for each in metric.evidence]
    else:
        found = [outputs[rows].clone() for outputs in found]
    case = _case(explainer, metric, explanation.again)
    # Copies, because a metric may write into its arguments.
    scores = metric.score(case.part(rows), explainer.x[rows].clone(), explanation.maps.part(rows), *found)
    return _columns(metric, scores, rows.stop - rows.start)


def _case(explainer: Explainer, metric: Metric, algorithm: Algorithm | None) -> Case:
    """The samples for `check` and `score`; baselines are a distribution if the algorithm explains again with one."""
    averages = _explains(metric) and (algorithm is None or algorithm.facts.distribution)
    return explainer.case(distribution=averages)


def _explains(metric: Metric) -> bool:
    """Whether the metric's evidence explains samples again."""
    return any(each.explains for each in metric.evidence)


def _columns(metric: Metric, scores: object, n: int) -> dict[str, Tensor]:
    """Check the scores against the columns of the metric's facts, and return them."""
    label, names = metric.facts.label, list(metric.facts.columns)
    if not isinstance(scores, Mapping) or set(scores) != set(names):
        given = list(scores) if isinstance(scores, Mapping) else type(scores).__name__
        raise ValueError(f"{label} must score with the columns {names} of its facts, got {given}")
    for name, values in scores.items():
        got = f"{tuple(values.shape)} of {values.dtype}" if isinstance(values, Tensor) else type(values).__name__
        if not isinstance(values, Tensor) or values.shape != (n,) or values.is_complex():
            raise ValueError(f"{label} must give a tensor of {n} real numbers, one per sample, as {name!r}; got {got}")
    return {name: scores[name] for name in names}


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


def _flat(maps: Inputs, explainer: Explainer) -> Tensor:
    maps = explainer.setting.in_order(maps, "explanation")
    return flat_maps(maps, explainer.subject.layout, explainer.x, "explanation")
