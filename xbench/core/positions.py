"""Aligns features and masks that have fewer dimensions than the samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, Tensor


def from_left(name: str, given: Tensor, n: int, shape: Size, inputs: Sequence[Size]) -> Tensor:
    """Append dimensions to `given` (1 or n, ...) until it has as many as the samples (n, *shape).

    Token positions (n, T) thus fit an embedding (n, T, D). torch's broadcasting would prepend dimensions instead; if
    both alignments fit and differ, ValueError is raised, unless one sample of `given` has the shape of an input.

    Args:
        name: "features" or "masks", for errors.
        given: values whose first dimension counts samples.
        n: number of samples.
        shape: shape of one sample where points enter the model.
        inputs: shapes of one sample, for each input of the model.

    Raises:
        ValueError: `given` does not fit from the left, or from both sides.
    """
    lacking = len(shape) + 1 - given.dim()
    left, right = [*given.shape, *[1] * lacking], [*[1] * lacking, *given.shape]
    fits = _fits(left, n, shape)
    if lacking > 0 and given.shape[1:] not in inputs and _fits(right, n, shape):
        if not fits:
            raise ValueError(
                f"{_what(name, given, n, shape)}: their first dimension is that of samples, and further ones are read "
                f"from the left; write {name}.reshape{tuple(right)}"
            )
        whole = (n, *shape)
        if not torch.equal(given.reshape(left).expand(whole), given.reshape(right).expand(whole)):
            raise ValueError(
                f"{name} of shape {tuple(given.shape)} fit samples of shape {whole} from the left and from the right: "
                f"write {name}.reshape{tuple(left)} or {name}.reshape{tuple(right)}"
            )
    if len(given) not in (1, n):
        raise ValueError(f"{name}: got {len(given)} rows for {n} samples; expected one, or one per sample")
    if not fits:
        raise ValueError(_what(name, given, n, shape))
    return given.reshape(left)


def _fits(dimensions: Sequence[int], n: int, shape: Size) -> bool:
    return len(dimensions) == len(shape) + 1 and all(
        own in (1, whole) for own, whole in zip(dimensions, (n, *shape), strict=True)
    )


def _what(name: str, given: Tensor, n: int, shape: Size) -> str:
    return f"{name} of shape {tuple(given.shape)} do not fit samples of shape {(n, *shape)}"
