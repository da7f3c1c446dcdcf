"""The model under explanation: its inputs, the sites and the readout, and how a batch of rows goes through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TypeGuard

import torch
from torch import Tensor, nn

from xbench.core.copies import copied
from xbench.core.layout import Layout, widened
from xbench.core.model_places import Places
from xbench.core.padding import Padded
from xbench.core.plan import Answer, Rule, Want
from xbench.core.readouts import Readout, TargetError
from xbench.core.sites import Place, Site, Sites, Visit, check_visited

_NO_GRADIENT = (
    "no gradient: what is explained does not depend on the place that is read through differentiable operations (a "
    "constant model, a detach, rounding or argmax; or it comes earlier in the model than that place, or past it); "
    "`allow_unused=True` of xbench.attribute makes it zero"
)


class NoGradientError(RuntimeError):
    """The explained scalar does not depend on the site by differentiable operations."""


@dataclass(frozen=True)
class Subject:
    """A model with the n samples that are explained.

    Attributes:
        inputs: the model's inputs, each (n, ...).
        names: keywords of the inputs; empty: they are the first positional arguments.
        extra: further positional arguments; tensors whose first dimension is n follow the samples.
        kwargs: keyword arguments, in the same way.
        target: (n, k) indices into the output, see `readouts.target_rows`.
        inject: the site where points enter; None is the input itself.
        read: the site where gradients and activations are read; None is where points enter.
        layout: the tensors at `inject`; `read_layout` those at `read`.
        places: the shapes at any other place.
        second: a place where a second part of the points enters, with the tensors there.
        channels_last: whether images are in channels-last order, see `engine.rewrites.channels_last`.
        create_graph: whether answers can be differentiated further, by the points and by the parameters.
        autocast: whether to evaluate in bfloat16 where torch considers it safe; not under a backward rule.
        padded: the input that ends in padding, with the samples' lengths.
        allow_unused: whether the gradient is 0, not an error, if the explained scalar does not depend on the read site.
        reuses_memory: whether the next evaluation overwrites the model's results (CUDA graphs).
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    extra: tuple[object, ...]
    target: Tensor | None
    readout: Readout
    inject: Site | Sites | None
    read: Place | None
    layout: Layout
    read_layout: Layout
    places: Places
    names: tuple[str, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    second: tuple[Site, Layout] | None = None
    channels_last: bool = False
    create_graph: bool = False
    autocast: bool = False
    padded: Padded | None = None
    reuses_memory: bool = False
    allow_unused: bool = False

    @property
    def n(self) -> int:
        return len(self.inputs[0])

    @property
    def device(self) -> torch.device:
        return self.inputs[0].device

    @property
    def by_points_alone(self) -> bool:
        """Whether a row's pass depends on its point alone, because no other argument belongs to its sample."""
        others = (*self.extra, *self.kwargs.values())
        enters = self.inject is None and self.second is None and self.padded is None
        return enters and not any(follows(value, self.n) for value in others)

    def at(self, read: Place | None, second: Site | None) -> Subject:
        """The same subject, read at another place, with a second part of the points; None keeps the current setting."""
        changed = self
        if read is not None:
            changed = replace(changed, read=read, read_layout=self.places.layout(read))
        if second is not None:
            changed = replace(changed, second=(second, self.places.layout(second)))
        return changed

    def evaluate(self, flat: Tensor, samples: Tensor, want: Want, rule: Rule | None = None) -> Answer:
        """Send rows through the model.

        Args:
            flat: (r, d) points, one per row; a second part follows the first.
            samples: (r,) int64, the sample of each row.
        """
        grad = Want.GRADIENT in want
        if rule is not None and self.create_graph:
            raise ValueError("create_graph: a backward rule has no gradient itself, nor have the maps made with it")
        with torch.inference_mode(False), torch.set_grad_enabled(grad or self.create_graph):
            flat = flat if self.create_graph else flat.detach()
            points = self.layout.unflatten(flat[:, : self.layout.width])
            if grad and self.read is None:
                self.require_numbers()
                points = tuple(p if p.requires_grad else p.requires_grad_(p.is_floating_point()) for p in points)
            with ExitStack() as stack:
                entered = {self.inject: self._enter(stack, self.inject, points)}
                if self.second is not None:
                    site, layout = self.second
                    entered[site] = self._enter(stack, site, layout.unflatten(flat[:, self.layout.width :]))
                reading = self._watch(stack, self.read, detach=grad and not self.create_graph)
                neuron = self._watch(stack, self.readout.neuron)
                if self.autocast and rule is None:
                    stack.enter_context(torch.autocast(self.device.type, torch.bfloat16))
                if rule is not None:
                    stack.enter_context(rule.apply())
                value = self._scalar(points, samples, neuron, want)
            for place, visited in entered.items():
                if place is not None and visited is not None:
                    check_visited(visited, place)
            where = points
            if reading is not None and self.read is not None:
                check_visited(reading, self.read, rows=len(samples))
                where = reading.tensors
            gradient = None
            if grad:
                gradient = self._through(value, where, neuron) if Want.THROUGH in want else self._gradient(value, where)
            activation = self.read_layout.flatten(where) if Want.ACTIVATION in want else None
        answer = Answer(widened(value), gradient, activation)
        if self.create_graph:
            return answer
        return answer.detached().copied() if self.reuses_memory else answer.detached()

    def filled(self, samples: Tensor) -> float:
        """The share of these rows' positions that passes the model."""
        return 1.0

    def remarks(self) -> Mapping[str, str]:
        """Remarks on rewrites that apply to some rows only, by name."""
        return {}

    def require_numbers(self) -> None:
        """Raise NoGradientError if points are integers and gradients are read where they enter."""
        if self.read is None and not any(dtype.is_floating_point for dtype in self.layout.dtypes):
            raise NoGradientError(
                f"the inputs are {self.layout.dtypes[0]} and have no gradient; name a layer such as the embedding "
                "as site"
            )

    def _enter(self, stack: ExitStack, site: Site | Sites | None, points: Sequence[Tensor]) -> Visit | None:
        return None if site is None else stack.enter_context(site.enter(self.model, points))

    def _watch(self, stack: ExitStack, place: Place | None, *, detach: bool = False) -> Visit | None:
        return None if place is None else stack.enter_context(place.watch(self.model, detach=detach))

    def _scalar(self, points: Sequence[Tensor], samples: Tensor, neuron: Visit | None, want: Want) -> Tensor:
        rows = len(samples)
        # Clones: the model may write into its input, which must not be a leaf and is needed for a repeat.
        inputs = [self._copy(p) for p in points] if self.inject is None else [t[samples] for t in self.inputs]
        result = self.forward(inputs, samples)
        if neuron is not None and self.readout.neuron is not None:
            check_visited(neuron, self.readout.neuron, rows=rows)
            if Want.THROUGH not in want:
                return self.readout.of_layer(neuron.tensors)
        target = None if self.target is None else self.target[samples.cpu()]
        try:
            return self.readout.of_output(result, target, rows)
        except (TargetError, TypeError):
            if want == Want.ACTIVATION and target is None:  # the value is not used, so no target is needed
                return torch.zeros(rows, device=samples.device)
            raise

    def forward(self, inputs: Sequence[Tensor], samples: Tensor) -> object:
        """The model's result for these inputs, which it may write into, and the further arguments of these samples."""
        extra = (self._rows(value, samples) for value in self.extra)
        kwargs = {name: self._rows(value, samples) for name, value in self.kwargs.items()}
        if self.names:
            return self.model(*extra, **dict(zip(self.names, inputs, strict=True)), **kwargs)
        return self.model(*inputs, *extra, **kwargs)

    def _rows(self, value: object, samples: Tensor) -> object:
        """A further argument of the model for these rows; a copy, because the model may write into it."""
        return value[samples.to(value.device)] if follows(value, self.n) else copied(value)

    def _copy(self, points: Tensor) -> Tensor:
        if self.channels_last and points.dim() == 4:
            return points.clone(memory_format=torch.channels_last)
        return points.clone()

    def _gradient(self, value: Tensor, where: Sequence[Tensor]) -> Tensor:
        # Rows do not mix, so the gradient of the sum is each row's own. (A sum would need gradients switched on here.)
        return self._gradients([value], where, [torch.ones_like(value)])

    def _gradients(self, values: Sequence[Tensor], where: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        """The gradient of the weighted sum of values, (r, width of the read site)."""
        if not any(value.requires_grad for value in values):
            return self._unused(where)
        leaves = [t for t in where if t.requires_grad]
        grads = iter(torch.autograd.grad(values, leaves, weights, allow_unused=True, create_graph=self.create_graph))
        found = [next(grads) if t.requires_grad else None for t in where]
        # An input that the output does not use has gradient zero.
        filled = [g if g is not None else torch.zeros_like(t) for g, t in zip(found, where, strict=True)]
        return self.read_layout.flatten(filled)

    def _unused(self, where: Sequence[Tensor]) -> Tensor:
        if not self.allow_unused:
            raise NoGradientError(_NO_GRADIENT)
        return self.read_layout.flatten([torch.zeros_like(t) for t in where])

    def _through(self, value: Tensor, where: Sequence[Tensor], neuron: Visit | None) -> Tensor:
        """The part of the gradient that passes through the neuron: df/dy_k * dy_k/dx, summed over the chosen units.

        Units weighted by a function count by its slope.
        """
        assert neuron is not None, "a gradient through a neuron needs a chosen one"
        units, layers = self.readout.of_layer(neuron.tensors), [t for t in neuron.tensors if t.requires_grad]
        if not (value.requires_grad and units.requires_grad and layers):
            return self._unused(where)

        def slopes(of: Tensor) -> Sequence[Tensor]:
            found = torch.autograd.grad(
                of, layers, torch.ones_like(of), retain_graph=True, create_graph=self.create_graph, allow_unused=True
            )
            return [torch.zeros_like(t) if g is None else g for g, t in zip(found, layers, strict=True)]

        weights = [slope * unit for slope, unit in zip(slopes(value), slopes(units), strict=True)]
        return self._gradients(layers, where, weights)


def follows(argument: object, n: int) -> TypeGuard[Tensor]:
    """Whether a further argument of the model has one row per sample."""
    return isinstance(argument, Tensor) and argument.dim() > 0 and len(argument) == n
