"""What a model is to the rest of xbench: `Model`, and a split as the model takes it: `Encoded`."""

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
    """n samples in the form in which a model takes them.

    inputs: the tensors (n, ...) that are explained.
    baseline: one tensor (1 or n, ...) per input, in input space. For texts: token ids, with the neutral
        token in place of words and special tokens and padding kept.
    features: one int64 tensor (1 or n, ...) of group numbers per input, broadcastable to it; from 0
        without gaps for each sample, -1 where the position is no feature (padding, special tokens).
    extra: further positional arguments of the model; tensors whose first dimension is n follow the samples.
    tokens: one string per position of an input, "" at padded positions: words, or columns with values.
    called: what the features are, for tables: "words", "edges".
    special: ids of tokens with a meaning of their own: "mask" (no word here) and "pad".
    masks: one bool ground truth (n, ...) per input tensor, of size 1 where it says nothing; or None.
    Raises ValueError when the shapes disagree.
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
        """The input whose samples end in padding, as the tokens tell; None where they do not."""
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
        """What a model is given for these samples; copies, for it may write into them."""
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

    name: what rows, tables and reports say.
    module: in eval mode, with normalisation inside, so that a black image is black.
    fingerprint: sha256 of what decides its outputs: the weights, and source that is not xbench's own.
    encode: turns a split of a data set into what the module takes.
    site: where points enter, such as "embedding" (texts) or "conv1:input", see `xbench.core.sites`;
        None = the input itself.
    output: which part of a structured output is explained: a key or attribute such as "logits", or a
        position; None = the output is a tensor.
    accuracy: share of `dataset.test` that it classifies correctly, for a regression R²; None = not
        known, or the classes of model and data are not the same (then its labels mean nothing to this model and only
        the predicted class can be explained).
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
