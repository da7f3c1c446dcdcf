"""Chooses the explained target of each sample, and predicts the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xbench.core.readouts import Readout, TargetError
from xbench.core.sites import device_of, frozen
from xbench.datasets.record import Split
from xbench.engine import NonFiniteError
from xbench.models.record import Encoded, Model

_ROWS = 32


@dataclass(frozen=True)
class Chosen:
    """Per sample: the predicted class and its probability, the label, and the target, None for a single output."""

    predicted: list[int | float]
    confidence: list[float] | list[None]
    label: list[int | float]
    target: Tensor | None


def choose(
    model: Model, encoded: Encoded, split: Split, target: str | int | Sequence[int], classes: tuple[str, ...]
) -> Chosen:
    """Predict the samples and choose the output to explain: `predicted`, `label`, or a class number.

    Outputs of more dimensions, such as a class per token or pixel (n, places, classes), are read at one index per
    dimension; the prediction is then that number.

    Raises:
        TargetError: the target does not fit the model.
        NonFiniteError: the model gives NaN or infinity for a sample.
    """
    output = _outputs(model, encoded)
    if not bool(output.isfinite().all()):
        which = [split.ids[i] for i in (~output.flatten(1).isfinite().all(1)).nonzero().flatten().tolist()]
        raise NonFiniteError(f"the model gave NaN or infinity for {len(which)} sample(s): {', '.join(which[:5])}")
    labels = split.targets.tolist()
    if output.dim() == 1 or output.shape[1] == 1:
        return Chosen(output.flatten().tolist(), [None] * len(output), labels, None)
    if not isinstance(target, str | int):
        return _at(output, tuple(target), labels)
    if output.dim() != 2:
        raise TargetError(
            f"the model's output has shape {tuple(output.shape)}, not (samples, classes): name the number to explain "
            f"by one index per dimension, target=[{','.join('0' * (output.dim() - 1))}]"
        )
    confidence, predicted = output.softmax(1).max(1)
    if target == "label" and output.shape[1] != len(classes):
        raise TargetError(
            f"target=label: the model has {output.shape[1]} outputs and the data {len(classes)} classes, so labels "
            "name no output; explain target=predicted or a number"
        )
    if target == "predicted":
        rows = predicted
    elif target == "label":
        rows = split.targets.to(torch.int64)
    else:
        rows = torch.full_like(predicted, int(target))
    wrong = (rows < 0) | (rows >= output.shape[1])
    if bool(wrong.any()):
        first = int(wrong.nonzero()[0])
        raise TargetError(
            f"target {int(rows[first])} of sample {split.ids[first]} is out of range: the model has "
            f"{output.shape[1]} outputs, 0 to {output.shape[1] - 1}"
        )
    return Chosen(predicted.tolist(), confidence.tolist(), labels, rows)


def _at(output: Tensor, index: tuple[int, ...], labels: list[int | float]) -> Chosen:
    shape = output.shape[1:]
    if len(index) != len(shape) or any(i >= size for i, size in zip(index, shape, strict=True)):
        raise TargetError(f"target {list(index)} names no number of an output of shape {tuple(shape)}")
    values = output.flatten(1)[:, int(np.ravel_multi_index(index, shape))].tolist()
    return Chosen(values, [None] * len(output), labels, torch.tensor(index).expand(len(output), -1))


def _outputs(model: Model, encoded: Encoded) -> Tensor:
    module, readout, n = model.module, Readout(select=model.output), len(encoded)
    device = device_of(module, torch.device("cpu"))
    parts = []
    with frozen(module), torch.no_grad():
        for start in range(0, n, _ROWS):
            given = encoded.arguments(slice(start, start + _ROWS), device)
            output = readout.tensor(module(*given)).cpu()
            wanted = min(_ROWS, n - start)
            if output.dim() == 0 or len(output) != wanted:
                raise ValueError(f"the model returned shape {tuple(output.shape)} for {wanted} samples")
            parts.append(output)
    return torch.cat(parts)
