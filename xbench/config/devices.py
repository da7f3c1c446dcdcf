"""The devices of a run: `run.devices`. Imports no torch, because commands are checked before torch is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

_NAME = re.compile(r"(auto|cpu|mps|cuda(?::\d+)?)(?:\*([1-9]\d*))?")
WORKERS = 8  # maximum number of workers per device, or the number of cores if larger
_EXPECTED = "auto, cpu, cuda, cuda:N, mps, one of them times a number of workers such as cpu*2, or a list of those"


def check(given: str | Sequence[str]) -> None:
    """Raise ValueError if `given` does not name devices."""
    names = _listed(given)
    if not names or not all(_NAME.fullmatch(name) for name in names) or (len(names) > 1 and "auto" in names):
        raise ValueError(f"devices must be {_EXPECTED}, got {given if isinstance(given, str) else list(given)!r}")


def resolve(given: str | Iterable[str]) -> list[str]:
    """One name per worker: `auto` is every CUDA device, else the CPU; `cuda` is every CUDA device.

    Raises:
        ValueError: a requested accelerator is absent, or a device has too many workers.
    """
    found: list[str] = []
    most = max(WORKERS, cores())
    for text in _listed(given):
        match = _NAME.fullmatch(text)
        assert match is not None
        times = int(match[2] or 1)
        if times <= most:
            found += _present(match[1]) * times
        if times > most or max(map(found.count, found)) > most:
            raise ValueError(
                f"run.devices={text}: this machine has {cores()} processors, and at most {most} workers share a device"
            )
    return found


def cores() -> int:
    """Processor cores that this process may use (a container or batch system may allow fewer than exist)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _listed(given: str | Iterable[str]) -> list[str]:
    return [given] if isinstance(given, str) else [str(name) for name in given]


def _present(name: str) -> list[str]:
    if name == "cpu":
        return ["cpu"]
    import torch  # imported only if an accelerator may be needed

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    every = [f"cuda:{i}" for i in range(count)]
    if name == "auto":
        return every or ["cpu"]
    if name == "mps":
        there = ["mps"] if torch.backends.mps.is_available() else []
    else:
        there = every if name == "cuda" else [name] if name in every else []
    if not there:
        raise ValueError(f"run.devices={name}: this machine has {count} CUDA devices and no such one")
    return there
