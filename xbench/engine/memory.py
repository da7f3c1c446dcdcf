"""Memory: parses the budget, measures evaluations, and recognises allocation failures."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import sys
import weakref
from collections.abc import Callable
from types import TracebackType

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_UNITS = {"": 1, "b": 1} | {
    prefix + suffix: base**power
    for power, prefix in enumerate("kmgt", start=1)
    for suffix, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
}
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # names of mallopt's
_LARGE, _KEPT = 256 * 2**20, 2**30  # bytes: larger blocks go back to the system at once; so much of the rest is kept
_AUTO_SHARE = 0.5  # share of free memory; other activations, the allocator's reserve and other users need the rest


class OutOfMemory(RuntimeError):
    """A single row does not fit into memory."""


def parse_bytes(memory: int | str | None, device: torch.device) -> int:
    """A budget in bytes from an int, a text such as "2GiB", or None / "auto": half of the free memory on `device`."""
    if memory is None or memory == "auto":
        if device.type == "cuda":
            return int(torch.cuda.mem_get_info(device)[0] * _AUTO_SHARE)
        return int(psutil.virtual_memory().available * _AUTO_SHARE)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(memory).lower())
    if not match or match[2] not in _UNITS or float(match[1]) <= 0:
        raise ValueError(f"memory: expected a positive number of bytes, a text such as '2GiB', or auto, got {memory!r}")
    return int(float(match[1]) * _UNITS[match[2]])


@functools.cache
def keep_freed() -> None:
    """Let the C library (glibc) keep freed memory for later tensors; acts once per process.

    By default glibc returns large blocks to the system at once and allocates new ones page by page, which costs up to
    half of the time of a small model and a tenth of a large one's. Thresholds set in the environment take precedence.
    """
    told = any(name in os.environ for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"))
    option = _c_library("mallopt")
    if option is not None and not told:
        option(_M_MMAP_THRESHOLD, _LARGE)
        option(_M_TRIM_THRESHOLD, _KEPT)


def give_back() -> None:
    """Return freed memory that the C library (glibc) keeps to the system.

    Blocks of samples are allocated between longer-lived objects; without this a process grows with each block.
    """
    trim = _c_library("malloc_trim")
    if trim is not None:
        trim(0)


def _c_library(name: str) -> Callable[..., int] | None:
    """The C library's function of that name; None if it has none."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error means that an allocation failed, on either kind of device."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


class LiveBytes(TorchDispatchMode):
    """Peak bytes of the tensors created inside the block and alive at the same time, on any device.

    Counts the storages that operations return until Python frees them. This is exact, unlike the process's resident
    size, which includes the allocator's reserve. Costs some microseconds per operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alive = 0
        self.peak = 0
        self._known: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch's own guard against compiling this code imports its compiler, which takes a second even if unused.
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        # These calls are not the model's: an active backward rule must not see them.
        with torch._C.DisableTorchFunction():
            for leaf in tree_leaves((args, kwargs)):
                if isinstance(leaf, Tensor):
                    self._follow(leaf, ours=False)  # weights and inputs: their views take no memory
            result = func(*args, **(kwargs or {}))
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    self._follow(leaf, ours=True)
        return result

    def _follow(self, tensor: Tensor, *, ours: bool) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes() if ours else 0
        self._known.add(key)
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.alive -= size


class PeakMemory:
    """Peak bytes allocated inside the block: the allocator's own count on CUDA, `LiveBytes` elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.bytes = 0
        self._start = 0
        self._live: LiveBytes | None = None

    def __enter__(self) -> PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self._start = torch.cuda.memory_allocated(self.device)
        else:
            self._live = LiveBytes()
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is None:
            torch.cuda.synchronize(self.device)
            self.bytes = torch.cuda.max_memory_allocated(self.device) - self._start
        else:
            self._live.__exit__(kind, error, trace)
            self.bytes = self._live.peak
