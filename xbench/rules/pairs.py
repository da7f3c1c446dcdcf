"""Locates the inputs and their references in a tensor of the model.

A pair rule runs (k + 1) m rows: k m explained inputs, then m references of k inputs each; k is 1 if every input has
its own reference. Inside the model the batch does not stay the first dimension: it is moved (transpose), merged with
other dimensions (windows, heads) and split again. In row-major order it is always a pattern of `outer` blocks of k + 1
parts each, so one number describes it, and `reshape` keeps that number:

    tensor.reshape(outer, k + 1, -1)[:, :k]    values of the inputs
    tensor.reshape(outer, k + 1, -1)[:, k:]    values of their references, in the same order
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from xbench.rules.hooked import Origin, before, origin
from xbench.rules.override import Call, tensors_in

# Added to row numbers, to distinguish them from constants that an operation may fill in, such as padding; exact
# in binary.
_FRACTION = 633 / 1024


@dataclass(frozen=True)
class PairAxis:
    """Dimension `dim` (counted from the back: -1 is the last) has size `blocks` * (`inputs` + 1) * (references).

    `inputs` is the number of inputs per reference.
    """

    dim: int
    blocks: int
    inputs: int = 1

    def sides(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Views of inputs (..., blocks, k, rows, ...) and references (..., blocks, 1, rows, ...)."""
        inputs, references = self._split(tensor).split((self.inputs, 1), self._part)
        return inputs, references

    def scale(self, tensor: Tensor, factor: Tensor) -> Tensor:
        """The inputs of a tensor times a factor with the shape of their side; 0 at the references."""
        inputs, _ = self.sides(tensor)
        shape = list(torch.broadcast_shapes(inputs.shape, factor.shape))
        shape[self._part] += 1
        scaled = torch.empty(shape, dtype=torch.result_type(inputs, factor), device=tensor.device)
        torch.mul(inputs, factor, out=scaled.narrow(self._part, 0, self.inputs))
        scaled.narrow(self._part, self.inputs, 1).zero_()
        return self._merged(scaled)

    def filled(self, side: Tensor) -> Tensor:
        """A tensor with these inputs; the references copy their first input and have no meaning."""
        return self._merged(torch.cat((side, side.narrow(self._part, 0, 1)), self._part))

    def only(self, side: Tensor) -> Tensor:
        """A tensor with these inputs, and 0 at the references."""
        return self._merged(torch.cat((side, torch.zeros_like(side.narrow(self._part, 0, 1))), self._part))

    def outer(self, shape: Sequence[int]) -> int:
        """The number of blocks, in row-major order, of a tensor of this shape."""
        return prod(shape[: len(shape) + self.dim]) * self.blocks

    @property
    def _part(self) -> int:
        # Counted from the back, later dimensions keep their numbers when `dim` becomes (blocks, k + 1, rows).
        return self.dim - 1

    def _split(self, tensor: Tensor) -> Tensor:
        parts: Tensor = tensor.unflatten(self.dim, (self.blocks, self.inputs + 1, -1))
        return parts

    def _merged(self, pairs: Tensor) -> Tensor:
        return pairs.flatten(self.dim - 2, self.dim)


def locate(shape: Sequence[int], outer: int, inputs: int) -> PairAxis | None:
    """The dimension that holds inputs and references; None if there is no such single dimension."""
    before = 1
    for dim, size in enumerate(shape):
        if before * size > outer:
            blocks, rest = divmod(outer, before)
            fits = rest == 0 and size % ((inputs + 1) * blocks) == 0
            return PairAxis(dim - len(shape), blocks, inputs) if fits else None
        before *= size
    return None


