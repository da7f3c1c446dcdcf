"""Applies an algorithm to a model: from the user's tensors to maps of the same structure."""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from xbench.algorithms.base import Algorithm
from xbench.core.case import Case, Mates, expand_features
from xbench.core.draws import Draws
from xbench.core.layout import Layout
from xbench.core.model_places import CONVOLUTIONS, Places
from xbench.core.needs import Need, NotApplicable
from xbench.core.plan import Plan, Want
from xbench.core.readouts import OutputPlace, Readout, target_rows
from xbench.core.sites import Site, Sites, device_of, frozen, layer_name
from xbench.core.truth import Planted, Truth
from xbench.engine import Counters, Engine, MakePlan, Subject, follows
from xbench.engine.memory import keep_freed
from xbench.engine.rewrites import trial
from xbench.engine.rewrites.choice import TRIED, WORTH, Decision, EvaluationKind, Rewrites
from xbench.explain.external import ExternalExplainer
from xbench.explain.request import FunctionModel, Request, baseline_tensors, shifted
from xbench.rules.attention import AttentionWeights

_ADVICE = {
    Need.GRADIENT: "the model's inputs are integers and no site such as an embedding is named",
    Need.NUMBERS: "the inputs are integers and no site such as an embedding is named",
    Need.MODULE: "the model is a plain function",
    Need.SAMPLES: "there is only one",
    Need.CONVOLUTION: "the model has none",
    Need.IMAGES: "the samples are not (channels, ..., height, width)",
    Need.GRAPHS: "the features are no nodes or edges",
    Need.TRUTH: "the data come without",
    Need.OUTPUTS: "there is one, or a neuron is explained",
    Need.PROBABILITIES: "give output=probability",
    Need.ATTENTION: "no attention weights (samples, heads, positions, positions) were seen in the model",
}
# What features of graphs are called; without a name, as in `xbench.measure`, it is the user who says what they are.
_OF_GRAPHS = ("nodes and edges", "nodes", "edges", "features")


