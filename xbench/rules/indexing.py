"""Makes indexing visible to torch's function modes, which below torch 2.4 do not see `x[0]`, nor `x[0] = y`."""

from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function

# Under another name, because `override.opened` looks for torch's own names.
from torch.overrides import has_torch_function as overridden

_UNSEEN = torch.__version__ < "2.4"

_lock = Lock()
_blocks = 0


def _getitem(self: Tensor, index: Any) -> object:  # noqa: ANN401 - indices as torch takes them
    if overridden((self,)):
        return handle_torch_function(_getitem, (self,), self, index)
    return torch._C.TensorBase.__getitem__(self, index)


def _setitem(self: Tensor, index: Any, value: Any) -> object:  # noqa: ANN401
    if overridden((self, value)):
        return handle_torch_function(_setitem, (self, value), self, index, value)
    return torch._C.TensorBase.__setitem__(self, index, value)


# Modes know a function by its name.
_getitem.__name__, _setitem.__name__ = "__getitem__", "__setitem__"


class IndexingSeen:
    """A block in which modes see indexing in every form.

    Below torch 2.4 it replaces `Tensor.__getitem__` and `__setitem__` by methods with the same results. Blocks may
    overlap, also in several threads; the end of the last one restores torch's methods.
    """

    def __enter__(self) -> None:
        global _blocks
        if _UNSEEN:
            with _lock:
                if _blocks == 0:
                    Tensor.__getitem__ = _getitem  # type: ignore[method-assign, assignment]
                    Tensor.__setitem__ = _setitem  # type: ignore[method-assign, assignment]
                _blocks += 1

    def __exit__(self, *error: object) -> None:
        global _blocks
        if _UNSEEN:
            with _lock:
                _blocks -= 1
                if _blocks == 0:
                    del Tensor.__getitem__, Tensor.__setitem__  # they are inherited again
