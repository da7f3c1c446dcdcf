"""The arguments of `attribute` and `measure`: the one place of their names, types, defaults and docs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, nn

from xbench.core.names import Output
from xbench.core.readouts import Target, Unit
from xbench.engine.speed import Speed

OneOrMany = Tensor | tuple[Tensor, ...]
Inputs = OneOrMany | Mapping[str, Tensor]
AnyModel = nn.Module | Callable[..., object]
Layered = Tensor | float | int | Sequence[Tensor | float | int] | None
Baselines = Layered | Mapping[str, Tensor | float | int]
BaselinesOf = Baselines | Callable[..., Baselines]
LayerNames = str | nn.Module
Layers = LayerNames | list[LayerNames] | tuple[LayerNames, ...] | None
Neuron = tuple[str | nn.Module, int | slice | Unit]


@dataclass(frozen=True)
class Problem:
    """A question to a model: the common arguments of `xbench.attribute` and `xbench.measure`.

    Attributes:
        model: any module, or a function of tensors; it is evaluated in evaluation mode and not changed.
        inputs: a tensor (n, ...), a tuple of them, or a dict of them, which the model takes by keyword; the first
            dimension counts samples.
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
        neuron: a unit to explain instead of the output, (layer, index): an int, a tuple of ints and slices (which are
            summed), or a function that maps the layer's tensor (or a tuple of several) to a number per row.
        seed: seed of every random draw; draws are keyed, and no global state is read or changed.
        memory: budget for tensors during an evaluation: bytes, "2GiB", or None for half of the free memory.
        devices: the device, such as "cuda:0"; None is the model's device. On another device a copy of the model is
            used.
        output: `logit`, `probability`, `log_probability` or `value` (regression) of the target.
        select: the part of a structured output to explain (a key, attribute or position).
        rows: a fixed number of rows per evaluation instead of the search for the fastest that fits.
        kwargs: further keyword arguments of the model; tensors whose first dimension is n follow the samples.
        layer_baselines: baselines in the shapes of `layer`, in place of the values that it has for `baselines`.
        allow_unused: whether a layer that the forward pass reaches but the output does not use gets zeros, not an
            error.
        speed: allowed means of a faster evaluation: bfloat16, torch.compile, verified rewrites (on by default); see
            `xbench.Speed`.
    """

    model: AnyModel
    inputs: Inputs
    _: KW_ONLY
    target: Target = None
    baselines: BaselinesOf = None
    extra: tuple[object, ...] = ()
    features: Inputs | None = None
    layer: Layers = None
    neuron: Neuron | None = None
    seed: int = 0
    memory: int | str | None = None
    devices: str | torch.device | None = None
    output: Output = "logit"
    select: str | int | None = None
    rows: int | None = None
    kwargs: Mapping[str, object] | None = None
    layer_baselines: Layered = None
    allow_unused: bool = False
    speed: Speed | None = None


@dataclass(frozen=True)
class AttributionProblem(Problem):
    """A question that an algorithm answers: the arguments of `xbench.attribute`.

    Attributes:
        read: gradients and activations are read at this layer while points enter at the input; a list of layers gives
            the maps of each.
        targets: several targets at once, each like `target`: the maps get a dimension for them after the samples,
            (n, len(targets), ...). All are explained with the same random draws.
        create_graph: whether the maps can be differentiated further, by the inputs and by the model's parameters (to
            train on them). Memory then grows with the evaluations. Not with backward rules (DeepLIFT, LRP, ...).
    """

    _: KW_ONLY
    read: Layers = None
    targets: Sequence[Target] | None = None
    create_graph: bool = False


@dataclass(frozen=True)
class ScoringProblem(Problem):
    """A question that a metric answers: the arguments of `xbench.measure`.

    Attributes:
        masks: ground truth for localisation metrics: a bool tensor (n, ...) per input, aligned like `features`; the
            maps are summed over dimensions of size 1, such as channels (n, 1, H, W).
    """

    _: KW_ONLY
    masks: Inputs | None = None