class Pairs:
    """Remembers the blocks of each tensor as long as it lives, or the operation after which they were lost.

    An unseen tensor is an explained input, with its (k + 1) m rows in the first dimension.
    """

    def __init__(self, inputs: int) -> None:
        self._inputs = inputs
        self._outer = WeakTensorKeyDictionary()
        self._made: dict[Origin, int | str] = {}  # the same by origin, also after the tensor is deleted

    def __contains__(self, tensor: object) -> bool:
        return tensor in self._outer

    def outer(self, tensor: Tensor) -> int | None:
        outer = self._outer.get(tensor, 1)
        return outer if isinstance(outer, int) else None

    def lost(self, tensor: Tensor) -> str | None:
        """The operation after which inputs and references could no longer be located."""
        outer = self._outer.get(tensor, 1)
        return outer if isinstance(outer, str) else None

    def place(self, tensor: Tensor) -> PairAxis | None:
        outer = self.outer(tensor)
        return None if outer is None else locate(tensor.shape, outer, self._inputs)

    def remember(self, tensor: Tensor, outer: int | str) -> None:
        self._outer[tensor] = outer
        made = origin(tensor)
        if made is not None:
            self._made[made] = outer

    def copy(self, source: Tensor, target: Tensor) -> None:
        self.remember(target, self._outer[source])

    def passed_on(self, tensor: Tensor) -> bool:
        """Whether a tensor is a known one, passed on by a module with backward hooks; if so, remember it."""
        made = before(tensor)
        outer = 1 if made is None else self._made.get(made)
        if outer is not None:
            self.remember(tensor, outer)
        return outer is not None


def broadcast(places: Sequence[PairAxis | None], shape: Sequence[int]) -> int | None:
    """Blocks of a result of this shape whose operands have these places; None if they disagree."""
    first = places[0]
    if first is None or any(place != first for place in places) or -first.dim > len(shape):
        return None
    return first.outer(shape)


def reduced(place: PairAxis | None, ndim: int, dims: int | Sequence[int] | None, shape: Sequence[int]) -> int | None:
    """Blocks of a sum over `dims` of a tensor with `ndim` dimensions, whose result has this shape."""
    if place is None or dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return None
    summed = {dim % ndim for dim in ([dims] if isinstance(dims, int) else dims)}
    dim = ndim + place.dim
    if dim in summed:
        return None
    if len(shape) == ndim:
        return place.outer(shape)
    return replace(place, dim=place.dim + sum(other > dim for other in summed)).outer(shape)


def moved(call: Call, explained: Sequence[tuple[Tensor, PairAxis | None]]) -> list[int | None]:
    """Blocks of each result of an operation that only moves values.

    The operation is run on row numbers instead of values, to trace them. The numbers are expanded from one vector, so
    this costs almost nothing for operations that return views.
    """
    places = {id(tensor): place for tensor, place in explained}
    known = [(tensor.size(place.dim), place) for tensor, place in explained if place is not None]
    if len(known) < len(explained) or len({size for size, _ in known}) > 1:
        return []
    size, first = known[0]
    parts = first.inputs + 1
    references = size // parts  # in all blocks

    def numbered(tensor: Tensor) -> Tensor:
        place = places.get(id(tensor))
        if place is not None:
            # References are numbered; the inputs of a reference have its number plus different multiples of the count.
            line = torch.arange(parts * references, device=tensor.device, dtype=torch.float64) + _FRACTION
            line = line.view(parts, place.blocks, -1).roll(-1, 0).transpose(0, 1)
            numbers = line.reshape(-1, *[1] * (-place.dim - 1)).expand(tensor.shape)
        elif tensor.is_floating_point():
            numbers = torch.zeros((), device=tensor.device, dtype=torch.float64).expand(tensor.shape)
        else:
            return tensor
        return numbers

    renumbered = call.with_arguments(numbered)
    if call.in_place:
        renumbered = replace(renumbered, args=(renumbered.args[0].clone(), *renumbered.args[1:]))
    with torch.no_grad():
        results = renumbered.run()
    if call.in_place:
        results = renumbered.args[0]
    candidates = {place.blocks for _, place in known} | {1}
    return [_found(result, references, first.inputs, candidates) for result in tensors_in(results)]


def _found(numbers: Tensor, count: int, of_each: int, candidates: set[int]) -> int | None:
    # Dimensions of stride 0 repeat the same numbers; checking one of them makes views nearly free.
    repeated = [stride == 0 for stride in numbers.stride()]
    small = numbers[tuple(slice(0, 1) if skip else slice(None) for skip in repeated)]
    for dim, size in enumerate(small.shape):
        for blocks in candidates:
            if size < 2 or size % ((of_each + 1) * blocks):
                continue
            place = PairAxis(dim - numbers.ndim, blocks, of_each)
            inputs, references = place.sides(small)
            constant = (inputs == references) & (inputs.frac() != _FRACTION)
            opposite = (references < count) & (inputs > references) & ((inputs - references) % count == 0)
            if bool((constant | opposite).all()):
                return place.outer(numbers.shape)
    return None
