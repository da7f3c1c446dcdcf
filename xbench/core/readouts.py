"""The readout, the scalar to explain: a target's logit, probability or log-probability, a value, or a neuron."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from xbench.core.names import Output
from xbench.core.sites import Site, Visit

Target = int | Sequence[int] | Sequence[tuple[int, ...]] | tuple[int, ...] | Tensor | None
Unit = tuple[int | slice, ...] | Callable[..., Tensor]


class TargetError(ValueError):
    """The target does not fit the model's output."""


def target_rows(target: Target, n: int) -> Tensor | None:
    """Convert a target of any accepted form to (n, k) int64: k indices into the output after the batch dimension.

    An int or a tuple of ints holds for all samples; a tensor (n,) or (n, k) and a list of n ints or n tuples give
    one per sample. A tensor (n, m, k) explains the sum of m outputs.
    """
    if target is None:
        return None
    if isinstance(target, (bool, str)):
        raise TargetError(f"target: expected an output's index, got {target!r}")
    if isinstance(target, int):
        return torch.full((n, 1), target, device="cpu")
    if isinstance(target, tuple):
        return torch.tensor([list(target)], device="cpu").expand(n, -1)
    rows = torch.as_tensor(target).cpu()
    if rows.is_floating_point():
        raise TargetError(f"target: expected integer indices, got {rows.dtype}")
    shape = tuple(rows.shape)
    rows = rows.reshape(1, 1).expand(n, 1) if rows.numel() == 1 else rows
    rows = rows.unsqueeze(1) if rows.dim() == 1 else rows
    if rows.dim() not in (2, 3) or len(rows) != n:
        raise TargetError(f"target: expected one index or one per sample ({n}), got shape {shape}")
    return rows.to(torch.int64)


@dataclass(frozen=True)
class Readout:
    """Selects one scalar per row from the model's output.

    Attributes:
        output: `logit` and `value` take the output as it is, `probability` and `log_probability` apply a softmax
            over dimension 1 first (a single output counts as the logit of a binary decision: a sigmoid).
        select: key, attribute or position of the part of a structured output; None takes a tensor, or `.logits`.
        neuron: a unit of a layer to explain instead of the output. `index` selects it after the batch dimension, and
            slices are summed. A function maps the layer's tensor (or a tuple of several) to one number per row.
    """

    output: Output = "logit"
    select: str | int | None = None
    neuron: Site | None = None
    index: Unit = ()

    def __post_init__(self) -> None:
        if self.output not in get_args(Output):
            raise ValueError(f"output: expected one of {', '.join(get_args(Output))}, got {self.output!r}")

    def tensor(self, result: object) -> Tensor:
        """The output tensor in the model's result."""
        if isinstance(result, Tensor) and self.select is None:
            return result
        part: Any = result
        if isinstance(self.select, str):
            part = result.get(self.select) if isinstance(result, Mapping) else getattr(result, self.select, None)
        elif isinstance(self.select, int):
            inside = isinstance(part, (tuple, list)) and -len(part) <= self.select < len(part)
            part = part[self.select] if inside else None
        else:
            part = getattr(result, "logits", None)
        if not isinstance(part, Tensor):
            raise TypeError(
                f"the model returned {type(result).__name__} and {self.select!r} names no tensor in it; "
                "name the part to explain, a key, attribute or position: `select`, in a model's config `output`"
            )
        return part

    def of_layer(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """The neuron's value per row, (rows,)."""
        if callable(self.index):
            return self._made(self.index(tensors if len(tensors) > 1 else tensors[0]), len(tensors[0]))
        if len(tensors) != 1:
            raise TypeError(
                f"neuron: layer {self.neuron} gives {len(tensors)} tensors, an index is for one; a function of them "
                "can choose"
            )
        try:
            unit = tensors[0][(slice(None), *self.index)]
        except IndexError:
            shape = tuple(tensors[0].shape[1:])
            raise TargetError(f"neuron {self.index} is outside layer {self.neuron} of shape {shape}") from None
        return unit.flatten(1).sum(1) if unit.dim() > 1 else unit

    def _made(self, unit: object, rows: int) -> Tensor:
        if not isinstance(unit, Tensor) or unit.shape[:1] != (rows,) or unit.numel() != rows:
            got = f"shape {tuple(unit.shape)}" if isinstance(unit, Tensor) else type(unit).__name__
            raise TargetError(
                f"neuron: the function of layer {self.neuron} gave {got} for {rows} rows; expected a number for each"
            )
        return unit.reshape(rows)

    def of_output(self, result: object, target: Tensor | None, rows: int) -> Tensor:
        """The explained scalar of each row, (rows,), from the model's result and its rows of `target_rows`."""
        output = self.tensor(result)
        output = output.unsqueeze(0) if output.dim() == 0 and rows == 1 else output  # the batch dimension was squeezed
        if output.dim() == 0 or len(output) != rows:
            raise ValueError(
                f"the model returned shape {tuple(output.shape)} for {rows} rows; expected the first dimension "
                f"to be the batch ({rows})"
            )
        if self.output in ("probability", "log_probability"):
            output = self._normalised(output)
        if target is not None and target.dim() == 3:
            return torch.stack([_pick(output, each) for each in target.unbind(1)]).sum(0)
        if target is None:
            if output.numel() != rows:
                raise TargetError(f"the model has outputs of shape {tuple(output.shape[1:])}: name a target")
            return output.reshape(rows)
        return _pick(output, target)

    def _normalised(self, output: Tensor) -> Tensor:
        log = self.output == "log_probability"
        if output.dim() == 1 or output.shape[1] == 1:
            return torch.nn.functional.logsigmoid(output) if log else torch.sigmoid(output)
        return torch.log_softmax(output, 1) if log else torch.softmax(output, 1)


@dataclass(frozen=True)
class OutputPlace:
    """The model's whole output as a place, whatever is explained of it. `select` as for `Readout`."""

    select: str | int | None = None

    @contextmanager
    def watch(self, model: nn.Module, *, detach: bool = False) -> Iterator[Visit]:
        """See `Place`; nothing can be differentiated by what comes last."""
        visited, readout = Visit(), Readout(select=self.select)

        def ended(_module: nn.Module, _args: object, result: object) -> None:
            visited.calls += 1
            output = readout.tensor(result)
            visited.tensors = (output.unsqueeze(0) if output.dim() == 0 else output,)  # squeezed: nothing but the row

        handle = model.register_forward_hook(ended)
        try:
            yield visited
        finally:
            handle.remove()


def _pick(output: Tensor, target: Tensor) -> Tensor:
    if output.dim() == 1 and target.shape[1] == 1 and not bool(target.any()):
        return output  # a single output per row, target 0
    if output.dim() - 1 != target.shape[1]:
        raise TargetError(
            f"target has {target.shape[1]} indices, the model's output {tuple(output.shape[1:])} needs "
            f"{output.dim() - 1}"
        )
    limits = torch.tensor(output.shape[1:], device=target.device)
    wrong = ((target < 0) | (target >= limits)).any(1)
    if bool(wrong.any()):
        first = target[wrong][0].tolist()
        raise TargetError(f"target {first} is out of range for the model's output of shape {tuple(limits.tolist())}")
    # Row by row with advanced indexing: one gather, also for several target dimensions.
    where = target.to(output.device)
    return output[(torch.arange(len(output), device=output.device), *where.unbind(1))]
