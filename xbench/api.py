"""The calls for a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm
from xbench.core.readouts import Target
from xbench.core.sites import Sites
from xbench.explain.consistency import inconsistencies as found_inconsistencies
from xbench.explain.explainer import Explainer
from xbench.explain.explanation import Explanation, Given
from xbench.explain.problem import AnyModel, AttributionProblem, Inputs, OneOrMany, Problem, ScoringProblem
from xbench.explain.request import Request, as_module, layers_by_name
from xbench.explain.score import score_maps
from xbench.explain.short_form import ShortForm
from xbench.metrics.base import Metric

Attributions = OneOrMany | dict[str, Tensor] | tuple[OneOrMany, ...]
Notes = dict[str, Tensor]


@ShortForm(AttributionProblem)
def attribute(problem: AttributionProblem, algorithm: Algorithm | str) -> Attributions:
    """Attribution maps of the samples, in the structure of the inputs (or of the layer).

    Args:
        algorithm: an instance such as `xbench.algorithms.IntegratedGradients(n_steps=50)`, or a name in conf/
            such as "ig".

    Returns:
        A tensor like the input, or a tuple if `inputs` is a tuple or the layer has several tensors; a dict of tensors
        if `inputs` is a dict and the maps are at the inputs. For a list of layers, a tuple with the maps of each.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it.
        RuntimeError: `NoGradientError`, `NonFiniteError`, `OutOfMemory`, or an operation unknown to a rule.
    """
    return _explained(problem, algorithm)[0]


@ShortForm(AttributionProblem)
def attribute_with_notes(problem: AttributionProblem, algorithm: Algorithm | str) -> tuple[Attributions, Notes]:
    """The maps of `attribute`, and the diagnostics of an adaptive algorithm per sample, such as the steps it used.

    Args:
        algorithm: as in `attribute`.

    Returns:
        The maps, and a dict of tensors (n,), or (n, len(targets)) for several targets; for a list of layers in
        `read`, those of the last.
    """
    return _explained(problem, algorithm)


@ShortForm(ScoringProblem)
def measure(problem: ScoringProblem, explanation: Given | str, metric: Metric | str) -> Tensor:
    """The metric's main score of every sample, (n,); NaN where it is undefined.

    Args:
        explanation: an algorithm (or its name in conf/), maps of one as a pair (maps, algorithm), maps alone, or
            any callable `f(model, inputs, target) -> maps`, for example a method of another library. Maps alone and
            those of a callable count as global, one value per element: say which algorithm made them when it gives
            gradients (Saliency) or one value to all elements of a feature (Kernel SHAP). Metrics that explain again,
            such as `SensitivityMax`, need an algorithm or a callable.
        metric: an instance such as `xbench.metrics.Infidelity()`, or a name in conf/ such as "infidelity".
    """
    explainer = Explainer(Request.of(problem))
    if isinstance(explanation, str):
        explanation = as_algorithm(explanation)
    metric = _metric(metric)
    scores = score_maps(explainer, metric, Explanation.of(explanation, explainer))
    return scores[metric.main].to(explainer.setting.tensors[0].device)


def inconsistencies(
    model: AnyModel,
    inputs: Inputs,
    *,
    extra: tuple[object, ...] = (),
    select: str | int | None = None,
    kwargs: Mapping[str, object] | None = None,
) -> tuple[str, ...]:
    """Inconsistencies that make explanations of the model meaningless, one clause each; empty if none are found.

    Ten rows of the first samples pass the model. Detected are random outputs, outputs that depend on other samples of
    the batch, and calls that change weights, modes or global states. The arguments are those of `attribute`, which does
    not check, because it sends only the rows of its algorithm. All state is restored, except weights of more than 1 GiB
    that a call changes.
    """
    asked = Request.of(Problem(model, inputs, extra=extra, select=select, kwargs=kwargs))
    return found_inconsistencies(Explainer(asked).subject)


def _explained(problem: AttributionProblem, algorithm: Algorithm | str) -> tuple[Attributions, Notes]:
    algorithm = as_algorithm(algorithm)
    if isinstance(problem.read, list | tuple) and not algorithm.facts.reads:
        raise ValueError(f"read: {algorithm.facts.label} reads at no layer of its own; name the layers in `layer`")
    request = Request.of(problem)
    places = layers_by_name(as_module(problem.model), problem.read)
    targets = problem.targets
    if targets is not None and (problem.target is not None or not len(targets)):
        raise ValueError("targets: give at least one, and no `target` beside them")
    if not isinstance(places, list | tuple):
        return _maps(replace(request, read=places), algorithm, targets)
    each = [_maps(replace(request, read=place), algorithm, targets) for place in places]
    return tuple(cast(OneOrMany, maps) for maps, _ in each), each[-1][1] if each else {}


def _maps(request: Request, algorithm: Algorithm, targets: Sequence[Target] | None) -> tuple[Attributions, Notes]:
    """The maps and notes at one place of reading; of several targets, with a dimension for them."""
    if targets is None:
        explainer = Explainer(request)
        flat = explainer.attribute(algorithm)
        return _in_structure(explainer, flat, algorithm), explainer.engine.counters.notes
    explainers = [Explainer(replace(request, target=target)) for target in targets]
    flat = torch.stack([each.attribute(algorithm) for each in explainers], dim=1)
    notes = [each.engine.counters.notes for each in explainers]
    stacked = {name: torch.stack([each[name] for each in notes], dim=1) for name in notes[-1]}
    return _in_structure(explainers[-1], flat, algorithm), stacked


def _in_structure(explainer: Explainer, flat: Tensor, algorithm: Algorithm) -> Attributions:
    """Flat maps (n, d), or (n, targets, d), in the structure of the inputs or of the layer."""
    request, reads, several = explainer.setting, algorithm.facts.reads, flat.shape[:-1]
    device = request.tensors[0].device
    if algorithm.facts.per_feature:
        return flat.to(device)
    shaped = explainer.shaped(flat.flatten(0, -2), read=reads)
    maps = tuple(m.unflatten(0, several).to(device) for m in shaped)
    where_they_enter = request.read is None or not reads
    at_inputs = request.layer is None and where_they_enter
    if at_inputs and isinstance(request.inputs, Mapping):
        return dict(zip(request.inputs, maps, strict=True))
    entrance = explainer.subject.inject
    if isinstance(entrance, Sites) and where_they_enter:
        return tuple(part if len(part) > 1 else part[0] for part in entrance.parted(maps))
    return maps if (isinstance(request.inputs, tuple) if at_inputs else len(maps) > 1) else maps[0]


def as_algorithm(algorithm: Algorithm | str) -> Algorithm:
    """An algorithm given as an object, or by its name in conf/."""
    if isinstance(algorithm, str):
        from xbench.config.compose import component  # Hydra is only needed for names

        algorithm = component("algorithm", algorithm)
    if not isinstance(algorithm, Algorithm):
        given = f"the class {algorithm.__name__} itself" if isinstance(algorithm, type) else type(algorithm).__name__
        raise TypeError(f"algorithm: expected an xbench algorithm or its name, got {given}")
    return algorithm


def _metric(metric: Metric | str) -> Metric:
    if isinstance(metric, str):
        from xbench.config.compose import component  # Hydra is only needed for names

        metric = component("metric", metric)
    if not isinstance(metric, Metric):
        raise TypeError(f"metric: expected an xbench metric or its name, got {type(metric).__name__}")
    return metric
