"""`Request`, a problem in the form for an explainer, and the accepted forms of models, layers and baselines."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from xbench.config.arguments import parameters
from xbench.core.padding import Padded
from xbench.core.sites import device_of, layer_name
from xbench.engine.rewrites.choice import Decide
from xbench.engine.speed import Speed
from xbench.explain.problem import AnyModel, Baselines, BaselinesOf, Inputs, Layered, LayerNames, Layers, Problem


@dataclass(frozen=True)
class Request(Problem):
    """A problem in the form for an explainer, with the further options of the command.

    The model is a module on its device, gradients are read at one layer, and baselines are values.
    """

    model: nn.Module
    _: KW_ONLY
    baselines: Baselines = None
    devices: None = None
    kwargs: Mapping[str, object] = field(default_factory=dict)
    speed: Speed = field(default_factory=Speed)
    read: LayerNames | None = None
    create_graph: bool = False
    masks: Inputs | None = None  # ground truth for localisation metrics
    ids: tuple[str, ...] | None = None
    features_where_they_fit: bool = False  # at a layer: one feature per element where the given groups do not fit
    features_called: str = "features"  # the features' name in tables: "words", "edges"
    distribution: Baselines = None  # for methods that average over baselines, in addition to `baselines`
    named_baselines: Callable[[str], Layered] | None = None  # the data set's, by name; ValueError where it has none
    own_baselines: bool = False  # each sample has its own baseline, also for methods that take a distribution
    padded: Padded | None = None  # the input whose samples end in padding that changes no result
    progress: Callable[[int, int], None] | None = None
    decide: Decide | None = None  # decides which rewrites are used; None: a trial on the first samples

    @classmethod
    def of(cls, problem: Problem) -> Request:
        """The problem with its model on its device, layers by name, and the values of baselines; without `read`."""
        if isinstance(problem.devices, (list, tuple)):
            raise TypeError(f"devices: expected one device such as 'cuda:0', got {problem.devices!r}")
        baselines, given = made_baselines(problem.baselines, problem.inputs), as_module(problem.model)
        neuron = problem.neuron
        if isinstance(neuron, tuple) and len(neuron) == 2:
            neuron = layer_name(given, neuron[0]), neuron[1]
        names = {each.name for each in fields(cls)}
        taken: dict[str, Any] = {
            each.name: getattr(problem, each.name) for each in fields(problem) if each.name in names
        }
        settled = {
            "model": on_device(given, problem.devices),
            "baselines": baselines,
            "devices": None,
            "kwargs": problem.kwargs or {},
            "speed": problem.speed or Speed(),
            "layer": layers_by_name(given, problem.layer),
            "neuron": neuron,
            "read": None,
        }
        return cls(**taken | settled)

    def in_order(self, given: object, name: str) -> Any:  # noqa: ANN401  (whatever was given)
        """Convert a dict by the inputs' names to a tuple in their order; other values are unchanged."""
        if not isinstance(given, Mapping):
            return given
        names = list(self.inputs) if isinstance(self.inputs, Mapping) else []
        if set(given) != set(names):
            raise ValueError(f"{name}: expected the names of the inputs, {names}, got {list(given)}")
        return tuple(given[key] for key in names)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The inputs as a tuple, checked."""
        if isinstance(self.inputs, Mapping):
            tensors = tuple(self.inputs.values())
        else:
            tensors = self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"inputs: expected a tensor, a tuple or a dict of tensors, got {type(tensor).__name__}")
            if tensor.dim() == 0 or len(tensor) != len(tensors[0]):
                raise ValueError(
                    "inputs: every tensor needs the samples in its first dimension, got shapes "
                    f"{[tuple(t.shape) for t in tensors]}"
                )
        if not tensors or len(tensors[0]) == 0:
            raise ValueError("inputs: there is no sample to explain")
        return tensors


class FunctionModel(nn.Module):
    """A function as a model: it can be evaluated and differentiated, but has no layers."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: object, **kwargs: object) -> object:
        return self.function(*args, **kwargs)


def as_module(model: AnyModel) -> nn.Module:
    """The model itself, or a function wrapped."""
    if isinstance(model, nn.Module):
        return model
    if not callable(model):
        raise TypeError(f"model: expected a module or a function of tensors, got {type(model).__name__}")
    return FunctionModel(model)


