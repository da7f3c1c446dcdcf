"""The two calls for a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from xbench.algorithms.base import Algorithm
from xbench.core.names import Output
from xbench.core.readouts import Target
from xbench.core.sites import Sites, layer_name
from xbench.engine.speed import Speed
from xbench.explain.consistency import inconsistencies as found_inconsistencies
from xbench.explain.explainer import Explainer
from xbench.explain.request import (
    AnyModel,
    BaselinesOf,
    Inputs,
    Layered,
    LayerNames,
    Layers,
    Neuron,
    OneOrMany,
    Request,
    as_module,
    made_baselines,
    on_device,
)
from xbench.explain.score import Explanation, Given, score_maps
from xbench.metrics.base import Metric

Attributions = OneOrMany | dict[str, Tensor] | tuple[OneOrMany, ...]


def attribute(
    model: AnyModel,
    inputs: Inputs,
    algorithm: Algorithm | str,
    *,
    target: Target = None,
    baselines: BaselinesOf = None,
    extra: tuple[object, ...] = (),
    features: Inputs | None = None,
    layer: Layers = None,
    neuron: Neuron | None = None,
    seed: int = 0,
    memory: int | str | None = None,
    devices: str | torch.device | None = None,
    read: Layers = None,
    output: Output = "logit",
    select: str | int | None = None,
    rows: int | None = None,
    kwargs: Mapping[str, object] | None = None,
    layer_baselines: Layered = None,
    allow_unused: bool = False,
    targets: Sequence[Target] | None = None,
    create_graph: bool = False,
    notes: dict[str, Tensor] | None = None,
    speed: Speed | None = None,
) -> Attributions:
    """Attribution maps of the samples, in the structure of the inputs (or of the layer).

    Args:
        model: any module, or a function of tensors; it is evaluated in evaluation mode and not changed.
        inputs: a tensor (n, ...), a tuple of them, or a dict of them, which the model takes by keyword; the first
            dimension counts samples.
        algorithm: an instance such as `xbench.algorithms.IntegratedGradients(n_steps=50)`, or a name in conf/
            such as "ig".
        target: the output to explain: an int or a tuple of ints for all samples, or one per sample (a tensor
            (n,) or (n, k), a list); (n, m, k): the sum of m outputs. None for models with one output.
        baselines: the values of absent features: a number, a tensor (1, ...) or (n, ...), or one of these per input (a
            tuple, or a dict like the inputs); None is 0. Methods that average over a distribution take (R, ...).
            Within a sample they broadcast as in torch: (C, 1, 1) is a value per channel of images, (W,) one per column.
            They are converted to the inputs' type, which must hold them: 0.2 is not a baseline of integers.
            Or a function of the inputs, or without arguments, that returns them; it is called once.
        extra: further positional arguments of the model; tensors whose first dimension is n follow the samples.
        features: integer group ids (1 or n, ...) per input; -1 belongs to no feature. Their first dimension counts
            samples. Missing dimensions are appended: token positions (n, T) fit an embedding (n, T, D), and pixels
            of all channels are (1, 1, H, W). If torch's broadcasting, which prepends dimensions, would give other
            features, the shape is refused.
        layer: points enter at this layer's output instead of the input: a name such as "embedding",
            "conv1:input", "relu@2" (its second call), or the module itself. A list of layers: points enter at all of
            them at once, as at the embeddings of words and of their positions; none may follow another.
        layer_baselines: baselines in the shapes of `layer`, in place of the values that it has for `baselines`.
        neuron: a unit to explain instead of the output, (layer, index): an int, a tuple of ints and slices (which are
            summed), or a function that maps the layer's tensor (or a tuple of several) to a number per row.
        seed: seed of every random draw; draws are keyed, and no global state is read or changed.
        memory: budget for tensors during an evaluation: bytes, "2GiB", or None for half of the free memory.
        devices: the device, such as "cuda:0"; None is the model's device. On another device a copy of the model is
            used.
        read: gradients and activations are read at this layer while points enter at the input; a list of layers gives
            the maps of each.
        output: `logit`, `probability`, `log_probability` or `value` (regression) of the target.
        select: the part of a structured output to explain (a key, attribute or position).
        rows: a fixed number of rows per evaluation instead of the search for the fastest that fits.
        kwargs: further keyword arguments of the model; tensors whose first dimension is n follow the samples.
        targets: several targets at once, each like `target`: the maps get a dimension for them after the samples,
            (n, len(targets), ...). All are explained with the same random draws.
        create_graph: whether the maps can be differentiated further, by the inputs and by the model's parameters (to
            train on them). Memory then grows with the evaluations. Not with backward rules (DeepLIFT, LRP, ...).
        allow_unused: whether a layer that the forward pass reaches but the output does not use gets zeros, not an
            error.
        notes: a dict to fill with the diagnostics of an adaptive algorithm per sample, such as the steps it used: (n,)
            each, or (n, len(targets)).
        speed: allowed means of a faster evaluation: bfloat16, torch.compile, verified rewrites (on by default); see
            `xbench.Speed`.

    Returns:
        A tensor like the input, or a tuple if `inputs` is a tuple or the layer has several tensors; a dict of tensors
        if `inputs` is a dict and the maps are at the inputs. For a list of layers, a tuple with the maps of each.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it.
        RuntimeError: `NoGradientError`, `NonFiniteError`, `OutOfMemory`, or an operation unknown to a rule.
    """
    algorithm = as_algorithm(algorithm)
    baselines = made_baselines(baselines, inputs)
    if isinstance(read, list | tuple) and not algorithm.facts.reads:
        raise ValueError(f"read: {algorithm.facts.label} reads at no layer of its own; name the layers in `layer`")
    module, layer, places, neuron = _placed(model, devices, layer, read, neuron)
    if targets is not None and (target is not None or not len(targets)):
        raise ValueError("targets: give at least one, and no `target` beside them")

    def explain(target: Target, read: LayerNames | None) -> tuple[Explainer, Tensor]:
        explainer = Explainer(
            Request(
                module, inputs, target, baselines, extra, features, layer, read, neuron, output, select, seed,
                memory=memory, rows=rows, kwargs=kwargs or {}, create_graph=create_graph,
                layer_baselines=layer_baselines, allow_unused=allow_unused, speed=speed or Speed(),
            )
        )  # fmt: skip
        return explainer, explainer.attribute(algorithm)

    def maps_at(read: LayerNames | None) -> Attributions:
        results = [explain(each, read) for each in ([target] if targets is None else targets)]
        explainer, flat = results[-1]
        if targets is not None:
            flat = torch.stack([flat for _, flat in results], dim=1)
        if notes is not None:
            told = [each.engine.counters.notes for each, _ in results]
            stacked = {name: torch.stack([each[name] for each in told], dim=1) for name in told[-1]}
            notes.update(told[-1] if targets is None else stacked)
        device = explainer.setting.tensors[0].device
        if algorithm.facts.per_feature:
            return flat.to(device)
        several = (len(flat), len(targets)) if targets is not None else (len(flat),)
        shaped = explainer.shaped(flat.flatten(0, len(several) - 1), read=algorithm.facts.reads)
        maps = tuple(m.unflatten(0, several).to(device) for m in shaped)
        at_inputs = layer is None and (read is None or not algorithm.facts.reads)
        if at_inputs and isinstance(inputs, Mapping):
            return dict(zip(inputs, maps, strict=True))
        entrance = explainer.subject.inject
        if isinstance(entrance, Sites) and (read is None or not algorithm.facts.reads):
            return tuple(part if len(part) > 1 else part[0] for part in entrance.parted(maps))
        return maps if (isinstance(inputs, tuple) if at_inputs else len(maps) > 1) else maps[0]

    if isinstance(places, list | tuple):
        return tuple(cast(OneOrMany, maps_at(place)) for place in places)
    return maps_at(places)


def measure(
    model: AnyModel,
    inputs: Inputs,
    explanation: Given | str,
    metric: Metric | str,
    *,
    target: Target = None,
    baselines: BaselinesOf = None,
    extra: tuple[object, ...] = (),
    features: Inputs | None = None,
    layer: Layers = None,
    neuron: Neuron | None = None,
    seed: int = 0,
    memory: int | str | None = None,
    devices: str | torch.device | None = None,
    output: Output = "logit",
    select: str | int | None = None,
    rows: int | None = None,
    kwargs: Mapping[str, object] | None = None,
    layer_baselines: Layered = None,
    allow_unused: bool = False,
    masks: Inputs | None = None,
    speed: Speed | None = None,
) -> Tensor:
    """The metric's main score of every sample, (n,); NaN where it is undefined.

    Args:
        explanation: an algorithm (or its name in conf/), maps of one as a pair (maps, algorithm), maps alone, or
            any callable `f(model, inputs, target) -> maps`, for example a method of another library. Maps alone and
            those of a callable count as global, one value per element: say which algorithm made them when it gives
            gradients (Saliency) or one value to all elements of a feature (Kernel SHAP). Metrics that explain again,
            such as `SensitivityMax`, need an algorithm or a callable.
        metric: an instance such as `xbench.metrics.Infidelity()`, or a name in conf/ such as "infidelity".

        masks: ground truth for localisation metrics: a bool tensor (n, ...) per input, aligned like `features`; the
            maps are summed over dimensions of size 1, such as channels (n, 1, H, W).

    The other arguments are those of `attribute`.
    """
    module, layer, _, neuron = _placed(model, devices, layer, None, neuron)
    explainer = Explainer(
        Request(
            module, inputs, target, made_baselines(baselines, inputs), extra, features, layer, None, neuron, output,
            select, seed, memory=memory, rows=rows, kwargs=kwargs or {}, layer_baselines=layer_baselines, masks=masks,
            allow_unused=allow_unused, speed=speed or Speed(),
        )
    )  # fmt: skip
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
    setting = Request(as_module(model), inputs, extra=extra, select=select, kwargs=kwargs or {})
    return found_inconsistencies(Explainer(setting).subject)


def _placed(
    model: AnyModel, device: str | torch.device | None, layer: Layers, read: Layers, neuron: Neuron | None
) -> tuple[nn.Module, Layers, Layers, Neuron | None]:
    """The model on its device, and the layers by name, because modules given as objects are not part of a copy."""
    if isinstance(device, (list, tuple)):
        raise TypeError(f"devices: expected one device such as 'cuda:0', got {device!r}")
    given = as_module(model)

    def named(layers: Layers) -> Layers:
        if isinstance(layers, list | tuple):
            return tuple(layer_name(given, place) for place in layers)
        return layers if layers is None else layer_name(given, layers)

    if isinstance(neuron, tuple) and len(neuron) == 2:
        neuron = layer_name(given, neuron[0]), neuron[1]
    return on_device(given, device), named(layer), named(read), neuron


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
