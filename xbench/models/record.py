"""The records of a model: `Model`, and `Encoded`, a split encoded for the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xbench.core.copies import copied
from xbench.core.padding import Padded
from xbench.core.sites import Site
from xbench.datasets.record import Dataset, Split
from xbench.engine import follows


@dataclass(frozen=True)
class Encoded:
    """n samples in the form that a model takes.

    inputs: the tensors (n, ...) to explain.
    baseline: one tensor (1 or n, ...) per input, in input space. For texts: token ids, with the neutral
        token in place of words and special tokens and padding kept.
    features: one int64 tensor (1 or n, ...) of group ids per input, broadcastable to it; from 0 without gaps for each
        sample, -1 outside any feature (padding, special tokens).
    extra: further positional arguments of the model; tensors whose first dimension is n follow the samples.
    tokens: one string per position of an input, "" at padded positions: words, or columns with values.
    called: the features' name in tables: "words", "edges".
    special: ids of special tokens: "mask" (a hidden word) and "pad".
    masks: one bool ground truth (n, ...) per input tensor, of size 1 in dimensions it covers as a whole; or None.
    Raises ValueError if the shapes disagree.
    """

    inputs: tuple[Tensor, ...]
    baseline: tuple[Tensor, ...]
    features: tuple[Tensor, ...] | None = None
    extra: tuple[object, ...] = ()
    tokens: tuple[tuple[str, ...], ...] | None = None
    masks: tuple[Tensor, ...] | None = None
    special: Mapping[str, int] | None = None
    called: str = "features"

    @property
    def padded(self) -> Padded | None:
        """The input whose samples end in padding, according to the tokens; None if there is none."""
        if self.tokens is None or all(row[-1] for row in self.tokens):
            return None
        width = len(self.tokens[0])
        matching = [i for i, tensor in enumerate(self.inputs) if tensor.shape[1:2] == (width,)]
        lengths = [max([1, *(place + 1 for place, token in enumerate(row) if token)]) for row in self.tokens]
        return Padded(matching[0], width, torch.tensor(lengths)) if len(matching) == 1 else None

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("a model needs at least one input tensor, got none")
        n = len(self.inputs[0])
        if any(len(tensor) != n for tensor in self.inputs):
            raise ValueError(f"all inputs must have the same length, got {[len(tensor) for tensor in self.inputs]}")
        self._check_like_inputs("baseline", self.baseline, same_rows=False)
        if self.features is not None:
            self._check_like_inputs("features", self.features, same_rows=False)
            if any(tensor.dtype != torch.int64 for tensor in self.features):
                raise ValueError(f"features must be int64, got {[tensor.dtype for tensor in self.features]}")
        if self.masks is not None and [len(mask) for mask in self.masks] != [n] * len(self.inputs):
            raise ValueError(f"masks must hold one tensor of {n} rows per input ({len(self.inputs)})")
        widths = [tensor.shape[1] for tensor in self.inputs if tensor.dim() > 1]
        if self.tokens is not None and [len(row) for row in self.tokens] not in [[width] * n for width in widths]:
            raise ValueError(f"tokens must be {n} rows of {' or '.join(map(str, widths))} strings")

    def __len__(self) -> int:
        return len(self.inputs[0])

    def arguments(self, rows: slice, device: torch.device) -> tuple[object, ...]:
        """The model's arguments for these samples; copies, because the model may write into them."""
        n = len(self)
        given = (value[rows] if follows(value, n) else value for value in (*self.inputs, *self.extra))
        return copied(tuple(given), device)

    def _check_like_inputs(self, name: str, tensors: tuple[Tensor, ...], same_rows: bool) -> None:
        if len(tensors) != len(self.inputs):
            raise ValueError(f"{name} must hold one tensor per input ({len(self.inputs)}), got {len(tensors)}")
        for tensor, given in zip(tensors, self.inputs, strict=True):
            rows_fit = len(tensor) == len(given) or (len(tensor) == 1 and not same_rows)
            if not rows_fit or tensor.shape[1:] != given.shape[1:]:
                raise ValueError(f"{name} of shape {tuple(tensor.shape)} does not fit inputs {tuple(given.shape)}")


@dataclass(frozen=True)
class Model:
    """A classifier or regressor ready to be explained.

    name: the name in rows, tables and reports.
    module: the network in eval mode, with normalisation inside, so that a black image is black.
    fingerprint: sha256 of everything that determines the outputs: the weights, and source that is not xbench's own.
    encode: converts a split of a data set to the module's inputs.
    site: where points enter, such as "embedding" (texts) or "conv1:input", see `xbench.core.sites`; None = the input.
    output: the part of a structured output to explain: a key or attribute such as "logits", or a position; None = the
        output is a tensor.
    accuracy: share of `dataset.test` classified correctly, or R² for a regression; None = unknown, or model and data
        have different classes (then the labels do not apply and only the predicted class can be explained).
    """

    name: str
    module: nn.Module
    fingerprint: str
    encode: Callable[[Dataset, Split], Encoded]
    site: str | None = None
    output: str | int | None = None
    accuracy: float | None = None

    def __post_init__(self) -> None:
        if self.module.training:
            raise ValueError(f"model {self.name!r} must be in eval mode; call module.eval() first")
        if self.accuracy is not None and not self.accuracy <= 1.0:
            raise ValueError(f"accuracy must be at most 1, got {self.accuracy}")
        names = dict(self.module.named_modules())
        if self.site is not None and Site.parse(self.site).layer not in names:
            raise ValueError(f"model {self.name!r} has no submodule {self.site!r}; it has {sorted(names)[1:]}")
