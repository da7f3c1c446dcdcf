"""Scores maps with a metric: gathers its evidence, and converts the maps to the metric's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from xbench.algorithms.base import Algorithm
from xbench.core.case import Case
from xbench.core.needs import NotApplicable
from xbench.explain.evidence import gather
from xbench.explain.explainer import Explainer
from xbench.explain.explanation import Explanation
from xbench.metrics.base import Metric


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
