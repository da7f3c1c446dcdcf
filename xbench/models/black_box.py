"""Black-box models: any function of arrays without gradients, such as scikit-learn's `predict_proba`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from xbench.datasets.record import Dataset
from xbench.models.accuracy import cached_accuracy, predict_split
from xbench.models.encoders import encode_tensors
from xbench.models.record import Model

Predict = Callable[..., Any]


class Asked(nn.Module):
    """A module around a function of arrays: tensors (n, ...) -> (n, outputs); the function may also return (n,)."""

    differentiable: ClassVar[bool] = False  # methods that need a gradient do not apply

    def __init__(self, function: Predict, columns: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.function = function
        self.columns = columns

    def forward(self, *inputs: Tensor) -> Tensor:
        rows = len(inputs[0])
        arrays = [tensor.detach().cpu().numpy() for tensor in inputs]
        given = arrays if self.columns is None else [pd.DataFrame(array, columns=self.columns) for array in arrays]
        found = np.asarray(self.function(*given))
        if found.ndim not in (1, 2) or len(found) != rows or found.dtype.kind not in "fiub":
            raise ValueError(
                f"the function must return numbers (n, outputs) or (n,) for n = {rows} samples, got "
                f"{found.dtype} {found.shape}"
            )
        made = torch.from_numpy(found.astype(np.float32)).to(inputs[0].device)
        return made if made.dim() == 2 else made[:, None]


@dataclass(frozen=True)
class BlackBox:
    """Any function of numpy arrays: perturbation methods explain it, gradient methods are skipped.

    function: takes a batch's tensors as arrays (n, ...) and returns scores or probabilities (n, classes), or the values
        (n,) or (n, 1) of a regression. In YAML `_target_` and `_partial_: true`.
    frame: true passes a pandas frame with the data set's column names; null passes one only to a method of a
        scikit-learn estimator trained on a frame, with that frame's names.
    builds: the function takes no samples but returns the function to explain (trains a forest, loads a file).
    name: the name in tables.

    The store identifies the function by its source (docs/keys.md) and, because the source does not show the fitted
    parameters, by its outputs for the samples of the data set.
    """

    function: Predict
    builds: bool = False
    name: str = "black_box"
    frame: bool | None = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"function must be callable, in YAML with `_partial_: true`; got {self.function!r}")

    @property
    def title(self) -> str:
        """The name in tables."""
        return self.name

    def fingerprint(self, dataset: Dataset) -> None:
        """None: the fingerprint needs the function's outputs."""

    def load(self, dataset: Dataset) -> Model:
        """Raises ValueError if the data are texts or the function's result has the wrong form."""
        function = self.function() if self.builds else self.function
        if not callable(function):
            raise TypeError(f"model {self.name!r}: builds=true, but it built a {type(function).__name__}, no function")
        module = Asked(function, self._columns(function, dataset)).eval()
        outputs = predict_split(module, encode_tensors, dataset, dataset.test)
        content = hashlib.sha256(repr(tuple(outputs.shape)).encode() + outputs.numpy().tobytes()).hexdigest()
        model = Model(self.name, module, content, encode_tensors)
        return replace(model, accuracy=cached_accuracy(model, dataset))

    def _columns(self, function: Predict, dataset: Dataset) -> tuple[str, ...] | None:
        """Column names of the frame passed to the function; None if it takes arrays."""
        trained = getattr(getattr(function, "__self__", None), "feature_names_in_", None)
        if self.frame is False or (self.frame is None and trained is None):
            return None
        if dataset.columns is None:
            raise ValueError(f"model {self.name!r} takes a frame, but data set {dataset.name!r} has no columns")
        if trained is None:
            return dataset.columns
        if len(trained) != len(dataset.columns):
            raise ValueError(
                f"model {self.name!r} was trained on {len(trained)} columns ({', '.join(map(str, trained[:4]))}, ...), "
                f"and data set {dataset.name!r} has {len(dataset.columns)}: {', '.join(dataset.columns[:4])}, ..."
            )
        return tuple(map(str, trained))
