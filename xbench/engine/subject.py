"""The model under explanation: its inputs, the sites and the readout, and how a batch of rows goes through it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xbench.layout import Layout
from xbench.plan import Answer, Rule, Want
from xbench.readouts import Readout
from xbench.sites import Site, Visit, check_visited, visit


class NoGradientError(RuntimeError):
    """The explained scalar does not depend on the site by differentiable operations."""


@dataclass(frozen=True)
class Subject:
    """A model with the n samples that are explained.

    Attributes:
        inputs: what the model takes, each (n, ...).
        extra: further positional arguments; tensors whose first dimension is n follow the samples.
        target: (n, k) indices into the output, see `readouts.target_rows`.
        inject: where points enter; None is the input itself.
        read: where gradients and activations are read; None is where points enter.
        layout: the tensors at `inject`; `read_layout` those at `read`.
        channels_last: lay images out that way in memory, see `engine.channels_last`.
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    extra: tuple[object, ...]
    target: Tensor | None
    readout: Readout
    inject: Site | None
    read: Site | None
    layout: Layout
    read_layout: Layout
    channels_last: bool = False

    @property
    def n(self) -> int:
        return len(self.inputs[0])

    @property
    def device(self) -> torch.device:
        return self.inputs[0].device

    def evaluate(self, flat: Tensor, samples: Tensor, want: Want, rule: Rule | None = None) -> Answer:
        """Send rows through the model.

        Args:
            flat: (r, d) points, one per row.
            samples: (r,) int64, the sample each row belongs to.
        """
        grad = Want.GRADIENT in want
        with torch.inference_mode(False), torch.set_grad_enabled(grad), ExitStack() as stack:
            points = self.layout.unflatten(flat.detach())
            if grad and self.read is None:
                self.require_numbers()
                points = tuple(p.requires_grad_(p.is_floating_point()) for p in points)
            entered = stack.enter_context(visit(self.model, self.inject, replace=points)) if self.inject else None
            reading = self._watch(stack, self.read, detach=grad)
            neuron = self._watch(stack, self.readout.neuron)
            if rule is not None:
                stack.enter_context(rule.apply())
            value = self._scalar(points, samples, neuron)
            if entered is not None and self.inject is not None:
                check_visited(entered, self.inject)
            where = points
            if reading is not None and self.read is not None:
                check_visited(reading, self.read, rows=len(samples))
                where = reading.tensors
        gradient = self._gradient(value, where) if grad else None
        activation = self.read_layout.flatten([t.detach() for t in where]) if Want.ACTIVATION in want else None
        return Answer(value.detach(), gradient, activation)

    def require_numbers(self) -> None:
        """NoGradientError when points are integers and gradients are read where they enter."""
        if self.read is None and not any(dtype.is_floating_point for dtype in self.layout.dtypes):
            raise NoGradientError(
                f"the inputs are {self.layout.dtypes[0]} and have no gradient; name a layer such as the embedding "
                "as site"
            )

    def _watch(self, stack: ExitStack, site: Site | None, *, detach: bool = False) -> Visit | None:
        return None if site is None else stack.enter_context(visit(self.model, site, detach=detach))

    def _scalar(self, points: Sequence[Tensor], samples: Tensor, neuron: Visit | None) -> Tensor:
        rows = len(samples)
        # Clones: the model may write into its input, which must neither be a leaf nor be spoilt for a repeat.
        inputs = [self._copy(p) for p in points] if self.inject is None else [t[samples] for t in self.inputs]
        extra = (t[samples] if isinstance(t, Tensor) and t.dim() and len(t) == self.n else t for t in self.extra)
        result = self.model(*inputs, *extra)
        if neuron is not None and self.readout.neuron is not None:
            check_visited(neuron, self.readout.neuron, rows=rows)
            return self.readout.of_layer(neuron.tensors)
        target = None if self.target is None else self.target[samples.cpu()]
        return self.readout.of_output(result, target, rows)

    def _copy(self, points: Tensor) -> Tensor:
        if self.channels_last and points.dim() == 4:
            return points.clone(memory_format=torch.channels_last)
        return points.clone()

    def _gradient(self, value: Tensor, where: Sequence[Tensor]) -> Tensor:
        if not value.requires_grad:
            raise NoGradientError(
                "no gradient: the model's output does not depend on the explained tensors through differentiable "
                "operations (a constant model, a detach, rounding or argmax)"
            )
        leaves = [t for t in where if t.requires_grad]
        # Rows do not mix, so the gradient of the sum is each row's own. (A sum would need gradients switched on here.)
        grads = iter(torch.autograd.grad(value, leaves, torch.ones_like(value), allow_unused=True))
        found = [next(grads) if t.requires_grad else None for t in where]
        # An input the output does not use has no influence: zero is its gradient.
        filled = [g if g is not None else torch.zeros_like(t) for g, t in zip(found, where, strict=True)]
        return self.read_layout.flatten(filled)
