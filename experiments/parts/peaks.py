"""Peak memory of one call: of the process, as the system sees it, and of its tensors, exactly."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from xbench.engine.memory import LiveBytes


@dataclass(frozen=True)
class Peak:
    """Bytes beyond what there was before the call."""

    resident: int
    tensors: int


def resident_peak(run: Callable[[], object]) -> int:
    """Most resident bytes during a call beyond those before it, looked at every half millisecond."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # what earlier calls freed is no room that this call gets for nothing
    process = psutil.Process()
    before, seen, done = process.memory_info().rss, [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.0005):
            seen[0] = max(seen[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        done.set()
        watcher.join()
    return max(seen[0] - before, 0)


def peak(run: Callable[[], object], warm_ups: int = 2) -> Peak:
    """Both peaks of a call, after calls that allocate what is allocated once."""
    for _ in range(warm_ups):
        run()
    resident = resident_peak(run)
    with LiveBytes() as live:
        run()
    return Peak(resident, live.peak)
