"""The model's accuracy, or R² for a regression, on the samples to explain."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from xbench.boundary.attempt import attempt, message
from xbench.boundary.files import write_atomic
from xbench.datasets.cache import cache_directory
from xbench.datasets.record import Dataset, Split
from xbench.models.record import Encoded, Model
from xbench.models.weights import digest

log = logging.getLogger("xbench")

ROWS = 64  # per forward pass: small enough for a large transformer on a small machine


def logits_of(output: object, part: str | int | None) -> Tensor:
    """The part of a model's output named by `part` (a key, an attribute, a position; None = the whole output)."""
    if isinstance(part, str) and hasattr(output, part):
        output = getattr(output, part)
    elif part is not None:
        output = output[part]  # type: ignore[index]
    if not isinstance(output, Tensor):
        raise TypeError(f"the model's output {part!r} is {type(output).__name__}, not a tensor; set `output`")
    return output


def predict_split(
    module: nn.Module,
    encode: Callable[[Dataset, Split], Encoded],
    dataset: Dataset,
    split: Split,
    output: str | int | None = None,
) -> Tensor:
    """Outputs (n, ...) for all samples of a split, read and encoded a batch at a time."""
    parts = []
    for start in range(0, len(split), ROWS):
        rows = range(start, min(start + ROWS, len(split)))
        parts.append(predict(module, encode(dataset, split.subset(rows)), output))
    return torch.cat(parts)


@torch.no_grad()
def predict(module: nn.Module, encoded: Encoded, output: str | int | None = None) -> Tensor:
    """Outputs (n, ...) of a module for all samples, in batches. The module must be in eval mode."""
    cpu = torch.device("cpu")
    given = (encoded.arguments(slice(start, start + ROWS), cpu) for start in range(0, len(encoded), ROWS))
    return torch.cat([logits_of(module(*arguments), output) for arguments in given])


def accuracy(logits: Tensor, targets: Tensor) -> float:
    """Share of the rows of `logits` (n, classes) whose largest entry is the target's; R² for float targets.

    R² is 1 - (squared error) / (squared error of the targets' own mean): 1 is perfect, below 0 worse than the mean.

    Raises ValueError when a logit is not finite.
    """
    if not torch.isfinite(logits).all():
        raise ValueError("the model returns NaN or infinite outputs, so it has no accuracy")
    if targets.is_floating_point():
        error = (logits.flatten().double() - targets.double()).square().sum()
        return (1 - error / (targets.double() - targets.double().mean()).square().sum()).item()
    return (logits.argmax(dim=1) == targets).double().mean().item()


def cached_accuracy(model: Model, dataset: Dataset) -> float | None:
    """Accuracy on `dataset.test`, computed once per weights and data and then cached.

    Returns None, with a warning, if it is undefined: the number of outputs differs from the number of classes, outputs
    are not finite, or the model fails. None of these stops a run.
    """
    kind = type(model.module)
    identity = {
        "model": model.fingerprint,
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "network": repr(model.module),  # classes and settings of the parts: other networks may use the same weights
        "output": model.output,
        "data": dataset.fingerprint,
    }
    path = cache_directory() / "accuracy" / f"{digest(identity)}.json"
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["accuracy"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # absent or damaged: compute it
    found = attempt(lambda: _measured(model, dataset), lambda error: _unknown(model, dataset, error))
    if found is None:
        return None
    try:
        write_atomic(path, json.dumps({"model": model.name, "dataset": dataset.name, "accuracy": found}).encode())
    except OSError as error:
        log.debug("could not write %s: %s", path, error)
    return found


def _measured(model: Model, dataset: Dataset) -> float | None:
    logits = predict_split(model.module, model.encode, dataset, dataset.test, model.output)
    regression = dataset.test.targets.is_floating_point()
    if logits.dim() != 2 or logits.shape[1] != (1 if regression else len(dataset.classes)):
        log.warning(
            "model %s gives outputs %s for the %d classes of %s: accuracy not known",
            model.name, tuple(logits.shape[1:]), len(dataset.classes), dataset.name,
        )  # fmt: skip
        return None
    return accuracy(logits, dataset.test.targets)


def _unknown(model: Model, dataset: Dataset, error: BaseException) -> None:
    # A user's module may raise anything; its cells report the error.
    log.warning("accuracy of model %s on %s is not known: %s", model.name, dataset.name, message(error))
