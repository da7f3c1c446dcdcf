"""Scores maps with a metric: runs the metric's plans and hands it the maps in its own terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from xbench.algorithms.base import Algorithm, NotApplicable
from xbench.algorithms.external import External
from xbench.core.case import Case
from xbench.core.plan import Plan, Several, sequence
from xbench.core.question import flat_maps
from xbench.explain.explainer import Explainer
from xbench.explain.request import Inputs
from xbench.metrics.base import Maps, Metric, ReexplainingMetric

Given = Inputs | tuple[Inputs, Algorithm] | Algorithm | Callable[..., object]


@dataclass(frozen=True)
class Explanation:
    """Maps of the explainer's samples, and how to make them again.

    `again` is None for maps alone.
    """

    maps: Maps
    again: Algorithm | None

    @classmethod
    def of(cls, explanation: Given, explainer: Explainer) -> Explanation:
        """From whatever the user has; maps of unknown origin count as global, one value per element."""
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
        """Maps (n, d) that the algorithm made."""
        facts = algorithm.facts
        density = algorithm.density(explainer.case(distribution=facts.distribution), flat)
        return cls(Maps(flat, density, facts.local, facts.stochastic), algorithm)


def refusal(explainer: Explainer, metric: Metric, algorithm: Algorithm | None) -> str | None:
    """Why the metric cannot score the algorithm's maps, whatever they are; None when it can."""
    setting = explainer.setting
    if setting.read is not None and not metric.facts.anywhere:
        return f"needs a map where points enter: this one is read at {setting.read}"
    if metric.facts.truth and explainer.case(distribution=False).truth is None:
        return "needs masks of where the evidence lies: the data come without"
    through = algorithm is not None and algorithm.facts.through_neuron and setting.read is None
    if through and setting.neuron is not None and not isinstance(metric, ReexplainingMetric):
        return "needs a map of the neuron: this one is of the output, as far as it passes the neuron"
    return None


def score_maps(
    explainer: Explainer,
    metric: Metric,
    explanation: Explanation,
    evidence: Tensor | None = None,
    share: slice | None = None,
) -> dict[str, Tensor]:
    """The metric's columns, (n,) each. `evidence` is a stored `probe_outputs` of the same samples and metric.

    With `share`, of these samples alone; the explanation and the evidence are those of all.
    """
    refused = refusal(explainer, metric, explanation.again)
    if refused is not None:
        raise NotApplicable(f"{metric.facts.label} {refused}")
    rows = slice(0, len(explainer.x)) if share is None else share
    if isinstance(metric, ReexplainingMetric):
        case = explainer.case(distribution=explanation.again is None or explanation.again.facts.distribution)
        evidence = _reexplain(explainer, metric, explanation, rows)
    else:
        case = explainer.case(distribution=False)
        evidence = probe_outputs(explainer, metric, rows) if evidence is None else evidence[rows].clone()
    # Copies: a metric may write into what it is given.
    scores = metric.score(case.part(rows), explainer.x[rows].clone(), explanation.maps.part(rows), evidence)
    return _columns(metric, scores, rows.stop - rows.start)


def _columns(metric: Metric, scores: object, n: int) -> dict[str, Tensor]:
    """The scores, if they are what the metric's facts announce."""
    label, names = metric.facts.label, list(metric.facts.columns)
    if not isinstance(scores, Mapping) or set(scores) != set(names):
        given = list(scores) if isinstance(scores, Mapping) else type(scores).__name__
        raise ValueError(f"{label} must score with the columns {names} of its facts, got {given}")
    for name, values in scores.items():
        got = f"{tuple(values.shape)} of {values.dtype}" if isinstance(values, Tensor) else type(values).__name__
        if not isinstance(values, Tensor) or values.shape != (n,) or values.is_complex():
            raise ValueError(f"{label} must give a tensor of {n} real numbers, one per sample, as {name!r}; got {got}")
    return {name: scores[name] for name in names}


def probe_outputs(explainer: Explainer, metric: Metric, share: slice | None = None) -> Tensor | None:
    """The metric's evaluations that no map enters, (n, q); None when it has none."""
    case = explainer.case(distribution=False)
    if metric.probe(case, explainer.x.clone()) is None:
        return None

    def plan(part: Case, x: Tensor) -> Plan:
        made = metric.probe(part, x)
        assert made is not None
        return made

    return explainer.run(plan, case, explainer.x, share=share)


def _reexplain(explainer: Explainer, metric: ReexplainingMetric, explanation: Explanation, share: slice) -> Tensor:
    algorithm = explanation.again
    if algorithm is None:
        raise ValueError(
            f"{metric.facts.label} explains perturbed samples again: pass the algorithm (or a callable) "
            "instead of its maps"
        )
    case = explainer.case(distribution=algorithm.facts.distribution)

    def plan(part: Case, x: Tensor) -> Plan | Several:
        maps = explanation.maps.part(part.span)
        count, versions = metric.perturbed(part, x, maps)
        plans = (algorithm.plan(keyed, perturbed) for keyed, perturbed in versions)
        return sequence(plans, count, lambda again: metric.compare(part, maps, again))

    return explainer.run(plan, case, explainer.x, whole=algorithm.facts.whole, share=share)


def _flat(maps: Inputs, explainer: Explainer) -> Tensor:
    maps = explainer.setting.in_order(maps, "explanation")
    return flat_maps(maps, explainer.subject.layout, explainer.x, "explanation")
