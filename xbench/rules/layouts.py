"""Locates inputs and references in the results of each operation (see `pairs`)."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from xbench.rules import operations
from xbench.rules.override import Call
from xbench.rules.pairs import PairAxis, Pairs, broadcast, moved, reduced

_ELLIPSIS = "0123456789"  # names for the dimensions that "..." stands for


def follow(call: Call, explained: Sequence[Tensor], pairs: Pairs, results: Sequence[Tensor]) -> list[int | None]:
    """The number of blocks of each result of a call, from those of its explained tensors; None: unknown."""
    explained = [tensor for tensor in explained if tensor.numel()] or explained  # empty tensors have no sides
    name, first = call.name, explained[0]
    places = [pairs.place(tensor) for tensor in explained]
    if name in operations.SAME_ORDER:
        return [pairs.outer(first)] * len(results)
    if name in operations.MOVES:
        return _moved(call, explained, places, results)
    return [_one(call, explained, places, result) for result in results]


def _one(call: Call, explained: Sequence[Tensor], places: list[PairAxis | None], result: Tensor) -> int | None:
    name, first, place = call.name, explained[0], places[0]
    if place is None:
        return None
    if name in operations.MATRIX_PRODUCTS:
        return matrix_product(call.args, explained, places, result)
    if name == "bilinear":
        return broadcast(places, result.shape) if place.dim != -1 else None
    if name == "einsum":
        return einsum(call, explained, places, result)
    if name in operations.PER_EXAMPLE:
        weight = call.args[1] if name in operations.CONVOLUTIONS and len(call.args) > 1 else first
        in_front = place.dim == -first.ndim == -weight.ndim
        return place.blocks if in_front and result.shape[0] == first.shape[0] else None
    if name in operations.REDUCTIONS:
        dims = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else None)
        return reduced(place, first.ndim, dims, result.shape)
    if name in operations.CUMULATIVE:
        dim = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else 0)
        return place.outer(first.shape) if dim % first.ndim != first.ndim + place.dim else None
    if name in operations.FOURIER:
        dims = fourier_dims(call, first.ndim)
        return place.outer(result.shape) if first.ndim + place.dim not in dims else None
    if name in operations.BROADCAST:
        return broadcast(places, result.shape)
    # Unknown (argmax, or an operation passed with a warning): rows in the first dimension most likely stay
    # there.
    in_front = place.dim == -first.ndim and result.shape[:1] == first.shape[:1]
    return place.blocks if in_front else None


def _moved(
    call: Call, explained: Sequence[Tensor], places: list[PairAxis | None], results: Sequence[Tensor]
) -> list[int | None]:
    place = places[0]
    if call.name == "cat" and place is not None and all(other == place for other in places):
        dim = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else 0)
        if dim % explained[0].ndim != explained[0].ndim + place.dim:
            return [place.outer(results[0].shape)]
    return moved(call, list(zip(explained, places, strict=True))) or [None] * len(results)


def fourier_dims(call: Call, ndim: int) -> set[int]:
    """The dimensions transformed by torch.fft.fft, fft2, fftn, ..."""
    default = {"2": (-2, -1), "n": range(ndim)}.get(call.name[-1], (-1,))
    given = call.kwargs.get("dim", call.args[2] if len(call.args) > 2 else None)
    dims = default if given is None else [given] if isinstance(given, int) else given
    return {dim % ndim for dim in dims}


def matrix_product(
    operands: Sequence[object], explained: Sequence[Tensor], places: Sequence[PairAxis | None], result: Tensor
) -> int | None:
    """Blocks of a matrix product: rows of the left and columns of the right stay; the sum is not over the batch."""
    kept = []
    for tensor, place in zip(explained, places, strict=True):
        left = tensor is operands[0]
        summed = -1 if left or tensor.ndim == 1 else -2
        other = operands[1 if left else 0]
        if place is None or place.dim == summed or (len(explained) > 1 and place.dim > -3):
            return None
        # A vector as the other operand removes the summed dimension, and earlier dimensions move back by one.
        gone = isinstance(other, Tensor) and other.ndim == 1 and place.dim < summed
        kept.append(replace(place, dim=place.dim + 1) if gone else place)
    return broadcast(kept, result.shape)


def einsum(call: Call, explained: Sequence[Tensor], places: Sequence[PairAxis | None], result: Tensor) -> int | None:
    """Blocks of an einsum; the batch must have the same letter in all explained operands and in the result."""
    equation, *operands = call.args
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = list(operands[0])
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    if not arrow:
        return None
    letters, most = set(), 0
    place_of = {id(tensor): place for tensor, place in zip(explained, places, strict=True)}
    for term, operand in zip(inputs.split(","), operands, strict=True):
        ellipsis = operand.ndim - len(term.replace("...", "")) if "..." in term else 0
        most = max(most, ellipsis)
        place = place_of.get(id(operand))
        if place is not None:
            letters.add(_spelled(term, ellipsis)[place.dim])
    spelled = _spelled(output, most)
    if len(letters) != 1 or not letters.issubset(spelled):
        return None
    known = next(place for place in places if place is not None)
    return replace(known, dim=spelled.index(letters.pop()) - len(spelled)).outer(result.shape)


def _spelled(term: str, ellipsis: int) -> str:
    return term.replace("...", _ELLIPSIS[len(_ELLIPSIS) - ellipsis :])
