"""Your own data: a function that gives samples and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xbench.datasets.generated import Generated, windows
from xbench.datasets.images import patches, tubes
from xbench.datasets.record import Dataset, mixed_order

TEST = 500
SQUARES = 8  # along the shorter side of an image or frame
WINDOWS = 32  # in time

Samples = Tensor | Sequence[str]
_DIMS = {"image": (3, "(n, C, H, W)"), "audio": (2, "(n, 1, T)"), "series": (2, "(n, C, T)"),
         "video": (4, "(n, C, T, H, W)"), "tabular": (1, "(n, columns)")}  # fmt: skip


@dataclass(frozen=True)
class Function:
    """A data set from a function of yours.

    samples: a function without arguments that returns samples and targets, and, if you like, masks. Samples are a float
        tensor or a list of texts, targets whole numbers from 0 or, for a regression, floats, masks as
        `xbench.datasets.record.Split` takes them.
    modality: image (n, C, H, W), audio (n, 1, T), series (n, C, T), video (n, C, T, H, W), tabular (n, columns), text.
    name: what rows say. classes: names of the classes, or, for a regression, none; null = their numbers.
    n: how many are explained, in an order that mixes the classes; null = a fifth, at most 500. The others are for
        training.
    columns: names of the columns of a table. rate: samples per second of audio.

    Zero is the baseline; patches, windows, tubes, columns or words are the features. For everything else write a class
    with a method `load` that returns a `xbench.datasets.record.Dataset`.
    """

    samples: Callable[[], tuple[Any, ...]]
    modality: str
    name: str = "function"
    classes: tuple[str, ...] | None = None
    n: int | None = None
    columns: tuple[str, ...] | None = None
    rate: int | None = None

    def __post_init__(self) -> None:
        if not callable(self.samples):
            raise TypeError(f"samples must be a function, in YAML with `_partial_: true`; got {self.samples!r}")
        if self.modality not in (*_DIMS, "text"):
            raise ValueError(f"modality must be one of {', '.join(_DIMS)}, text; got {self.modality!r}")

    def load(self) -> Dataset:
        """Raises ValueError that says what of the function's result is not as it should be."""
        inputs, labels, masks = self._given()
        bare: Any = getattr(self.samples, "func", self.samples)
        regression = labels.is_floating_point()
        classes = () if regression else self._classes(labels)
        whole = [0] * len(labels) if regression else labels.tolist()
        contents = list(inputs) if isinstance(inputs, tuple) else [row.numpy().tobytes() for row in inputs]
        order = torch.tensor(mixed_order(whole, contents))
        return Generated(
            name=self.name,
            modality=self.modality,
            classes=classes,
            inputs=_rows(inputs, order),
            labels=labels[order],
            n=min(TEST, max(1, len(labels) // 5)) if self.n is None else self.n,
            origin=f"made by {bare.__module__}.{getattr(bare, '__qualname__', type(bare).__qualname__)}",
            masks=None if masks is None else _rows(masks, order),
            further=self._further(inputs),
        ).dataset()

    def _given(self) -> tuple[Tensor | tuple[str, ...], Tensor, Tensor | tuple[tuple[bool, ...], ...] | None]:
        """The function's result, checked."""
        made = self.samples()
        if not isinstance(made, tuple) or len(made) not in (2, 3):
            got = f"{type(made).__name__} {made!r:.60}"
            raise ValueError(f"{self.name}: the function must return (samples, targets), or these and masks; got {got}")
        inputs, labels, masks = (*made, None)[:3]
        labels = torch.as_tensor(labels)
        labels = labels.float() if labels.is_floating_point() else labels.long()
        if labels.dim() != 1 or len(labels) != len(inputs) or len(labels) < 2:
            raise ValueError(f"{self.name}: {len(inputs)} samples need as many targets, got {tuple(labels.shape)}")
        if self.modality == "text":
            texts = tuple(" ".join(text.split()) for text in inputs)
            if "" in texts:
                raise ValueError(f"{self.name}: text {texts.index('')} is empty")
            return texts, labels, masks and tuple(map(tuple, masks))
        dims, shape = _DIMS[self.modality]
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.dim() != dims + 1:
            got = f"{inputs.dtype} {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
            raise ValueError(f"{self.name}: {self.modality} samples are a float tensor {shape}, got {got}")
        bad = ~torch.isfinite(inputs.flatten(1)).all(1)
        if bad.any():
            raise ValueError(f"{self.name}: sample {int(bad.nonzero()[0])} has a value that is no number")
        return inputs.detach().float(), labels, masks

    def _classes(self, labels: Tensor) -> tuple[str, ...]:
        classes = self.classes or tuple(str(number) for number in range(int(labels.max()) + 1))
        if int(labels.min()) < 0 or int(labels.max()) >= len(classes):
            found = f"targets go from {labels.min()} to {labels.max()}"
            raise ValueError(f"{self.name}: {found}, and there are {len(classes)} classes")
        return classes

    def _further(self, inputs: Tensor | tuple[str, ...]) -> dict[str, Any]:
        """Baseline, features and what else the kind of data has."""
        if isinstance(inputs, tuple):
            return {}
        shape = inputs.shape[1:]
        side = max(1, min(shape[-2:]) // SQUARES) if len(shape) > 2 else 1
        groups = {
            "image": lambda: patches(shape[0], shape[1], shape[2], side),
            "video": lambda: tubes(shape[0], shape[1], shape[2], shape[3], side),
            "audio": lambda: windows(shape[-1], WINDOWS)[None, None],
            "series": lambda: (windows(shape[-1], WINDOWS) + WINDOWS * torch.arange(shape[0])[:, None])[None],
            "tabular": lambda: torch.arange(shape[0])[None],
        }
        return {
            "baseline": torch.zeros(1, *shape),
            "features": groups[self.modality](),
            "value_range": (float(inputs.min()), float(inputs.max())),
            "columns": self.columns,
            "rate": self.rate,
        }


def _rows(values: Any, order: Tensor) -> Any:  # noqa: ANN401  (a tensor or a tuple, and the same again)
    return values[order] if isinstance(values, Tensor) else tuple(values[row] for row in order)
