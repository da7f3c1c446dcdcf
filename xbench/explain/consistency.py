"""Checks that a model can be explained: its output depends on the sample only, is repeatable, and has no side effects.

Explanations evaluate a model many times, in arbitrary batches. They are meaningful only if the output is a function of
the sample. A few samples pass the model twice together and once alone, and the state that a call should not change is
compared before and after.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xbench.boundary.attempt import attempt, words
from xbench.core.copies import copied
from xbench.core.sites import frozen
from xbench.engine import Subject
from xbench.explain.external import globally_seeded

SAMPLES = 4  # samples that pass the model together, twice
_ALONE = 2  # samples among them that also pass it alone
_COPIED = 2**30  # bytes: weights up to this size are restored if a call changes them
_NAMED = 3  # maximum number of weights that a clause names
_SEED = 48271  # a seed that a model is unlikely to use itself
# Differences up to this share of the largest output are rounding: sums in another order for other numbers of rows.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
_COARSE = 2e-2  # in half precision
_ON_A_GPU = 10  # times as much in single precision, because convolutions there round to ten bits


def inconsistencies(subject: Subject) -> tuple[str, ...]:
    """Inconsistencies that make explanations of the model meaningless, one clause each; empty if none are found.

    The first samples are checked. Weights, buffers, modes, the working directory, torch's defaults and the global
    random states are restored afterwards. If the model fails for all of these samples, the result is empty: its
    evaluation will report the error.
    """
    together = torch.arange(min(SAMPLES, subject.n), device=subject.device)
    where = os.getcwd(), torch.get_default_dtype()
    with frozen(subject.model), torch.no_grad(), globally_seeded(_SEED, subject.device), _put_back(subject.model):
        try:
            return attempt(lambda: tuple(_clauses(subject, together)), lambda _: ())
        finally:
            os.chdir(where[0])
            torch.set_default_dtype(where[1])


def _clauses(subject: Subject, together: Tensor) -> Iterator[str]:
    """The clauses in order; the model is called in between."""
    around = _surroundings(subject)
    first, written = _call(subject, together)  # state created at a first call, such as a cache, is not a change
    if first.dim() == 0 or len(first) != len(together):
        return
    state = _state(subject.model)
    again, _ = _call(subject, together)
    changed = [what for what, value in _surroundings(subject).items() if value != around[what]]
    changed += _names(name for name, value in _state(subject.model).items() if state.get(name) != value)
    apart = _difference(again, first)
    if apart > _tolerance(first):
        why = "it draws random numbers" if any("random" in what for what in changed) else "it draws or remembers"
        yield f"the same samples have other outputs a second time, by {apart:.2g} of the largest: {why}"
    elif len(together) > 1:
        yield from _mates(subject, together, first)
    if changed:
        yield f"a call changes {' and '.join(changed)}"
    if written:
        yield "it writes into its input, of which it is given copies"


def _mates(subject: Subject, together: Tensor, outputs: Tensor) -> Iterator[str]:
    """Clauses about samples whose output alone differs from their output in a batch."""
    apart = 0.0
    for row in together[:_ALONE]:
        alone = _alone(subject, row)
        if isinstance(alone, str):
            yield f"it takes no sample by itself: {alone.partition(chr(10))[0]}"
            return
        if alone.shape != (1, *outputs.shape[1:]):
            yield f"a sample by itself has an output of shape {tuple(alone.shape)}"
            return
        apart = max(apart, _difference(alone, outputs[row][None], _largest(outputs)))
    if apart > _tolerance(outputs):
        yield f"a sample's output depends on the samples beside it, by {apart:.2g} of the largest"


def _alone(subject: Subject, row: Tensor) -> Tensor | str:
    """The output (1, ...) for a sample alone, or the model's error."""

    def call() -> Tensor | str:
        output, _ = _call(subject, row[None])
        return output[None] if output.dim() == 0 else output  # the batch dimension was squeezed

    return attempt(call, words)


def _call(subject: Subject, samples: Tensor) -> tuple[Tensor, bool]:
    """The output for these samples, and whether the model wrote into its input."""
    inputs = [t[samples] for t in subject.inputs]
    given = copied(inputs)
    output = subject.readout.tensor(subject.forward(given, samples)).clone()
    same = all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(given, inputs, strict=True))
    return output, not same


def _difference(one: Tensor, other: Tensor, scale: float | None = None) -> float:
    """The largest difference as a share of the largest output; NaN equals NaN, and infinity equals infinity."""
    if one.shape != other.shape:
        return float("inf")
    one, other = one.double(), other.double()
    unlike = (one != other) & ~(one.isnan() & other.isnan())
    if not bool(unlike.any()):
        return 0.0
    largest = float((one - other)[unlike].abs().nan_to_num(nan=torch.inf, posinf=torch.inf).max())
    return largest / (scale or _largest(other) or 1.0)


def _largest(outputs: Tensor) -> float:
    """The largest magnitude of a finite output."""
    return float(outputs.double().abs().nan_to_num(nan=0, posinf=0).max())


def _tolerance(outputs: Tensor) -> float:
    if not outputs.is_floating_point():
        return 0.0
    allowed = _TOLERANCE.get(outputs.dtype, _COARSE)
    return _ON_A_GPU * allowed if outputs.is_cuda and outputs.dtype == torch.float32 else allowed


def _surroundings(subject: Subject) -> dict[str, object]:
    """State that a call must not change, by name."""
    numbers: dict[str, Any] = np.random.get_state(legacy=False)  # noqa: NPY002
    drawn = torch.get_rng_state().numpy().tobytes()
    if subject.device.type == "cuda":
        drawn += torch.cuda.get_rng_state(subject.device).numpy().tobytes()
    return {
        "torch's random state": drawn,
        "NumPy's random state": (numbers["state"]["key"].tobytes(), numbers["state"]["pos"], numbers["gauss"]),
        "Python's random state": random.getstate(),
        "the working directory": os.getcwd(),
        "torch's default type": torch.get_default_dtype(),
        "whether gradients are recorded": torch.is_grad_enabled(),
        "which modules are in training mode": tuple(module.training for module in subject.model.modules()),
    }


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    every = dict(model.named_parameters()) | dict(model.named_buffers())
    return {name: tensor for name, tensor in every.items() if tensor.layout == torch.strided}


def _state(model: nn.Module) -> dict[str, tuple[object, ...]]:
    """A summary of every weight and buffer that reveals changes: shape, and sums of all and of some numbers."""
    return {name: (tuple(t.shape), *_sums(t.detach())) for name, t in _tensors(model).items()}


def _sums(values: Tensor) -> tuple[str, ...]:
    if not values.numel() or values.is_complex() or values.is_quantized:
        return ()
    return str(float(values.sum(dtype=torch.float64))), str(float(values.ravel()[::7].sum(dtype=torch.float64)))


def _names(changed: Iterator[str]) -> Sequence[str]:
    found = list(changed)
    if not found:
        return []
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return [f"its weights or buffers ({', '.join(found[:_NAMED])}{more})"]


@contextmanager
def _put_back(model: nn.Module) -> Iterator[None]:
    """Restore the values of weights and buffers, and the modules' modes, afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    size = sum(t.numel() * t.element_size() for t in _tensors(model).values())
    kept = {name: t.detach().clone() for name, t in _tensors(model).items()} if size <= _COPIED else {}
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for name, tensor in _tensors(model).items():
            if name in kept and kept[name].shape == tensor.shape and not torch.equal(kept[name], tensor):
                tensor.detach().copy_(kept[name])