class Explainer:
    """A model with its samples at their site, ready to run any algorithm's plans.

    If points enter at a layer, construction sends the samples and baselines through the model once.
    """

    def __init__(self, setting: Request) -> None:
        self.setting = setting
        self._cases: dict[bool, Case] = {}
        self._named: dict[str, Tensor] = {}
        inputs = setting.tensors
        self.device = device_of(setting.model, inputs[0].device)
        inputs = tuple(map(self._here, inputs))
        if setting.speed.keep_memory and self.device.type == "cpu":
            keep_freed()
        self._read = _site(setting.model, setting.read)
        self._start = Layout.of(inputs)
        me = weakref.proxy(self)  # a reference cycle would keep the samples alive
        self.places = Places(setting.model, lambda *change: me._first(*change), OutputPlace(setting.select))
        self.subject: Subject = Subject(
            model=setting.model,
            inputs=inputs,
            names=tuple(setting.inputs) if isinstance(setting.inputs, Mapping) else (),
            extra=tuple(map(self._rider, setting.extra)),
            kwargs={name: self._rider(value) for name, value in setting.kwargs.items()},
            target=target_rows(setting.target, len(inputs[0])),
            readout=_readout(setting),
            inject=None,
            read=None,
            layout=self._start,
            read_layout=self._start,
            places=self.places,
            create_graph=setting.create_graph,
            allow_unused=setting.allow_unused,
            autocast=setting.speed.precision == "bf16",
            padded=setting.padded,
        )
        self._inject = self._entrance()
        self.x = self._start.flatten(inputs)
        layout = self._start
        if self._inject is not None:
            self.x, layout = self._activations(self._inject, inputs), self.places.layout(self._inject)
        read_layout = layout if self._read is None else self.places.layout(self._read)
        self.subject = replace(
            self.subject, inject=self._inject, read=self._read, layout=layout, read_layout=read_layout
        )
        here = setting.decide is None
        worth = WORTH * min(TRIED, len(self.x)) if here and setting.speed.rewrites != "always" else 0
        decide = setting.decide or (lambda kind: trial.settled(setting.speed, lambda: me.decide(kind)))
        rewrites = Rewrites(setting.speed, decide, worth)
        self.engine = Engine(
            self.subject,
            memory=setting.memory,
            rows=setting.rows,
            progress=setting.progress,
            rewrites=rewrites,
            external=ExternalExplainer(setting, self.subject).run,
        )

    def _entrance(self) -> Site | Sites | None:
        """The site where points enter."""
        model, layer = self.setting.model, self.setting.layer
        if not isinstance(layer, list | tuple):
            return _site(model, layer)
        sites = tuple(site for name in layer if (site := _site(model, name)) is not None)
        if len(sites) < 2 or len(set(sites)) < len(sites):
            raise ValueError(f"layer: expected a layer, or several different ones, got {list(map(str, sites))}")
        together = Sites(sites, tuple(len(self.places.layout(site).shapes) for site in sites))
        with torch.inference_mode(False), frozen(model):
            together.check(model, self._first)
        return together

    def _here(self, tensor: Tensor) -> Tensor:
        """A user's tensor on the model's device, detached, because only points may require gradients."""
        return (tensor if self.setting.create_graph else tensor.detach()).to(self.device)

    def _rider(self, value: object) -> object:
        return self._here(value) if isinstance(value, Tensor) else value

    def restart(self) -> Counters:
        """Start new counters for the following evaluations and return them."""
        return self.engine.restart()

    def case(self, *, distribution: bool) -> Case:
        """The samples with baselines read as a distribution, or as one per sample; each case is built once."""
        own = self.setting.own_baselines and self.setting.distribution is None
        distribution = distribution and not own
        if distribution not in self._cases:
            self._cases[distribution] = self._case(distribution)
        return self._cases[distribution]

    def _case(self, distribution: bool) -> Case:
        n, s = len(self.x), self.setting
        me = weakref.proxy(self)  # as above
        ids = s.ids or tuple(str(i) for i in range(n))
        features = s.in_order(s.features, "features")
        features = (features,) if isinstance(features, Tensor) else features
        groups = self._features(features)
        return Case(
            layout=self.subject.layout,
            read=self.subject.read_layout,
            baselines=self._baselines(distribution),
            features=groups,
            draws=Draws(s.seed, ids),
            span=slice(0, n),
            places=self.places,
            mates=Mates.of(self.x, ids),
            paired=not distribution,
            neuron=s.neuron is not None,
            channels_last=isinstance(self._inject, Site) and self.places.channels_last(self._inject),
            truth=self._truth(groups),
            planted=Planted.of(s.model) if self._inject is None and s.neuron is None else None,
            site=self._inject,
            called=s.features_called,
            target=None if s.neuron is not None else self.subject.target,
            named_baseline=None if s.named_baselines is None else lambda name: me._named_baseline(name),
        )

    def _named_baseline(self, name: str) -> Tensor:
        if name not in self._named:
            assert self.setting.named_baselines is not None, "only asked where a data set has them"
            given = baseline_tensors(self.setting.named_baselines(name), self.subject.inputs)
            self._named[name] = self._at_site(given, distribution=False)
        return self._named[name]

    def _features(self, given: tuple[Tensor, ...] | None) -> Tensor:
        layout, n = self.subject.layout, len(self.x)
        try:
            return expand_features(given, layout, self.device, n, self._shapes)
        except ValueError:
            if not self.setting.features_where_they_fit:
                raise
            return expand_features(None, layout, self.device, n, self._shapes)

    @property
    def _shapes(self) -> list[torch.Size]:
        """Shapes of one sample, for each input."""
        return [tensor.shape[1:] for tensor in self.setting.tensors]

    def _truth(self, features: Tensor) -> Truth | None:
        masks = self.setting.in_order(self.setting.masks, "masks")
        if masks is None:
            return None
        masks = (masks,) if isinstance(masks, Tensor) else masks
        for mask in masks:
            if len(mask) != len(self.x):
                raise ValueError(f"masks: expected a row for each of {len(self.x)} samples, got {len(mask)}")
        try:
            return Truth.of(masks, self.subject.layout, features, self._shapes)
        except ValueError:
            if not self.setting.features_where_they_fit:
                raise
            return None

    def attribute(self, algorithm: Algorithm, share: slice | None = None) -> Tensor:
        """The flat maps, (n, d), at the read site for methods that read there, else where points enter.

        With `share`, the maps of these samples only; the others still count as samples of the call.

        Raises NotApplicable, `needs ...`, if the model or the samples do not meet a need.
        """
        missing = self.missing(algorithm)
        if missing is not None:
            raise NotApplicable(f"{algorithm.facts.label} {missing}")
        case = self.case(distribution=algorithm.facts.distribution)
        algorithm.check(case)
        flat = self.run(algorithm.plan, case, self.x, whole=algorithm.facts.whole, share=share)
        layout = self.subject.read_layout if algorithm.facts.reads else self.subject.layout
        n = len(self.x) if share is None else share.stop - share.start
        width = flat.shape[-1] if algorithm.facts.per_feature else layout.width
        if flat.shape != (n, width) or flat.is_complex():
            raise ValueError(
                f"{algorithm.facts.label} gave a map of shape {tuple(flat.shape)} and type {flat.dtype}; expected real "
                f"numbers of shape {(n, width)}: one per element of each sample"
            )
        return flat

    def missing(self, algorithm: Algorithm) -> str | None:
        """`needs ...` if the model or the samples do not meet a need of the algorithm; else None."""
        if self._read is not None and not algorithm.facts.reads:
            reads = "chooses where it reads" if algorithm.facts.reads_elsewhere else "reads outputs only"
            return f"takes no `read`: it {reads}; `layer` names the place where points enter"
        reason = self.lacks(algorithm.facts.needs, reads_elsewhere=algorithm.facts.reads_elsewhere)
        if reason is not None:
            return reason
        try:
            algorithm.check(self.case(distribution=algorithm.facts.distribution))
        except NotApplicable as error:
            return str(error)
        except ValueError:  # invalid parameters are the user's error, which the explanation reports
            pass
        return None

    def lacks(self, needs: Sequence[Need], *, reads_elsewhere: bool = False) -> str | None:
        """`needs ...`, for the first need that the model, the samples or the data do not meet.

        reads_elsewhere: gradients are read at a layer that the algorithm chooses.
        """
        subject = self.subject
        kinds = [dtype.is_floating_point for dtype in subject.layout.dtypes]
        black_box = not getattr(self.setting.model, "differentiable", True)
        has = {
            Need.GRADIENT: lambda: not black_box and (self._read is not None or any(kinds) or reads_elsewhere),
            Need.NUMBERS: lambda: all(kinds),
            Need.MODULE: lambda: not black_box and not isinstance(self.setting.model, FunctionModel),
            Need.SAMPLES: lambda: subject.n > 1,
            Need.CONVOLUTION: lambda: bool(self.places.calls(CONVOLUTIONS)),
            Need.IMAGES: lambda: all(len(shape) >= 3 for shape in subject.layout.shapes),
            Need.ATTENTION: lambda: self.places.has(AttentionWeights()),
            Need.GRAPHS: lambda: self.setting.features_called in _OF_GRAPHS,
            Need.TRUTH: lambda: self.case(distribution=False).truth is not None,
            Need.OUTPUTS: lambda: (
                subject.target is not None and self.setting.neuron is None and math.prod(self.outputs) > 1
            ),
            Need.PROBABILITIES: lambda: self.setting.neuron is None and self._probable,
        }
        missing = next((need for need in needs if not has[need]()), None)
        if missing is None:
            return None
        hidden = black_box and missing in (Need.GRADIENT, Need.MODULE)
        return f"needs {missing.value}: {'the model is a black box' if hidden else _ADVICE[missing]}"

    @functools.cached_property
    def _probable(self) -> bool:
        """Whether a probability is explained: by `output`, or because the model's own outputs of a sample are some."""
        if self.setting.output == "probability":
            return True
        if self.setting.output == "log_probability" or math.prod(self.outputs) < 2:
            return False
        with torch.inference_mode(False), frozen(self.setting.model), torch.no_grad():
            output = self.subject.readout.tensor(self._first()).double()[0]
        return bool((output >= 0).all()) and bool((output.sum(0) - 1).abs().max() < 1e-4)

    @functools.cached_property
    def outputs(self) -> tuple[int, ...]:
        """The shape of one sample's output."""
        with torch.inference_mode(False), frozen(self.setting.model), torch.no_grad():
            output = self.subject.readout.tensor(self._first())
        return tuple(output.shape[1:])

    def changed(
        self, model: nn.Module | None = None, target: Tensor | None = None, shift: float | None = None
    ) -> Explainer:
        """The same samples in another model, or of another output (n, k), or with inputs that are shifted.

        Evaluated without rewrites of the model.
        """
        setting = self.setting
        if target is not None and target.dim() == 2 and target.shape[1] == 1:
            target = target[:, 0]  # the usual form, which functions of a user expect
        return Explainer(
            replace(
                setting,
                model=setting.model if model is None else model,
                target=setting.target if target is None else target,
                inputs=setting.inputs if shift is None else shifted(setting.inputs, shift),
                speed=replace(setting.speed, rewrites=False, compile=None),
                decide=None,
                progress=None,
            )
        )

    def run(
        self, make_plan: MakePlan, case: Case, x: Tensor, *, whole: bool = False, share: slice | None = None
    ) -> Tensor:
        """The result of a plan on the samples; see `Engine.run`."""
        with torch.inference_mode(False), frozen(self.setting.model, learning=self.setting.create_graph):
            return self.engine.run(make_plan, case, x, whole=whole, share=share)

    def decide(self, kind: EvaluationKind) -> Decision:
        """Decide by a trial on the first samples which rewrites of the model are used for a kind of evaluation."""
        with torch.inference_mode(False), frozen(self.setting.model):
            case, s = self.case(distribution=True), self.setting
            return trial.decide(s.speed, self.subject, kind, case, self.x, s.memory, s.rows)

    def shaped(self, flat: Tensor, *, read: bool = False) -> tuple[Tensor, ...]:
        """Maps (n, d) in the shapes of the tensors where points enter; with `read`, of those that are read."""
        return (self.subject.read_layout if read else self.subject.layout).maps(flat)

    def _baselines(self, distribution: bool) -> Tensor:
        s = self.setting
        if s.layer_baselines is not None:
            if self._inject is None or s.baselines is not None:
                raise ValueError("layer_baselines: they stand for the values of a `layer`, in place of `baselines`")
            at_layer = self.subject.layout.unflatten(self.x)
            given = baseline_tensors(s.layer_baselines, at_layer, "layer_baselines")
            rows = self._rows(given, distribution)
            return self.subject.layout.flatten([b.expand(rows, *b.shape[1:]) for b in given])
        several = distribution and s.distribution is not None
        chosen = s.distribution if several else s.baselines
        return self._at_site(baseline_tensors(s.in_order(chosen, "baselines"), self.subject.inputs), distribution)

    def _rows(self, given: Sequence[Tensor], distribution: bool) -> int:
        """The number of baselines: one, one per sample, or any number for a distribution."""
        n = self.subject.n
        rows = max(len(b) for b in given)
        if any(len(b) not in (1, rows) for b in given):
            counts = " and ".join(str(len(b)) for b in given)
            raise ValueError(f"baselines: every input tensor needs as many rows, or one, got {counts} rows")
        if not distribution and rows not in (1, n):
            raise ValueError(
                f"baselines: got {rows} rows for {n} samples; expected one, or one per sample "
                "(only methods that average over baselines take a distribution)"
            )
        return rows

    def _at_site(self, given: Sequence[Tensor], distribution: bool) -> Tensor:
        """Map baselines at the input to the site where points enter: (rows, d), or (n, rows, d), one set per sample."""
        n, rows = self.subject.n, self._rows(given, distribution)
        if self._inject is None:
            return self._start.flatten([b.expand(rows, *b.shape[1:]) for b in given])
        # Baselines reach the layer through the model, with the further arguments of their samples.
        further = (*self.subject.extra, *self.subject.kwargs.values())
        if any(follows(e, n) for e in further):
            if distribution:
                each = ([b[[row % len(b)]].expand(n, *b.shape[1:]) for b in given] for row in range(rows))
                return torch.stack([self._activations(self._inject, points) for points in each], dim=1)
            rows = n
        points = [b.expand(rows, *b.shape[1:]) for b in given]
        return self._activations(self._inject, points, own=rows == n and not distribution)

    def _activations(self, site: Site | Sites, points: Sequence[Tensor], *, own: bool = True) -> Tensor:
        """The model's values at `site` for `points` at the input, (rows, d).

        With `own` there is one point per sample, with its sample's further arguments; otherwise no argument belongs to
        a sample.
        """
        start = replace(self.subject, inject=None, read=site, layout=self._start, read_layout=self.places.layout(site))
        flat = self._start.flatten(points)
        samples = flat if own else flat[:1]
        case = Case(
            layout=self._start, read=start.read_layout, baselines=flat[:1], features=flat.new_zeros(1, 1).long(),
            draws=Draws(0, tuple(map(str, range(len(samples))))), span=slice(0, len(samples)), places=self.places,
            mates=Mates.of(samples, [""] * len(samples)),
        )  # fmt: skip

        def plan(_: Case, x: Tensor) -> Plan:
            several = [x] if own else list(flat.split(1))
            return Plan(several, len(several), Want.ACTIVATION, lambda answers: torch.cat([a.level for a in answers]))

        engine = Engine(start, memory=self.setting.memory, rows=self.setting.rows)
        with torch.inference_mode(False), frozen(self.setting.model, learning=self.setting.create_graph):
            return engine.run(plan, case, samples)

    def _first(self, change: Callable[[Tensor], Tensor] = torch.clone) -> object:
        """Send the first sample through the model, or what `change` makes of each of its inputs."""
        # Clones: the model may write into its input.
        return self.subject.forward([change(t[:1]) for t in self.subject.inputs], torch.zeros(1, dtype=torch.int64))


def _site(model: nn.Module, layer: str | nn.Module | None) -> Site | None:
    if layer is None:
        return None
    site = Site.parse(layer_name(model, layer))
    site.module(model)
    return site


def _readout(setting: Request) -> Readout:
    if setting.neuron is None:
        return Readout(setting.output, setting.select)
    if not isinstance(setting.neuron, tuple) or len(setting.neuron) != 2:
        raise TypeError(f"neuron: expected (layer, index), got {setting.neuron!r}")
    layer, index = setting.neuron
    site = _site(setting.model, layer)
    return Readout(setting.output, setting.select, site, (index,) if isinstance(index, (int, slice)) else index)