def on_device(model: nn.Module, device: str | torch.device | None) -> nn.Module:
    """The model itself, or a copy on `device` if it is on another device."""
    if device is None:
        return model
    device = torch.device(device)
    here = device_of(model, device)
    return (
        model
        if here == device or (here.type == device.type and device.index is None)
        else (copy.deepcopy(model).to(device))
    )


def shifted(inputs: Inputs, by: float) -> Inputs:
    """Inputs with a number added to every element."""
    if isinstance(inputs, Mapping):
        return {name: tensor + by for name, tensor in inputs.items()}
    return tuple(tensor + by for tensor in inputs) if isinstance(inputs, tuple) else inputs + by


def layers_by_name(model: nn.Module, layers: Layers) -> Layers:
    """The layers by name, because modules given as objects are not part of a copy of the model."""
    if isinstance(layers, list | tuple):
        return tuple(layer_name(model, place) for place in layers)
    return layers if layers is None else layer_name(model, layers)


def made_baselines(baselines: BaselinesOf, inputs: Inputs) -> Baselines:
    """The baselines, or the result of a function of the inputs (or without arguments)."""
    if not callable(baselines):
        return baselines
    return baselines() if parameters(baselines) == {} else baselines(inputs)


def baseline_tensors(baselines: Layered, tensors: tuple[Tensor, ...], name: str = "baselines") -> tuple[Tensor, ...]:
    """Convert baselines of any accepted form to one tensor (rows, ...) for each of the tensors (n, ...)."""
    given: list[Tensor | float | int]
    if isinstance(baselines, Tensor):
        given = [baselines]
    elif baselines is None or isinstance(baselines, (int, float)):
        given = [0 if baselines is None else baselines] * len(tensors)
    elif isinstance(baselines, Sequence):
        given = list(baselines)
    else:
        raise TypeError(f"{name}: expected a number, a tensor, or one of these per tensor, got {baselines!r}")
    if len(given) != len(tensors):
        raise ValueError(f"{name}: expected one for each of {len(tensors)} tensors, got {len(given)}")
    return tuple(_fitted(b, x, name) for b, x in zip(given, tensors, strict=True))


def _fitted(baseline: Tensor | float, x: Tensor, name: str) -> Tensor:
    """One baseline as (rows, ...), broadcast to the shape of a sample of x (n, ...)."""
    baseline = baseline if isinstance(baseline, Tensor) else _number(baseline)
    within = x.shape[1:]
    rows = baseline if baseline.dim() == x.dim() else baseline.unsqueeze(0)
    shape = (len(rows), *[1] * (x.dim() - rows.dim()), *rows.shape[1:])
    try:
        fitted = rows.detach().reshape(shape).expand(len(rows), *within)
    except RuntimeError:
        raise ValueError(
            f"{name}: shape {tuple(baseline.shape)} does not fit samples of shape {tuple(within)}; expected that "
            "shape, one that broadcasts to it such as (channels, 1, 1), or these behind a dimension of rows"
        ) from None
    return in_type(fitted, x.dtype, name).to(x.device)


def _number(value: float) -> Tensor:
    """A number as a tensor: whole numbers exactly, others in double precision."""
    try:
        return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None, device="cpu")
    except (OverflowError, RuntimeError):
        raise ValueError(f"baselines: {value} is too large for a tensor") from None


def in_type(values: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """Convert values to the samples' type: real numbers are rounded to its precision, whole numbers stay exact.

    Raises ValueError if the type cannot hold them: a fraction, negative or large number for integers, a number beyond
    the range of half precision.
    """
    made = values.to(dtype)
    if dtype.is_floating_point or dtype.is_complex:
        lost = values.isfinite() & ~made.isfinite()
    else:
        lost = made.to(values.dtype) != values  # NaN is lost too
    if bool(lost.any()):
        raise ValueError(
            f"{name}: {values[lost][0].item():g} is no value of type {dtype}, which the samples have; where the model "
            "takes other numbers, give samples of another type, such as inputs.float()"
        )
    return made
