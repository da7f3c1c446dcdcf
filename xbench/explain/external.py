"""Calls external algorithms: wraps the model for any library, seeds the draws, counts the rows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xbench.core.case import Case
from xbench.core.copies import copied
from xbench.core.layout import Layout
from xbench.core.plan import ExternalCall
from xbench.core.question import Question, flat_maps, target_part
from xbench.core.readouts import Target
from xbench.core.sites import check_visited, visit
from xbench.engine import Counters, Subject, follows
from xbench.explain.request import Request

_SEED = "code from elsewhere"  # names the draws of the seed: other words would change the maps


class ExternalExplainer:
    """The explained model and samples in the form for external algorithms."""

    def __init__(self, setting: Request, subject: Subject) -> None:
        self.setting = setting
        self.subject = subject

    def run(self, call: ExternalCall, counters: Counters) -> Tensor:
        """The maps of a call, (n, d)."""
        if self.setting.create_graph:
            raise ValueError("create_graph: external code gives maps that cannot be differentiated further")
        with torch.inference_mode(False), torch.enable_grad():
            question = self.question(call.case, call.x)
            model, device = question.model, call.x.device
            with globally_seeded(question.seed, device), _tidied(model), _copying(model), _counted(model, counters):
                maps = call.explain(question)
        return flat_maps(maps, call.case.layout, call.x, call.label)

    def question(self, case: Case, x: Tensor) -> Question:
        """The question; its tensors are copies, so the explainer may write into them."""
        subject, given = self.subject, self.setting.inputs
        model, extra, target = self._model(case.span)
        layout = subject.layout
        at_input = subject.inject is None
        return Question(
            model=model,
            inputs=tuple(t.detach().clone() for t in layout.unflatten(x)),
            target=copied(target),
            baselines=_shaped(case.baselines, layout),
            extra=copied(extra),
            features=tuple(f.clone() for f in layout.unflatten(case.features, cast=False)),
            seed=int(case.draws.generator(0, _SEED).integers(2**31)),
            single=len(layout.shapes) == 1 and not (at_input and isinstance(given, tuple)),
            paired=case.paired,
        )

    def _model(self, rows: slice) -> tuple[nn.Module, tuple[object, ...], Target]:
        """The model of the question, its further arguments for these samples, and the target."""
        subject = self.subject
        target: Target = target_part(self.setting.target, rows, subject.n)
        if isinstance(target, Tensor):
            target = target.to(subject.device)
        if self._as_it_is:
            return subject.model, tuple(_rows(e, rows, subject.n) for e in subject.extra), target
        # Tensors without one row per sample stay inside the wrapper: libraries would repeat them like the others.
        riders = [*subject.inputs] if subject.inject is not None else []
        riders += [e for e in (*subject.extra, *subject.kwargs.values()) if follows(e, subject.n)]
        if _Wrapped.chooses(subject) and subject.target is not None:
            riders.append(subject.target)
        own = tuple(rider[rows] for rider in riders)
        return _Wrapped(subject, own), own, 0 if _Wrapped.chooses(subject) else target

    @cached_property
    def _as_it_is(self) -> bool:
        """Whether the user's model takes the points first and returns the explained outputs."""
        s = self.subject
        shared = any(isinstance(e, Tensor) and e.dim() and not follows(e, s.n) for e in s.extra)
        if s.inject is not None or s.names or s.kwargs or shared or s.readout.select is not None:
            return False
        if _Wrapped.chooses(s):
            return False
        with torch.no_grad():
            return isinstance(s.places.forward(), Tensor)  # and not a structure with `.logits`


