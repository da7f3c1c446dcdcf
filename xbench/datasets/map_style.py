"""Samples of the user's map-style `torch.utils.data.Dataset`, read when their block is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from xbench.datasets.record import Lazy


class Items(Lazy):
    """Samples of a map-style data set; each is checked against its first reading."""

    def __init__(
        self, source: TorchDataset[Any], rows: Sequence[int], digests: Sequence[bytes], of: Sequence[int]
    ) -> None:
        self._source, self._rows, self._digests = source, list(rows), list(digests)
        self.shape = (len(self._rows), *of)

    @property
    def content(self) -> bytes:
        """The digests of the samples, in order."""
        return b"".join(self._digests)

    def subset(self, rows: Sequence[int]) -> Items:
        some = [self._rows[row] for row in rows]
        return Items(self._source, some, [self._digests[row] for row in rows], self.shape[1:])

    def read(self) -> Tensor:
        read = []
        for row, digest in zip(self._rows, self._digests, strict=True):
            sample = self._source[row][0]
            if _digest(sample) != digest:
                raise ValueError(
                    f"the data set gives other values for sample {row} than before: its transforms must not be random"
                )
            read.append(sample.detach().float())
        return torch.stack(read) if read else torch.zeros(self.shape)


@dataclass(frozen=True)
class Surveyed:
    """Result of one pass over a data set.

    samples: tensors to read later, or the texts. digests: sha256 of each. low, high: range of the tensors' values.
    """

    samples: Items | tuple[str, ...]
    labels: Tensor
    digests: tuple[bytes, ...]
    low: float
    high: float


def survey(source: TorchDataset[Any], name: str) -> Surveyed:
    """Read every item (sample, target) once, one at a time.

    Raises:
        ValueError: an item is not (sample, target), samples differ in shape, a value is not finite, or an item differs
            when read twice; the message names the item.
    """
    texts: list[str] = []
    labels, digests, shapes = [], [], set()
    low, high = float("inf"), float("-inf")
    for row in range(len(source)):  # type: ignore[arg-type]  # a map-style data set has a length
        sample, label = _pair(source[row], row, name)
        digests.append(_digest(sample))
        labels.append(torch.as_tensor(label))
        if isinstance(sample, str):
            texts.append(sample)
            continue
        if not bool(torch.isfinite(sample).all()):
            raise ValueError(f"{name}: sample {row} has a value that is no number")
        shapes.add(tuple(sample.shape))
        if len(shapes) > 1:
            raise ValueError(f"{name}: samples must have one shape; sample {row} makes them {sorted(shapes)}")
        low, high = min(low, float(sample.min())), max(high, float(sample.max()))
    if texts and shapes:
        raise ValueError(f"{name}: samples must be all tensors or all texts; {len(texts)} are texts")
    if digests and _digest(_pair(source[0], 0, name)[0]) != digests[0]:
        raise ValueError(f"{name}: item 0 read twice gives two samples; its transforms must not be random")
    shape = shapes.pop() if shapes else ()
    items = tuple(texts) if texts else Items(source, range(len(digests)), digests, shape)
    return Surveyed(items, torch.stack(labels) if labels else torch.zeros(0), tuple(digests), low, high)


def _pair(item: Any, row: int, name: str) -> tuple[Tensor | str, Any]:  # noqa: ANN401  (a data set yields anything)
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise ValueError(f"{name}: item {row} must be (sample, target), got {type(item).__name__} {item!r:.60}")
    sample, label = item
    if (isinstance(sample, Tensor) and sample.is_floating_point()) or isinstance(sample, str):
        return sample, label
    got = f"{sample.dtype} tensor" if isinstance(sample, Tensor) else type(sample).__name__
    raise ValueError(
        f"{name}: sample {row} must be a float tensor or a text, got {got}; of images torchvision's "
        "transforms.ToTensor() makes one"
    )


def _digest(sample: Tensor | str) -> bytes:
    content = sample.encode() if isinstance(sample, str) else sample.detach().cpu().contiguous().numpy().tobytes()
    return hashlib.sha256(content).digest()
