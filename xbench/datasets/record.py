"""The records of a data set: `Split` and `Dataset`."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from xbench.modalities import MODALITIES

Item = TypeVar("Item")


class Lazy(ABC):
    """Samples read on demand, such as the files of a folder: a tensor (n, *shape) on disk.

    A block of samples is a subset that reads its files when it is computed, so a data set may be larger than the
    memory.
    """

    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def subset(self, rows: Sequence[int]) -> Lazy:
        """The samples at these positions, not read yet."""

    @abstractmethod
    def read(self) -> Tensor:
        """All samples, (n, *shape)."""

    @property
    @abstractmethod
    def content(self) -> bytes:
        """Bytes that identify the samples and their order, without reading the samples."""

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self.subset(rows.tolist()).read()


SplitPart = Tensor | Lazy | tuple[str, ...]  # one part of the input, for all samples
PartMasks = Tensor | tuple[tuple[bool, ...], ...]
SplitInputs = SplitPart | Mapping[str, SplitPart]
Masks = PartMasks | Mapping[str, PartMasks]
PartTensors = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True)
class Split:
    """`n` samples with stable ids.

    ids: n distinct, permanent names of the samples, e.g. "test-00017" or "dev-12".
    inputs: a float tensor (n, *shape), a tensor read from disk (`Lazy`), or n texts whose words are separated by single
        spaces; samples of several parts have a dict of these, e.g. {"nodes": (n, N, F), "edges": (n, N, N)} or
        {"image": ..., "text": ...}.
    targets: (n,) int64 class numbers, or (n,) float values for a regression.
    masks: ground truth, True where the evidence for the label lies: a bool tensor (n, ...) broadcastable to `inputs`,
        such as (n, 1, H, W) for images; for texts one bool per word; for several parts a dict of these. None if
        unknown.
    extra: further arguments of the model with one row per sample, such as the mask of existing nodes of a padded graph.
    Raises ValueError if the lengths or shapes disagree.
    """

    ids: tuple[str, ...]
    inputs: SplitInputs
    targets: Tensor
    masks: Masks | None = None
    extra: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.ids)
        if n == 0:
            raise ValueError("a split needs at least one sample, got none")
        if len(set(self.ids)) != n:
            raise ValueError(f"sample ids must be distinct, {_repeated(self.ids)!r} appears twice")
        parts: Mapping[str, SplitPart] = by_part(self.inputs)
        for part in parts.values():
            if len(part) != n or tuple(self.targets.shape) != (n,):
                raise ValueError(
                    f"a split of {n} ids needs {n} inputs and targets of shape ({n},), "
                    f"got {len(part)} inputs and targets {tuple(self.targets.shape)}"
                )
        if any(len(tensor) != n for tensor in self.extra):
            raise ValueError(f"extra needs a row for each of {n} samples, got {[len(t) for t in self.extra]}")
        if self.masks is not None:
            masks: Mapping[str, PartMasks] = by_part(self.masks)
            if set(masks) != set(parts):
                raise ValueError(f"masks must name the parts of the inputs, {list(parts)}, got {list(masks)}")
            for name, part in parts.items():
                _check_masks(self.ids, part, masks[name])

    def __len__(self) -> int:
        return len(self.ids)

    def in_memory(self) -> Split:
        """The same samples in memory; lazy parts are read from disk."""
        return replace(
            self, inputs=each_part(self.inputs, lambda part: part.read() if isinstance(part, Lazy) else part)
        )

    def subset(self, rows: Sequence[int]) -> Split:
        """The samples at these positions, in this order."""
        return Split(
            ids=tuple(self.ids[row] for row in rows),
            inputs=each_part(self.inputs, lambda part: _pick(part, rows)),
            targets=self.targets[torch.as_tensor(list(rows), dtype=torch.int64)],
            masks=None if self.masks is None else each_part(self.masks, lambda mask: _pick(mask, rows)),
            extra=tuple(_pick(tensor, rows) for tensor in self.extra),
        )


@dataclass(frozen=True)
class Dataset:
    """A data set: the samples to explain, the training samples, and facts about them.

    name: the name in rows, tables and reports; a stand-in says so ("sst2-standin").
    modality: one of `xbench.modalities`; it decides how the report draws samples and which kinds of features exist.
    classes: the names of the classes, in the order of their numbers; empty for a regression.
    test: the samples to explain. Their order is fixed and mixes the classes, so that the first k samples are
        representative for any k.
    train: reads the training samples when they are needed.
    fingerprint: sha256 (64 hex digits) of the contents of train and test, independent of paths.
    origin: one sentence on the source of the data.
    standin: whether the data replace the real data set.
    baseline: (1, *shape) the natural neutral value of tensor inputs, e.g. a black image, or a dict of these by part.
        Texts have no baseline here: the model's encoder provides a neutral token.
    features: (1, *shape) int64 feature ids (patches), -1 outside any feature (padding); a dict by part; or a function
        of a split, for features that differ between samples (superpixels).
    value_range: the lowest and highest possible value of an input.
    columns: names of the elements of a sample, for tabular data.
    rate: samples per second of audio, for models that compute spectra.
    known: builds the function that generated the labels, if it is known: `model=known` explains it.
    notes: remarks for a reader of the numbers, such as imputed values or skipped files; no full stop at the end.
    Raises ValueError if a field disagrees with the others.
    """

    name: str
    modality: str
    classes: tuple[str, ...]
    test: Split
    train: Callable[[], Split]
    fingerprint: str
    origin: str
    standin: bool = False
    baseline: PartTensors | None = None
    features: PartTensors | Callable[[Split], PartTensors] | None = None
    value_range: tuple[float, float] | None = None
    columns: tuple[str, ...] | None = None
    rate: int | None = None
    known: Callable[[], nn.Module] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _is_text(self.name):
            raise ValueError(f"name: {self.name!a} is no text in UTF-8; give another with dataset.name")
        if self.modality not in MODALITIES:
            raise ValueError(f"modality must be one of {', '.join(MODALITIES)}, got {self.modality!r}")
        if len(self.fingerprint) != 64:
            raise ValueError(f"fingerprint must be a sha256 in 64 hex digits, got {self.fingerprint!r}")
        parts: Mapping[str, SplitPart] = by_part(self.test.inputs)
        texts = any(isinstance(part, tuple) for part in parts.values())
        holds = MODALITIES[self.modality].holds
        if holds != "both" and texts != (holds == "texts"):
            got = type(next(iter(parts.values()))).__name__
            raise ValueError(f"a data set of modality {self.modality!r} got {got} inputs")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range must go from low to high, got {self.value_range}")
        self._check_targets()
        self._check_one_row("baseline", self.baseline)
        if not callable(self.features):
            self._check_one_row("features", self.features)
        if self.columns is not None and not _named(self.columns, self.test.inputs):
            raise ValueError(f"columns must name each of the samples' elements, got {len(self.columns)} names")

    def _check_targets(self) -> None:
        targets = self.test.targets
        if targets.is_floating_point():
            return
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= len(self.classes):
            raise ValueError(f"targets must lie in 0..{len(self.classes) - 1}, got {low}..{high}")

    def _check_one_row(self, name: str, given: PartTensors | None) -> None:
        inputs: Mapping[str, SplitPart] = by_part(self.test.inputs)
        for part, tensor in by_part(given).items() if given is not None else ():
            if part not in inputs:
                raise ValueError(f"{name}: {part or 'a tensor'} is no part of the samples: {list(inputs)}")
            of = inputs[part]
            if isinstance(of, tuple):
                raise ValueError(f"{name} belongs to tensor inputs; for texts the model's encoder gives it")
            expected = (1, *of.shape[1:])
            if tuple(tensor.shape) != expected:
                raise ValueError(f"{name} must have shape {expected}, got {tuple(tensor.shape)}")


def _is_text(name: str) -> bool:
    """Whether the name can be encoded; a file name whose bytes are not UTF-8 cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def by_part(given: Item | Mapping[str, Item]) -> Mapping[str, Item]:
    """The parts by name; a single part has the name ""."""
    return given if isinstance(given, Mapping) else {"": given}


