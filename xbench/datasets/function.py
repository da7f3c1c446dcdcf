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
from xbench.datasets.generated import Generated
from xbench.datasets.map_style import Items, survey
from xbench.datasets.record import Dataset, mixed_order
from xbench.modalities import MODALITIES, Modality

TEST = 500

Samples = Tensor | Sequence[str]
# Those that one tensor or one list of texts makes up.
_MODALITIES = tuple(name for name, each in MODALITIES.items() if each.holds == "texts" or each.axes is not None)


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
    modality: image (n, C, H, W), audio (n, 1, T), series (n, C, T), video (n, C, T, H, W), tabular (n, columns), text,
        or another one of `xbench/modalities/` that has `axes` or holds texts.
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
        if self.modality not in _MODALITIES:
            raise ValueError(f"modality must be one of {', '.join(_MODALITIES)}; got {self.modality!r}")

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
        if self._kind.axes is None:
            texts = self._texts(inputs)
            return _Given(texts, labels, masks and tuple(map(tuple, masks)), texts)
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            got = f"{inputs.dtype} {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
            raise ValueError(f"{self.name}: {self._wanted}, got {got}")
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
        if self._kind.axes is not None:
            raise ValueError(f"{self.name}: {self._wanted}, got texts")
        if "" in texts:
            raise ValueError(f"{self.name}: text {texts.index('')} is empty")
        return texts

    @property
    def _kind(self) -> Modality:
        return MODALITIES[self.modality]

    @property
    def _wanted(self) -> str:
        return f"{self.modality} samples are a float tensor {self._kind.form}"

    def _check_shape(self, shape: Sequence[int], what: str) -> None:
        axes = self._kind.axes
        if axes is None:
            raise ValueError(f"{self.name}: {self.modality} samples are texts, got {what} {tuple(shape)}")
        single = [place for place, axis in enumerate(axes, 1) if axis == "1"]
        if len(shape) != len(axes) + 1 or any(shape[place] != 1 for place in single):
            raise ValueError(f"{self.name}: {self._wanted}, got {what} {tuple(shape)}")

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
        groups = self._kind.groups
        return {
            "baseline": torch.zeros(1, *shape),
            "features": None if groups is None else groups(shape),
            "value_range": (given.low, given.high),
            "columns": self.columns,
            "rate": self.rate,
        }


def _rows(values: Any, order: Tensor) -> Any:  # noqa: ANN401  (a tensor or a tuple, and the same again)
    if isinstance(values, Items):
        return values.subset(order.tolist())
    return values[order] if isinstance(values, Tensor) else tuple(values[row] for row in order)
