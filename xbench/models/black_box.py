"""A model that is any function: of arrays, without gradients, such as scikit-learn's `predict_proba`."""

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
    """Tensors (n, ...) to a function of arrays, and what it returns, (n, outputs) or (n,), as a tensor (n, outputs)."""

    differentiable: ClassVar[bool] = False  # what needs a gradient is not applicable

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
    """Any function of numpy arrays: methods that perturb explain it, what needs a gradient is skipped.

    function: gets a sample's tensors as arrays (n, ...), returns scores or probabilities (n, classes), or values (n,)
        or (n, 1) of a regression. In YAML `_target_` and `_partial_: true`.
    frame: the function gets a pandas frame whose columns are named as the data set's are; null: where it is a method of
        a scikit-learn estimator that was trained on a frame, which then gives the names.
    builds: the function has no samples as arguments, but makes the function that does (trains a forest, loads a file).
    name: what rows say.

    The store knows the function by its source (docs/keys.md) and, since that says nothing of what it was fitted to, by
    its outputs for the samples of the data set.
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
        """What rows say."""
        return self.name

    def fingerprint(self, dataset: Dataset) -> None:
        """None: known only once the function has answered."""

    def load(self, dataset: Dataset) -> Model:
        """Raises ValueError when the data are texts or the function's answer has the wrong form."""
        function = self.function() if self.builds else self.function
        if not callable(function):
            raise TypeError(f"model {self.name!r}: builds=true, but it built a {type(function).__name__}, no function")
        module = Asked(function, self._columns(function, dataset)).eval()
        outputs = predict_split(module, encode_tensors, dataset, dataset.test)
        content = hashlib.sha256(repr(tuple(outputs.shape)).encode() + outputs.numpy().tobytes()).hexdigest()
        model = Model(self.name, module, content, encode_tensors)
        return replace(model, accuracy=cached_accuracy(model, dataset))

    def _columns(self, function: Predict, dataset: Dataset) -> tuple[str, ...] | None:
        """Names of the columns of the frame that the function gets; None where it gets arrays."""
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
