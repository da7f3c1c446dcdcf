"""The user's own data: a function that returns samples and labels."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset

from xbench.datasets.found import fingerprint
from xbench.datasets.generated import Generated, windows
from xbench.datasets.images import patches, tubes
from xbench.datasets.map_style import Items, survey
from xbench.datasets.record import Dataset, mixed_order

TEST = 500
SQUARES = 8  # features along the shorter side of an image or frame
WINDOWS = 32  # features in time

Samples = Tensor | Sequence[str]
_DIMS = {"image": (3, "(n, C, H, W)"), "audio": (2, "(n, 1, T)"), "series": (2, "(n, C, T)"),
         "video": (4, "(n, C, T, H, W)"), "tabular": (1, "(n, columns)")}  # fmt: skip


@dataclass(frozen=True)
class _Given:
    """Checked samples. contents: keys that determine their order; low, high: range of numeric values."""

    inputs: Tensor | Items | tuple[str, ...]
    labels: Tensor
    masks: Tensor | tuple[tuple[bool, ...], ...] | None
    contents: Sequence[Hashable]
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class Function:
    """A data set from the user's function, or from a `torch.utils.data.Dataset`.

    samples: a function without arguments that returns samples, targets and optionally masks. Samples are a float tensor
        or a list of texts; targets are whole numbers from 0 or, for a regression, floats; masks are as in
        `xbench.datasets.record.Split`. Also accepted: a map-style `torch.utils.data.Dataset` of (sample, target), or a
        function that returns one; it is read once in full, and then block by block.
    modality: image (n, C, H, W), audio (n, 1, T), series (n, C, T), video (n, C, T, H, W), tabular (n, columns), text.
    name: the name in tables. classes: names of the classes, or none for a regression; null = their numbers.
    n: number of samples to explain, in an order that mixes the classes; null = a fifth, at most 500. The others train
        the model.
    columns: names of the columns of a table. rate: samples per second of audio.

    The baseline is zero; the features are patches, windows, tubes, columns or words. For anything else, write a class
    whose method `load` returns a `xbench.datasets.record.Dataset`.
    """

    samples: Callable[[], Any] | TorchDataset[Any]
    modality: str
    name: str = "function"
    classes: tuple[str, ...] | None = None
    n: int | None = None
    columns: tuple[str, ...] | None = None
    rate: int | None = None

    def __post_init__(self) -> None:
        if not callable(self.samples) and not isinstance(self.samples, TorchDataset):
            raise TypeError(
                "samples must be a function, in YAML with `_partial_: true`, or a torch.utils.data.Dataset; "
                f"got {self.samples!r}"
            )
        if self.modality not in (*_DIMS, "text"):
            raise ValueError(f"modality must be one of {', '.join(_DIMS)}, text; got {self.modality!r}")

    def load(self) -> Dataset:
        """Raises ValueError that names the problem in the function's result."""
        given = self._given()
        labels = given.labels
        bare: Any = getattr(self.samples, "func", self.samples)
        regression = labels.is_floating_point()
        classes = () if regression else self._classes(labels)
        whole = [0] * len(labels) if regression else labels.tolist()
        order = torch.tensor(mixed_order(whole, given.contents))
        dataset = Generated(
            name=self.name,
            modality=self.modality,
            classes=classes,
            inputs=_rows(given.inputs, order),
            labels=labels[order],
            n=min(TEST, max(1, len(labels) // 5)) if self.n is None else self.n,
            origin=f"made by {bare.__module__}.{getattr(bare, '__qualname__', type(bare).__qualname__)}",
            masks=None if given.masks is None else _rows(given.masks, order),
            further=self._further(given),
        ).dataset()
        form = (
            self.modality,
            tuple(getattr(given.inputs, "shape", ())),
        )  # equal bytes may belong to samples of another shape
        return replace(dataset, fingerprint=fingerprint(dataset.fingerprint.encode(), repr(form).encode()))

    def _given(self) -> _Given:
        """The samples, checked."""
        made = self.samples if isinstance(self.samples, TorchDataset) else self.samples()
        if isinstance(made, TorchDataset) and not isinstance(made, IterableDataset) and hasattr(made, "__len__"):
            found = survey(made, self.name)
            labels = self._labels(found.labels, len(found.digests))
            if isinstance(found.samples, tuple):
                texts = self._texts(found.samples)
                return _Given(texts, labels, None, texts)
            self._check_shape(found.samples.shape, "float tensors")
            return _Given(found.samples, labels, None, found.digests, found.low, found.high)
        if not isinstance(made, tuple) or len(made) not in (2, 3):
            raise ValueError(
                f"{self.name}: the function must return (samples, targets), or these and masks, or a map-style "
                f"torch.utils.data.Dataset with a length; got {type(made).__name__} {made!r:.60}"
            )
        inputs, targets, masks = (*made, None)[:3]
        labels = self._labels(targets, len(inputs))
        if self.modality == "text":
            texts = self._texts(inputs)
            return _Given(texts, labels, masks and tuple(map(tuple, masks)), texts)
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            got = f"{inputs.dtype} {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
            raise ValueError(f"{self.name}: {self.modality} samples are a float tensor {self._shape}, got {got}")
        self._check_shape(inputs.shape, str(inputs.dtype))
        bad = ~torch.isfinite(inputs.flatten(1)).all(1)
        if bad.any():
            raise ValueError(f"{self.name}: sample {int(bad.nonzero()[0])} has a value that is no number")
        values = inputs.detach().float()
        contents = [row.numpy().tobytes() for row in values]
        return _Given(values, labels, masks, contents, float(values.min()), float(values.max()))

    def _labels(self, targets: Any, n: int) -> Tensor:  # noqa: ANN401  (the function returns anything)
        labels = torch.as_tensor(targets)
        labels = labels.float() if labels.is_floating_point() else labels.long()
        if labels.dim() != 1 or len(labels) != n or n < 2:
            raise ValueError(f"{self.name}: {n} samples need as many targets, got {tuple(labels.shape)}")
        return labels

    def _texts(self, given: Sequence[str]) -> tuple[str, ...]:
        texts = tuple(" ".join(text.split()) for text in given)
        if self.modality != "text":
            raise ValueError(f"{self.name}: {self.modality} samples are a float tensor {self._shape}, got texts")
        if "" in texts:
            raise ValueError(f"{self.name}: text {texts.index('')} is empty")
        return texts

    @property
    def _shape(self) -> str:
        return "" if self.modality == "text" else _DIMS[self.modality][1]

    def _check_shape(self, shape: Sequence[int], what: str) -> None:
        if self.modality == "text":
            raise ValueError(f"{self.name}: text samples are texts, got {what} {tuple(shape)}")
        if len(shape) != _DIMS[self.modality][0] + 1:
            want = f"{self.modality} samples are a float tensor {self._shape}"
            raise ValueError(f"{self.name}: {want}, got {what} {tuple(shape)}")

    def _classes(self, labels: Tensor) -> tuple[str, ...]:
        classes = self.classes or tuple(str(number) for number in range(int(labels.max()) + 1))
        if int(labels.min()) < 0 or int(labels.max()) >= len(classes):
            found = f"targets go from {labels.min()} to {labels.max()}"
            raise ValueError(f"{self.name}: {found}, and there are {len(classes)} classes")
        return classes

    def _further(self, given: _Given) -> dict[str, Any]:
        """Baseline, features and further fields of `Dataset` for this modality."""
        if isinstance(given.inputs, tuple):
            return {}
        shape = tuple(given.inputs.shape[1:])
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
            "value_range": (given.low, given.high),
            "columns": self.columns,
            "rate": self.rate,
        }


def _rows(values: Any, order: Tensor) -> Any:  # noqa: ANN401  (a tensor or a tuple, and the same again)
    if isinstance(values, Items):
        return values.subset(order.tolist())
    return values[order] if isinstance(values, Tensor) else tuple(values[row] for row in order)
