"""Base of generated data sets: splits all samples into those to explain and those to train on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from xbench.datasets.found import fingerprint
from xbench.datasets.record import Dataset, Lazy, Masks, PartMasks, Split, SplitInputs, SplitPart, by_part, each_part


@dataclass(frozen=True)
class Generated:
    """All samples; the samples to explain come first.

    n: number of samples to explain; the others train the model, unless `learned` provides training samples.
    further: additional fields of `Dataset`, such as baseline and features.
    """

    name: str
    modality: str
    classes: tuple[str, ...]
    inputs: SplitInputs
    labels: Tensor
    n: int
    origin: str
    masks: Masks | None = None
    extra: tuple[Tensor, ...] = ()
    learned: Callable[[], Split] | None = None
    further: dict[str, Any] = field(default_factory=dict)

    def dataset(self) -> Dataset:
        """Build the `Dataset`. Raises ValueError if there is nothing to explain or to train on."""
        if not 0 < self.n < len(self.labels) + (self.learned is not None):
            raise ValueError(f"n and train: expected at least one sample each, got {self.n} of {len(self.labels)}")
        parts: Mapping[str, SplitPart] = by_part(self.inputs)
        content = [_bytes(part) for part in parts.values()]
        masks: Mapping[str, PartMasks] = {} if self.masks is None else by_part(self.masks)
        content += [_mask_bytes(mask) for mask in masks.values()]
        return Dataset(
            name=self.name,
            modality=self.modality,
            classes=self.classes,
            test=self._split("test", slice(0, self.n)),
            train=self.learned or (lambda: self._split("train", slice(self.n, None))),
            fingerprint=fingerprint(repr((self.name, self.n)).encode(), self.labels.numpy().tobytes(), *content),
            origin=self.origin,
            **self.further,
        )

    def _split(self, part: str, rows: slice) -> Split:
        labels = self.labels[rows]
        return Split(
            ids=tuple(f"{part}-{row:05d}" for row in range(len(labels))),
            inputs=each_part(self.inputs, lambda values: _rows(values, rows)),
            targets=labels,
            masks=None if self.masks is None else each_part(self.masks, lambda values: _rows(values, rows)),
            extra=tuple(tensor[rows] for tensor in self.extra),
        )


def _rows(values: Any, rows: slice) -> Any:  # noqa: ANN401  (a tensor or a tuple, and the same again)
    return values.subset(range(len(values))[rows]) if isinstance(values, Lazy) else values[rows]


def _bytes(part: SplitPart) -> bytes:
    if isinstance(part, Lazy):
        return part.content
    return part.numpy().tobytes() if isinstance(part, Tensor) else "\n".join(part).encode()


def _mask_bytes(mask: PartMasks) -> bytes:
    return mask.numpy().tobytes() if isinstance(mask, Tensor) else repr(mask).encode()
