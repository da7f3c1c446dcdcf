"""Tracks the batch dimension of each tensor, to detect relevance that would reach another sample.

The rows of the batch are tracked as in `pairs`, with every sample as an input. Tensors that cannot be tracked (from
a loop over samples whose results are stacked) are accepted.
"""

from collections.abc import Sequence

from torch import Tensor

from xbench.rules import operations
from xbench.rules.layouts import follow
from xbench.rules.override import Call
from xbench.rules.pairs import Pairs, broadcast, reduced

# Operations over dimensions: the position of the dimensions among the arguments, and their default.
_DIMS: dict[str, tuple[int, int | None]] = {
    **dict.fromkeys(("sum", "mean", "max", "min", "amax", "amin", "logsumexp", "softmax", "log_softmax"), (1, None)),
    **dict.fromkeys(("linalg_vector_norm", "linalg_norm", "norm"), (2, None)),
    "cumsum": (1, None),
    "sort": (1, -1),
    "topk": (2, -1),
}
# These select or reorder rows of the batch.
_SELECTING = operations.names(
    "getitem select narrow split split_with_sizes chunk tensor_split unbind index_select flip flipud roll"
)
# These may restore the batch from reordered rows.
_REORDERING = operations.names(
    """getitem index_select gather take_along_dim flip flipud roll cat stack hstack vstack dstack setitem index_add
    index_copy index_put scatter scatter_add slice_scatter select_scatter masked_scatter"""
)
# These keep all dimensions, including those they run over.
_KEEPING = frozenset(("softmax", "log_softmax", "cumsum", "sort", "topk"))
_NORMS = frozenset(("layer_norm", "rms_norm", "group_norm", "instance_norm"))
_UNKNOWN = ""  # unknown, without an operation to name


class Rows:
    """Remembers the batch dimension of every tensor; for unseen tensors it is the first."""

    def __init__(self) -> None:
        self._pairs: Pairs | None = None
        self._several = False

    def passed_on(self, tensor: Tensor) -> None:
        """Record a tensor that a module with backward hooks passed on."""
        if self._pairs is not None and tensor not in self._pairs:
            self._pairs.passed_on(tensor)

    def mixed(self, call: Call, explained: Sequence[Tensor], results: Sequence[Tensor]) -> str | None:
        """Record the rows of a call's results; return the operation that mixes different samples in them, if any."""
        explained = [tensor for tensor in explained if tensor.numel()]
        if self._pairs is None and explained and explained[0].ndim:
            self._pairs, self._several = Pairs(len(explained[0]) - 1), len(explained[0]) > 1
        pairs = self._pairs
        if pairs is None or not explained or not self._several:
            return None
        if not call.in_place and all(tensor in pairs for tensor in results):
            return None  # its steps have been tracked
        found, culprit = _followed(call, explained, results, pairs)
        for tensor, outer in zip(results, found, strict=True):
            pairs.remember(tensor, _UNKNOWN if outer is None else outer)
        return culprit


def _followed(
    call: Call, explained: Sequence[Tensor], results: Sequence[Tensor], pairs: Pairs
) -> tuple[Sequence[int | str | None], str | None]:
    name, places = call.name, [pairs.place(tensor) for tensor in explained]
    known = [place for place in places if place is not None]
    astray = next(filter(None, map(pairs.lost, explained)), None)
    nothing = [None] * len(results)
    if not known:
        return nothing if name in _REORDERING else [astray] * len(results), None
    place, ndim = known[0], explained[0].ndim
    if name in operations.BROADCAST or (name in ("max", "min", "logaddexp") and _two(call)):
        outers = [broadcast(known, tensor.shape) for tensor in results]
        return outers, name if None in outers else astray
    if len(known) < len(places):
        return nothing, astray if name in operations.PRODUCTS else None
    if name in _NORMS or name in _DIMS:
        dims = _dims(call, ndim)
        within = ndim + place.dim in dims
        if name in _NORMS or name in _KEEPING:
            return [None if within else place.outer(tensor.shape) for tensor in results], name if within else None
        return [reduced(place, ndim, tuple(dims), tensor.shape) for tensor in results], name if within else None
    if name == "einsum" and not isinstance(call.args[0], str):
        return nothing, None
    outers = follow(call, explained, pairs, results)
    lost = None in outers
    contracts = name in operations.MATRIX_PRODUCTS or (name == "einsum" and "->" in call.args[0])
    otherwise = name if name in _SELECTING else None
    return [otherwise if outer is None else outer for outer in outers], name if lost and contracts else None


def _two(call: Call) -> bool:
    """Whether a maximum compares two tensors."""
    return any(isinstance(value, Tensor) for value in (*call.args[1:], *call.kwargs.values()))


def _dims(call: Call, ndim: int) -> set[int]:
    """The dimensions over which an operation runs, counted from the front."""
    if call.name in ("group_norm", "instance_norm"):
        return set(range(1, ndim))
    if call.name in _NORMS:
        normalized = call.kwargs.get("normalized_shape", call.args[1] if len(call.args) > 1 else ())
        return set(range(ndim - len(normalized), ndim))
    position, default = _DIMS[call.name]
    given = call.kwargs.get("dim", call.args[position] if len(call.args) > position else default)
    if given is None or given == () or given == []:
        return set(range(ndim))
    return {dim % ndim for dim in ([given] if isinstance(given, int) else given)}
