"""Binds an algorithm to a model: from tensors a user has to maps of the same structure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

import torch
from torch import Tensor, nn

from xbench.algorithms.base import Algorithm
from xbench.case import Case, expand_features
from xbench.draws import Draws
from xbench.engine import Counters, Engine, Subject
from xbench.layout import Layout
from xbench.plan import Plan, Want
from xbench.readouts import Output, Readout, Target, target_rows
from xbench.sites import Site, check_visited, device_of, frozen, layer_name, visit

Tensors = Tensor | tuple[Tensor, ...]
Baselines = Tensor | float | int | Sequence[Tensor | float | int] | None
Neuron = tuple[str | nn.Module, int | slice | tuple[int | slice, ...]]


@dataclass(frozen=True)
class Setting:
    """Everything that says what is explained, in the user's own terms; see `xbench.attribute` for the meanings."""

    model: nn.Module
    inputs: Tensors
    target: Target = None
    baselines: Baselines = None
    extra: tuple[object, ...] = ()
    features: Tensors | None = None
    layer: str | nn.Module | None = None
    read: str | nn.Module | None = None
    neuron: Neuron | None = None
    output: Output = "logit"
    select: str | int | None = None
    seed: int = 0
    ids: tuple[str, ...] | None = None
    memory: int | str | None = None
    rows: int | None = None
    own_baselines: bool = False  # each sample's baseline is its own, also for methods that take a distribution
    progress: Callable[[int, int], None] | None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The inputs as a tuple, checked."""
        tensors = self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"inputs: expected a tensor or a tuple of tensors, got {type(tensor).__name__}")
            if tensor.dim() == 0 or len(tensor) != len(tensors[0]):
                raise ValueError(
                    "inputs: every tensor needs the samples in its first dimension, got shapes "
                    f"{[tuple(t.shape) for t in tensors]}"
                )
        if not tensors or len(tensors[0]) == 0:
            raise ValueError("inputs: there is no sample to explain")
        return tensors


class Explainer:
    """A model with its samples at their site, ready to run any algorithm's plans.

    Construction sends the samples and baselines through the model once when points enter at a layer.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._cases: dict[bool, Case] = {}
        inputs = setting.tensors
        self.device = device_of(setting.model, inputs[0].device)
        inputs = tuple(t.detach().to(self.device) for t in inputs)
        self._inject = _site(setting.model, setting.layer)
        self._read = _site(setting.model, setting.read)
        self._start = Layout.of(inputs)
        self.subject = Subject(
            model=setting.model,
            inputs=inputs,
            extra=tuple(e.to(self.device) if isinstance(e, Tensor) else e for e in setting.extra),
            target=target_rows(setting.target, len(inputs[0])),
            readout=_readout(setting),
            inject=None,
            read=None,
            layout=self._start,
            read_layout=self._start,
        )
        self.x = self._start.flatten(inputs)
        layout = self._start
        if self._inject is not None:
            self.x, layout = self._activations(self._inject, inputs), self._layout_at(self._inject)
        read_layout = layout if self._read is None else self._layout_at(self._read)
        self.subject = replace(
            self.subject, inject=self._inject, read=self._read, layout=layout, read_layout=read_layout
        )
        self.engine = Engine(self.subject, memory=setting.memory, rows=setting.rows, progress=setting.progress)

    def restart(self) -> Counters:
        """Fresh counters, which the evaluations from now on fill."""
        self.engine.counters = Counters()
        return self.engine.counters

    def case(self, *, distribution: bool) -> Case:
        """The samples with baselines read as a distribution, or as one per sample; made once of each kind."""
        distribution = distribution and not self.setting.own_baselines
        if distribution not in self._cases:
            self._cases[distribution] = self._case(distribution)
        return self._cases[distribution]

    def _case(self, distribution: bool) -> Case:
        n, s = len(self.x), self.setting
        ids = s.ids or tuple(str(i) for i in range(n))
        features = (s.features,) if isinstance(s.features, Tensor) else s.features
        for mask in features or ():
            if len(mask) not in (1, n):
                raise ValueError(f"features: got {len(mask)} rows for {n} samples; expected one, or one per sample")
        return Case(
            layout=self.subject.layout,
            read=self.subject.read_layout,
            baselines=self._baselines(distribution),
            features=expand_features(features, self.subject.layout, self.device),
            draws=Draws(s.seed, ids),
            span=slice(0, n),
            paired=not distribution,
        )

    def attribute(self, algorithm: Algorithm) -> Tensor:
        """The maps, flat: (n, d) at the read site for gradient methods, else where points enter."""
        case = self.case(distribution=algorithm.facts.distribution)
        if self._read is not None and not algorithm.facts.gradient:
            raise ValueError(f"read: {algorithm.facts.label} reads outputs only; name the place as `layer`")
        algorithm.check(case)
        if algorithm.facts.gradient:
            self.subject.require_numbers()
        return self.run(algorithm.plan, case, self.x)

    def run(self, make_plan: Callable[[Case, Tensor], Plan], case: Case, x: Tensor) -> Tensor:
        """Any plan's result on the samples."""
        with frozen(self.setting.model):
            return self.engine.run(make_plan, case, x)

    def shaped(self, flat: Tensor, *, read: bool = False) -> tuple[Tensor, ...]:
        """Maps (n, d) in the shapes of the tensors where points enter; with `read`, of those that are read."""
        layout = self.subject.read_layout if read else self.subject.layout
        return layout.unflatten(flat, cast=False)

    def _baselines(self, distribution: bool) -> Tensor:
        n = self.subject.n
        given = _baseline_tensors(self.setting.baselines, self.subject.inputs)
        rows = max(len(b) for b in given)
        if any(len(b) not in (1, rows) for b in given):
            counts = " and ".join(str(len(b)) for b in given)
            raise ValueError(f"baselines: every input tensor needs as many rows, or one, got {counts} rows")
        if not distribution and rows not in (1, n):
            raise ValueError(
                f"baselines: got {rows} rows for {n} samples; expected one, or one per sample "
                "(only methods that average over baselines take a distribution)"
            )
        if self._inject is None:
            return self._start.flatten([b.expand(rows, *b.shape[1:]) for b in given])
        # Baselines reach the layer through the model, with the samples' own extra arguments where they fit.
        per_sample = any(_follows(e, n) for e in self.subject.extra)
        rows = n if rows == 1 and per_sample and not distribution else rows
        points = [b.expand(rows, *b.shape[1:]) for b in given]
        return self._activations(self._inject, points, own=rows == n and not distribution)

    def _activations(self, site: Site, points: Sequence[Tensor], *, own: bool = True) -> Tensor:
        """What the model computes at `site` for `points` at the input, (rows, d).

        With `own` there are as many points as samples, and each takes its sample's target and extra arguments;
        otherwise the first sample's serve them all.
        """
        start = replace(self.subject, inject=None, read=site, layout=self._start, read_layout=self._layout_at(site))
        flat = self._start.flatten(points)
        samples = flat if own else flat[:1]
        case = Case(
            layout=self._start, read=start.read_layout, baselines=flat[:1], features=flat.new_zeros(1, 1).long(),
            draws=Draws(0, tuple(map(str, range(len(samples))))), span=slice(0, len(samples)),
        )  # fmt: skip

        def plan(_: Case, x: Tensor) -> Plan:
            several = [x] if own else list(flat.split(1))
            return Plan(several, len(several), Want.ACTIVATION, lambda answers: torch.cat([a.level for a in answers]))

        engine = Engine(start, memory=self.setting.memory, rows=self.setting.rows)
        with frozen(self.setting.model):
            return engine.run(plan, case, samples)

    def _layout_at(self, site: Site) -> Layout:
        """The tensors at `site`, found by sending the first sample through."""
        # Clones: the model may write into its input.
        first = tuple(t[:1].clone() for t in self.subject.inputs)
        extra = (e[:1].clone() if _follows(e, self.subject.n) else e for e in self.subject.extra)
        with frozen(self.setting.model), torch.no_grad(), visit(self.setting.model, site) as seen:
            self.setting.model(*first, *extra)
        check_visited(seen, site, rows=1)
        return Layout.of(seen.tensors)


