"""Scores maps with a metric: runs the metric's plans and hands it the maps in its own terms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm
from xbench.case import Case
from xbench.explain import Explainer
from xbench.metrics.base import Maps, Metric, ReexplainingMetric
from xbench.plan import Plan, Several, sequence
from xbench.setting import Tensors
from xbench.sites import frozen

External = Callable[..., Tensors]
Given = Tensors | tuple[Tensors, Algorithm] | Algorithm | External


@dataclass(frozen=True)
class Explanation:
    """Maps of the explainer's samples, and how to make them again.

    `again` is None for maps alone, an algorithm, or a callable f(model, inputs, target) of any origin.
    """

    maps: Maps
    again: Algorithm | External | None

    @classmethod
    def of(cls, explanation: Given, explainer: Explainer) -> Explanation:
        """From whatever the user has; maps of unknown origin count as global, one value per element."""
        if isinstance(explanation, Algorithm):
            return cls.by(explanation, explainer.attribute(explanation), explainer)
        if isinstance(explanation, tuple) and isinstance(explanation[-1], Algorithm):
            made, algorithm = explanation
            return cls.by(algorithm, _flat(made, explainer), explainer)
        if isinstance(explanation, (Tensor, tuple)):
            flat = _flat(cast(Tensors, explanation), explainer)
            return cls(Maps(flat, flat, local=False, stochastic=False), None)
        if callable(explanation):
            flat = _external(explanation, explainer, explainer.x)
            return cls(Maps(flat, flat, local=False, stochastic=None), explanation)
        raise TypeError(
            "explanation: expected maps (a tensor or a tuple), an algorithm, or a callable "
            f"f(model, inputs, target), got {type(explanation).__name__}"
        )

    @classmethod
    def by(cls, algorithm: Algorithm, flat: Tensor, explainer: Explainer) -> Explanation:
        """Maps (n, d) that the algorithm made."""
        facts = algorithm.facts
        density = algorithm.density(explainer.case(distribution=facts.distribution), flat)
        return cls(Maps(flat, density, facts.local, facts.stochastic), algorithm)


def score_maps(
    explainer: Explainer, metric: Metric, explanation: Explanation, evidence: Tensor | None = None
) -> dict[str, Tensor]:
    """The metric's columns, (n,) each. `evidence` is a stored `probe_outputs` of the same samples and metric."""
    if isinstance(metric, ReexplainingMetric):
        case = explainer.case(distribution=_distribution(explanation.again))
        evidence = _reexplain(explainer, metric, explanation)
        return metric.score(case, explainer.x, explanation.maps, evidence)
    if evidence is None:
        evidence = probe_outputs(explainer, metric)
    return metric.score(explainer.case(distribution=False), explainer.x, explanation.maps, evidence)


def probe_outputs(explainer: Explainer, metric: Metric) -> Tensor | None:
    """The metric's evaluations that no map enters, (n, q); None when it has none."""
    case = explainer.case(distribution=False)
    if metric.probe(case, explainer.x) is None:
        return None

    def plan(part: Case, x: Tensor) -> Plan:
        made = metric.probe(part, x)
        assert made is not None
        return made

    return explainer.run(plan, case, explainer.x)


def _reexplain(explainer: Explainer, metric: ReexplainingMetric, explanation: Explanation) -> Tensor:
    algorithm = explanation.again
    if algorithm is None:
        raise ValueError(
            f"{metric.facts.label} explains perturbed samples again: pass the algorithm (or a callable) "
            "instead of its maps"
        )
    if not isinstance(algorithm, Algorithm):
        return _reexplain_outside(explainer, metric, explanation.maps, algorithm)
    case = explainer.case(distribution=_distribution(algorithm))

    def plan(part: Case, x: Tensor) -> Plan | Several:
        maps = explanation.maps.part(part.span)
        count, versions = metric.perturbed(part, x, maps)
        plans = (algorithm.plan(keyed, perturbed) for keyed, perturbed in versions)
        return sequence(plans, count, lambda again: metric.compare(part, maps, again))

    return explainer.run(plan, case, explainer.x)


def _distribution(again: Algorithm | External | None) -> bool:
    """Whether baselines may be a distribution: a callable has its own, whatever the metric is told."""
    return not isinstance(again, Algorithm) or again.facts.distribution


def _reexplain_outside(explainer: Explainer, metric: ReexplainingMetric, maps: Maps, function: External) -> Tensor:
    case = explainer.case(distribution=_distribution(function))
    _, versions = metric.perturbed(case, explainer.x, maps)

    def again() -> Iterator[Tensor]:
        for _, perturbed in versions:
            yield _external(function, explainer, perturbed)

    return metric.compare(case, maps, again())


def _external(function: External, explainer: Explainer, x: Tensor) -> Tensor:
    setting = explainer.setting
    if setting.layer is not None:
        raise ValueError("a callable explains the model's inputs; leave out `layer`")
    tensors = explainer.shaped(x)
    tensors = tuple(t.to(like.dtype) for t, like in zip(tensors, setting.tensors, strict=True))
    inputs = tensors if isinstance(setting.inputs, tuple) else tensors[0]
    with frozen(setting.model):
        made = function(setting.model, inputs, setting.target)
    return _flat(made, explainer)


def _flat(maps: Tensors, explainer: Explainer) -> Tensor:
    given = maps if isinstance(maps, tuple) else (maps,)
    layout = explainer.subject.layout
    shapes = [tuple(m.shape) for m in given if isinstance(m, Tensor)]
    wanted = [(len(explainer.x), *shape) for shape in layout.shapes]
    if shapes != wanted:
        raise ValueError(f"explanation: expected maps of shape {wanted}, got {shapes}")
    return torch.cat([m.detach().to(explainer.device).reshape(len(m), -1) for m in given], dim=1)