def tensors(inputs: SplitInputs) -> dict[str, Tensor]:
    """The numeric parts in memory; lazy parts are read from disk."""
    parts: Mapping[str, SplitPart] = by_part(inputs)
    return {
        name: part.read() if isinstance(part, Lazy) else part
        for name, part in parts.items()
        if not isinstance(part, tuple)
    }


def each_part(given: Item | Mapping[str, Item], change: Callable[[Item], Item]) -> Item | Mapping[str, Item]:
    """Apply `change` to every part and keep the structure."""
    return {name: change(part) for name, part in given.items()} if isinstance(given, Mapping) else change(given)


def mixed_order(labels: Sequence[int], keys: Sequence[Hashable]) -> list[int]:
    """A fixed order of the samples in which every prefix has nearly the class shares of the whole.

    Within a class samples are ordered by sha256(key), so the order depends on the contents only; the classes are then
    interleaved evenly. Equal keys keep their given order.
    """
    hashes = [hashlib.sha256(repr(key).encode()).hexdigest() for key in keys]
    of_class: dict[int, list[int]] = {}
    for row in sorted(range(len(hashes)), key=lambda row: hashes[row]):
        of_class.setdefault(labels[row], []).append(row)
    place = {
        row: ((rank + 0.5) / len(rows), hashes[row]) for rows in of_class.values() for rank, row in enumerate(rows)
    }
    return sorted(place, key=lambda row: place[row])


def _check_masks(ids: tuple[str, ...], inputs: SplitPart, masks: PartMasks) -> None:
    if not isinstance(inputs, tuple):
        if not isinstance(masks, Tensor) or masks.dtype != torch.bool or not _fits(masks.shape, inputs.shape):
            raise ValueError(
                f"masks of tensor inputs must be a bool tensor of shape {tuple(inputs.shape)}, or of size 1 in some "
                "of its dimensions"
            )
        return
    if len(masks) != len(inputs):
        raise ValueError(f"{len(inputs)} texts need {len(inputs)} masks, got {len(masks)}")
    for sample, text, mask in zip(ids, inputs, masks, strict=True):
        if len(text.split()) != len(mask):
            words = len(text.split())
            raise ValueError(f"mask of sample {sample!r} has {len(mask)} entries for {words} words")


def _named(columns: tuple[str, ...], inputs: SplitInputs) -> bool:
    return isinstance(inputs, Tensor) and tuple(inputs.shape[1:]) == (len(columns),)


def _fits(mask: Sequence[int], of: Sequence[int]) -> bool:
    """Whether a mask has one row per sample and in every other dimension the same size, or 1."""
    same = [m == size or (m == 1 and place > 0) for place, (m, size) in enumerate(zip(mask, of, strict=False))]
    return len(mask) == len(of) and all(same)


def _pick(values: Any, rows: Sequence[int]) -> Any:  # noqa: ANN401  (a tensor or a tuple, and the same again)
    """The values at these positions, as a tensor or a tuple like `values`."""
    if isinstance(values, Lazy):
        return values.subset(rows)
    if isinstance(values, Tensor):
        return values[torch.as_tensor(list(rows), dtype=torch.int64)]
    return tuple(values[row] for row in rows)


def _repeated(names: tuple[str, ...]) -> str:
    return Counter(names).most_common(1)[0][0]