def _follows(argument: object, n: int) -> TypeGuard[Tensor]:
    """Whether an extra argument has a row per sample."""
    return isinstance(argument, Tensor) and argument.dim() > 0 and len(argument) == n


def on_device(model: nn.Module, device: str | torch.device | None) -> nn.Module:
    """The model itself, or a copy on `device` when it lives elsewhere."""
    if device is None:
        return model
    device = torch.device(device)
    here = device_of(model, device)
    return (
        model
        if here == device or (here.type == device.type and device.index is None)
        else (copy.deepcopy(model).to(device))
    )


def _site(model: nn.Module, layer: str | nn.Module | None) -> Site | None:
    if layer is None:
        return None
    site = Site.parse(layer_name(model, layer))
    site.module(model)
    return site


def _readout(setting: Setting) -> Readout:
    if setting.neuron is None:
        return Readout(setting.output, setting.select)
    if not isinstance(setting.neuron, tuple) or len(setting.neuron) != 2:
        raise TypeError(f"neuron: expected (layer, index), got {setting.neuron!r}")
    layer, index = setting.neuron
    site = _site(setting.model, layer)
    return Readout(setting.output, setting.select, site, index if isinstance(index, tuple) else (index,))


def _baseline_tensors(baselines: Baselines, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Baselines in any accepted form as one tensor (rows, ...) per input."""
    given: list[Tensor | float | int]
    if isinstance(baselines, Tensor):
        given = [baselines]
    elif baselines is None or isinstance(baselines, (int, float)):
        given = [0 if baselines is None else baselines] * len(inputs)
    else:
        given = list(baselines)
    if len(given) != len(inputs):
        raise ValueError(f"baselines: expected one for each of {len(inputs)} input tensors, got {len(given)}")
    tensors = []
    for b, x in zip(given, inputs, strict=True):
        if not isinstance(b, Tensor):
            tensors.append(torch.full_like(x[:1], b))
            continue
        b = b.unsqueeze(0) if b.dim() == x.dim() - 1 else b
        if b.shape[1:] != x.shape[1:]:
            raise ValueError(
                f"baselines: shape {tuple(b.shape)} does not fit inputs of shape {tuple(x.shape)}; expected "
                f"(rows, {', '.join(map(str, x.shape[1:]))})"
            )
        tensors.append(b.detach().to(x.device, x.dtype))
    return tuple(tensors)
