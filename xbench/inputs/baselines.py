"""`baseline=`: chooses baselines by name for any data, or reads them from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xbench.core.draws import Draws
from xbench.core.names import BASELINES, NUMBER_BASELINES, TOKEN_BASELINES
from xbench.datasets.record import Dataset
from xbench.explain.request import baseline_tensors
from xbench.modalities import MODALITIES
from xbench.models.record import Encoded, Model

TRAIN = 16  # training samples in a distribution of baselines
TYPICAL = 256  # training samples that give the mean and the standard deviation
BLUR = 0.1  # standard deviation of the blur, as a share of the shorter side


def choose_baseline(
    name: str, dataset: Dataset, model: Model, encoded: Encoded, ids: Sequence[str], seed: int
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...] | None]:
    """One baseline (1 or n, ...) per input, and a distribution (TRAIN, ...) for methods that average over baselines.

    Names: zero, mean (of training samples), blur (of the sample), noise (normal, with the training samples' mean and
    standard deviation), uniform (in the range of values), train (one training sample per sample; methods that average
    use TRAIN of them), mask and pad (tokens), or the path of a .npy file (1, ...).

    Raises ValueError if the data have no such baseline.
    """
    tokens = [not tensor.is_floating_point() for tensor in encoded.inputs]
    if name in TOKEN_BASELINES:
        if not all(tokens):
            known = ", ".join(NUMBER_BASELINES)
            raise ValueError(f"baseline={name} is for tokens; {dataset.name} takes {known} or a .npy file")
        return (_token(name, encoded),), None
    if any(tokens):
        raise ValueError(f"baseline={name} needs numbers, and a text is tokens to this model: it takes mask or pad")
    if name not in NUMBER_BASELINES:
        return _from_file(Path(name), encoded), None
    if name == "zero":
        return tuple(torch.zeros_like(tensor[:1]) for tensor in encoded.inputs), None
    if name == "blur":
        axes = MODALITIES[dataset.modality].blurred
        if axes is None:
            known = ", ".join(each for each, modality in MODALITIES.items() if modality.blurred is not None)
            raise ValueError(f"baseline=blur is for {known}; {dataset.modality} data have no neighbours to blur over")
        return (_blurred(encoded.inputs[0], axes), *encoded.baseline[1:]), None  # words keep their baseline
    draws = Draws(seed, tuple(ids))
    if name == "uniform":
        return tuple(_uniform(tensor, dataset, draws, place) for place, tensor in enumerate(encoded.inputs)), None
    train = _training(dataset, model, encoded)
    if name == "mean":
        return tuple(part.mean(0, keepdim=True) for part in train), None
    if name == "noise":
        return tuple(
            _noise(x, part, draws, place) for place, (x, part) in enumerate(zip(encoded.inputs, train, strict=True))
        ), None
    drawn = draws.uniform("baseline", 0, torch.empty(len(ids), 1, dtype=torch.float64)).squeeze(1)
    rows = (drawn * len(train[0])).long()
    return tuple(part[rows] for part in train), tuple(part[:TRAIN] for part in train)


def _token(name: str, encoded: Encoded) -> Tensor:
    number = (encoded.special or {}).get(name)
    if number is None:
        raise ValueError(f"baseline={name}: this model's vocabulary has no such token")
    words = encoded.features[0] >= 0 if encoded.features is not None else torch.ones_like(encoded.inputs[0]).bool()
    return torch.where(words, number, encoded.inputs[0])


def _training(dataset: Dataset, model: Model, encoded: Encoded) -> tuple[Tensor, ...]:
    """The first training samples, encoded for the model. Raises ValueError if their shape differs."""
    train = dataset.train()
    made = model.encode(dataset, train.subset(range(min(TYPICAL, len(train)))))
    for own, part in zip(encoded.inputs, made.inputs, strict=True):
        if own.shape[1:] != part.shape[1:]:
            raise ValueError(
                f"baseline: training samples of shape {tuple(part.shape[1:])} do not fit those to explain, "
                f"{tuple(own.shape[1:])}"
            )
    return made.inputs


def _blurred(tensor: Tensor, axes: int) -> Tensor:
    """Blur each sample along its last axes."""
    result = tensor.flatten(0, -1 - axes).unsqueeze(1)  # (rows, 1, ...)
    sides = result.shape[2:]
    sigma = BLUR * min(sides)
    for axis in range(axes):
        half = max(1, min(int(3 * sigma), sides[axis] - 1))
        weights = torch.exp(-0.5 * (torch.arange(-half, half + 1) / sigma) ** 2)
        shape = [1, 1, *[len(weights) if a == axis else 1 for a in range(axes)]]
        padding = [half if a == axis else 0 for a in reversed(range(axes)) for _ in range(2)]
        padded = F.pad(result, padding, mode="reflect")
        convolve = F.conv1d if axes == 1 else F.conv2d
        result = convolve(padded, (weights / weights.sum()).reshape(shape).to(result.dtype))
    return result.reshape(tensor.shape)


def _uniform(tensor: Tensor, dataset: Dataset, draws: Draws, place: int) -> Tensor:
    low, high = dataset.value_range or (float(tensor.min()), float(tensor.max()))
    drawn = draws.uniform(f"baseline{place}", 0, tensor.flatten(1)).reshape(tensor.shape)
    return low + (high - low) * drawn.to(tensor.dtype)


def _noise(tensor: Tensor, train: Tensor, draws: Draws, place: int) -> Tensor:
    drawn = draws.normal(f"baseline{place}", 0, tensor.flatten(1)).reshape(tensor.shape)
    return (train.mean(0) + train.std(0) * drawn).to(tensor.dtype)


def _from_file(path: Path, encoded: Encoded) -> tuple[Tensor, ...]:
    if path.suffix != ".npy":
        raise ValueError(f"baseline: expected {', '.join(BASELINES)} or the path of a .npy file, got {str(path)!r}")
    if not path.is_file():
        raise FileNotFoundError(f"baseline: there is no file {path}")
    (tensor,) = encoded.inputs if len(encoded.inputs) == 1 else (None,)
    if tensor is None:
        raise ValueError("baseline: a file is for samples of one part")
    try:
        values = torch.from_numpy(np.load(path, allow_pickle=False))
    except (ValueError, TypeError, EOFError) as error:
        raise ValueError(f"baseline: {path} cannot be read: {error}") from error
    made = baseline_tensors(values, encoded.inputs, f"baseline: {path}")
    if len(made[0]) != 1:
        raise ValueError(f"baseline: {path} has {len(made[0])} rows, expected one")
    return made