class _Wrapped(nn.Module):
    """The user's model as a module of the points: (points..., riders...) -> (rows, ...).

    Riders are the tensors with one row per sample: the raw inputs if points enter at a layer, the further arguments,
    and the target if this module selects a column of the result.
    """

    def __init__(self, subject: Subject, riders: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.model = subject.model
        self.training = False
        self._subject = subject
        self._riders = riders

    @staticmethod
    def chooses(subject: Subject) -> bool:
        """Whether this module must compute the explained scalar itself, as (rows, 1), not select a model output."""
        several = subject.target is not None and subject.target.dim() == 3
        return several or subject.readout.neuron is not None or subject.readout.output not in ("logit", "value")

    def forward(self, *given: Tensor) -> Tensor:
        s, count = self._subject, len(self._subject.layout.shapes)
        points, rest = given[:count], given[count:] or copied(self._riders)
        rows = len(points[0])
        if any(len(rider) != rows for rider in rest):
            raise ValueError(
                f"the model got {rows} rows and arguments for {len(rest[0])}: a function that changes the number of "
                "rows takes `extra` and gives the model as many rows of it"
            )
        riders = iter(rest)
        inputs = points if s.inject is None else [next(riders) for _ in s.inputs]
        extra = [next(riders) if follows(e, s.n) else copied(e) for e in s.extra]
        kwargs = {name: next(riders) if follows(e, s.n) else copied(e) for name, e in s.kwargs.items()}
        with ExitStack() as stack:
            site, unit = s.inject, s.readout.neuron
            entered = None if site is None else stack.enter_context(site.enter(s.model, points))
            neuron = None if unit is None else stack.enter_context(visit(s.model, unit))
            if s.names:
                result = self.model(*extra, **dict(zip(s.names, inputs, strict=True)), **kwargs)
            else:
                result = self.model(*inputs, *extra, **kwargs)
        if entered is not None and site is not None:
            check_visited(entered, site)
        if neuron is not None and unit is not None:
            check_visited(neuron, unit, rows=rows)
            return s.readout.of_layer(neuron.tensors).unsqueeze(1)
        if not self.chooses(s):
            return s.readout.tensor(result)
        target = next(riders, None)
        return s.readout.of_output(result, None if target is None else target.cpu(), rows).unsqueeze(1)


def _shaped(baselines: Tensor, layout: Layout) -> tuple[Tensor, ...]:
    """Copies of the baselines, (..., d), in the shapes of the layout's tensors."""
    parts = layout.unflatten(baselines.detach().flatten(0, -2))
    return tuple(part.unflatten(0, baselines.shape[:-1]).clone() for part in parts)


def _rows(value: object, rows: slice, n: int) -> object:
    return value[rows] if follows(value, n) else value


@contextmanager
def _copying(model: nn.Module) -> Iterator[None]:
    """Pass copies to the model: it may write into them, while the explainer keeps its own tensors.

    The hook runs first, before the hooks that a library adds.
    """

    def copy(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return copied(args), copied(kwargs)

    handle = model.register_forward_pre_hook(copy, prepend=True, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _counted(model: nn.Module, counters: Counters) -> Iterator[None]:
    """Count the rows that pass the model, and the rows whose gradient returns through its output."""

    def passed(_module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object) -> None:
        batches = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor) and a.dim()]
        rows = len(batches[0]) if batches else 0
        counters.forward_rows += rows

        def returned(_gradient: Tensor) -> None:
            counters.backward_rows += rows

        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(returned)

    # Counted after the forward pass, when rows that a library's pre-hooks add are visible.
    handle = model.register_forward_hook(passed, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _tidied(model: nn.Module) -> Iterator[None]:
    """Restore attributes and hooks that a library leaves on the modules or removes from them."""
    places = [vars(module) for module in model.modules()]
    places += [held for place in places for name, held in place.items() if "_hooks" in name and isinstance(held, dict)]
    before = [(place, dict(place)) for place in places]
    try:
        yield
    finally:
        for place, held in before:
            for name in place.keys() - held.keys():
                del place[name]
            place.update({name: value for name, value in held.items() if name not in place or name == "training"})


@contextmanager
def globally_seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python inside the block, and restore them afterwards."""
    numbers, python = np.random.get_state(), random.getstate()  # noqa: NPY002  (libraries draw from it)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            # Not torch.manual_seed, which reseeds every accelerator.
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            yield
        finally:
            np.random.set_state(numbers)  # noqa: NPY002
            random.setstate(python)
