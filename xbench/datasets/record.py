"""What a data set is to the rest of xbench: `Split` and `Dataset`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")

MODALITIES = ("image", "text")


@dataclass(frozen=True)
class Split:
    """`n` samples with stable ids.

    ids: n distinct strings that name a sample for ever, e.g. "test-00017" or "dev-12".
    inputs: a float tensor (n, *shape), or n texts whose words are separated by single spaces.
    targets: (n,) int64 class numbers, or (n,) float values for a regression.
    masks: ground truth, True where the evidence for the label is: a bool tensor shaped like `inputs`,
        or for texts one bool per word; None where nobody knows.
    Raises ValueError when the lengths or shapes disagree.
    """

    ids: tuple[str, ...]
    inputs: Tensor | tuple[str, ...]
    targets: Tensor
    masks: Tensor | tuple[tuple[bool, ...], ...] | None = None

    def __post_init__(self) -> None:
        n = len(self.ids)
        if n == 0:
            raise ValueError("a split needs at least one sample, got none")
        if len(set(self.ids)) != n:
            raise ValueError(f"sample ids must be distinct, {_repeated(self.ids)!r} appears twice")
        if len(self.inputs) != n or tuple(self.targets.shape) != (n,):
            raise ValueError(
                f"a split of {n} ids needs {n} inputs and targets of shape ({n},), "
                f"got {len(self.inputs)} inputs and targets {tuple(self.targets.shape)}"
            )
        if self.masks is not None:
            _check_masks(self.ids, self.inputs, self.masks)

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, rows: Sequence[int]) -> Split:
        """The samples at these positions, in this order."""
        return Split(
            ids=tuple(self.ids[row] for row in rows),
            inputs=_pick(self.inputs, rows),
            targets=self.targets[torch.as_tensor(list(rows), dtype=torch.int64)],
            masks=None if self.masks is None else _pick(self.masks, rows),
        )


@dataclass(frozen=True)
class Dataset:
    """Everything that xbench knows about a data set.

    name: what rows, tables and reports say; a stand-in says so ("sst2-standin").
    modality: "image" or "text".
    classes: the name of each class, in the order of the class numbers.
    test: the samples that are explained. Their order is fixed and mixes the classes, so that the
        first k of them are a fair sample for any k.
    train: reads the training samples when they are needed.
    fingerprint: sha256 (64 hex digits) of the contents of train and test, independent of paths.
    origin: one sentence on where the data came from.
    standin: True when the data only stand in for the real ones.
    baseline: (1, *shape) the natural "nothing here" of tensor inputs, e.g. a black image. Texts have
        none: the model's encoder knows its neutral token.
    features: (1, *shape) int64, which inputs form one feature (patches); -1 = not a feature.
    value_range: the lowest and highest value that an input can take.
    Raises ValueError when a field disagrees with the others.
    """

    name: str
    modality: str
    classes: tuple[str, ...]
    test: Split
    train: Callable[[], Split]
    fingerprint: str
    origin: str
    standin: bool = False
    baseline: Tensor | None = None
    features: Tensor | None = None
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(f"modality must be one of {MODALITIES}, got {self.modality!r}")
        if len(self.fingerprint) != 64:
            raise ValueError(f"fingerprint must be a sha256 in 64 hex digits, got {self.fingerprint!r}")
        if isinstance(self.test.inputs, Tensor) != (self.modality != "text"):
            got = type(self.test.inputs).__name__
            raise ValueError(f"a data set of modality {self.modality!r} got {got} inputs")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range must go from low to high, got {self.value_range}")
        self._check_targets()
        for name, tensor in (("baseline", self.baseline), ("features", self.features)):
            self._check_one_row(name, tensor)

    def _check_targets(self) -> None:
        targets = self.test.targets
        if targets.is_floating_point():
            return
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= len(self.classes):
            raise ValueError(f"targets must lie in 0..{len(self.classes) - 1}, got {low}..{high}")

    def _check_one_row(self, name: str, tensor: Tensor | None) -> None:
        if tensor is None:
            return
        if not isinstance(self.test.inputs, Tensor):
            raise ValueError(f"{name} belongs to tensor inputs; for texts the model's encoder gives it")
        expected = (1, *self.test.inputs.shape[1:])
        if tuple(tensor.shape) != expected:
            raise ValueError(f"{name} must have shape {expected}, got {tuple(tensor.shape)}")


def mixed_order(labels: Sequence[int], keys: Sequence[Hashable]) -> list[int]:
    """A fixed order of the samples in which every prefix has nearly the class shares of the whole.

    Within a class the order is that of sha256(key), so it depends on contents and on nothing else;
    the classes are then interleaved evenly. Equal keys keep their given order.
    """
    hashes = [hashlib.sha256(repr(key).encode()).hexdigest() for key in keys]
    of_class: dict[int, list[int]] = {}
    for row in sorted(range(len(hashes)), key=lambda row: hashes[row]):
        of_class.setdefault(labels[row], []).append(row)
    place = {
        row: ((rank + 0.5) / len(rows), hashes[row]) for rows in of_class.values() for rank, row in enumerate(rows)
    }
    return sorted(place, key=lambda row: place[row])


def _check_masks(
    ids: tuple[str, ...], inputs: Tensor | tuple[str, ...], masks: Tensor | tuple[tuple[bool, ...], ...]
) -> None:
    if isinstance(inputs, Tensor):
        if not isinstance(masks, Tensor) or masks.shape != inputs.shape or masks.dtype != torch.bool:
            raise ValueError(f"masks of tensor inputs must be a bool tensor of shape {tuple(inputs.shape)}")
        return
    if len(masks) != len(inputs):
        raise ValueError(f"{len(inputs)} texts need {len(inputs)} masks, got {len(masks)}")
    for sample, text, mask in zip(ids, inputs, masks, strict=True):
        if len(text.split()) != len(mask):
            words = len(text.split())
            raise ValueError(f"mask of sample {sample!r} has {len(mask)} entries for {words} words")


def _pick(values: Tensor | tuple[Item, ...], rows: Sequence[int]) -> Tensor | tuple[Item, ...]:
    """The values at these positions, as a tensor or a tuple like `values`."""
    if isinstance(values, Tensor):
        return values[torch.as_tensor(list(rows), dtype=torch.int64)]
    return tuple(values[row] for row in rows)


def _repeated(names: tuple[str, ...]) -> str:
    return Counter(names).most_common(1)[0][0]
