"""Describes where numbers were measured (code, versions, hardware), as JSON."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from xbench.config.devices import cores
from xbench.store.records import digest

_PACKAGES = ("torch", "torchvision", "transformers", "numpy", "pandas", "hydra-core")
# Settings of a repository that make git run programs: a file monitor, hooks, fetchers of missing objects.
_HARMLESS = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
_ALONE = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
_HARDWARE = ("cpu", "cores", "threads", "devices", "beside")


def environment(
    *, devices: Sequence[str] = (), threads: int | None = None, beside: int = 0, directory: Path | None = None
) -> dict[str, object]:
    """Everything about this machine and installation that can change a number; no timestamp, no process id.

    The same machine, packages and commit give the same dict, so `Store.save_environment` gives the same id.

    Args:
        devices: names of the accelerators in use, such as "NVIDIA H100 80GB HBM3".
        threads: intra-operation threads in use (None: unknown).
        beside: other workers that may have been busy on the same processor while times were taken.
        directory: folder whose git commit is recorded as `git` (None: the current one); `xbench_git` is xbench's own.
    """
    return {
        "git": _git(directory or Path.cwd()),
        "xbench_git": _git(Path(__file__).parent),
        "xbench": _version("xbench"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "hardware": {
            "cpu": _cpu(),
            "cores": cores(),
            "threads": threads,
            "memory": _memory(),
            "devices": list(devices),
            **({"beside": beside} if beside else {}),
        },
    }


def hardware_id(environment: Mapping[str, object]) -> str:
    """12 hex digits over processor, cores, threads, devices and concurrent workers; runtimes compare within one id."""
    hardware = environment.get("hardware")
    known = hardware if isinstance(hardware, Mapping) else {}
    return digest({name: known.get(name) for name in _HARDWARE}, "hardware")[:12]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(directory: Path) -> dict[str, object] | None:
    """Commit and dirty flag; None outside a repository, without git, or before the first commit.

    The repository may be untrusted, so no program that its settings name is run. Comparing files would run its filters,
    and a harmful filter looks like a harmless one: the dirty flag is None if there is any.
    """
    commit = _run(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = None
    if _run(directory, "config", "--local", "--includes", "--get-regexp", r"^filter\.", found=(0, 1)) == "":
        # Untracked files do not count: otherwise the output of a first run would make the second run dirty.
        changes = _run(directory, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
    return {"commit": commit, "dirty": bool(changes) if changes is not None else None}


def _run(directory: Path, *arguments: str, found: Sequence[int] = (0,)) -> str | None:
    """Git's standard output; None if its exit code is not in `found`."""
    command = ["git", "--no-optional-locks", *_HARMLESS, *arguments]
    variables = os.environ | _ALONE
    try:
        done = subprocess.run(
            command, cwd=directory, env=variables, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, UnicodeDecodeError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode in found else None


def _cpu() -> str:
    """The processor's model name: /proc/cpuinfo on Linux, else from the platform module."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> int | None:
    """Physical memory in bytes; None if the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
