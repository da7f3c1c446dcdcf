"""Where numbers were measured: code, versions and hardware, as JSON."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from xbench.config.devices import cores
from xbench.store.records import digest

_PACKAGES = ("torch", "torchvision", "transformers", "numpy", "pandas", "hydra-core")
# What a repository's own settings could have git run: a monitor, hooks, programs that fetch what is missing.
_HARMLESS = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
_ALONE = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
_HARDWARE = ("cpu", "cores", "threads", "devices", "beside")


def environment(
    *, devices: Sequence[str] = (), threads: int | None = None, beside: int = 0, directory: Path | None = None
) -> dict[str, object]:
    """Everything about this machine and installation that can change a number; no time, no process id.

    The same machine, packages and commit give the same dict, so `Store.save_environment` gives the same id.

    Args:
        devices: names of the accelerators in use, such as "NVIDIA H100 80GB HBM3".
        threads: intra-operation threads in use (None: not known).
        beside: other workers that may have been busy on the same processor while times were taken.
        directory: whose git commit to record as `git` (None: the current one); `xbench_git` is that of this code.
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
    """12 hex digits over processor, cores, threads, devices and neighbours: runtimes compare within one of these."""
    hardware = environment.get("hardware")
    known = hardware if isinstance(hardware, Mapping) else {}
    return digest({name: known.get(name) for name in _HARDWARE}, "hardware")[:12]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(directory: Path) -> dict[str, object] | None:
    """Commit and dirty flag, or None outside a repository (or without git, or before the first commit).

    A repository may be a stranger's, so nothing that its own settings name is run. Its filters, which git would need
    to compare files, cannot be told from harmless ones: where it has any, the flag is None.
    """
    commit = _run(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = None
    if _run(directory, "config", "--local", "--includes", "--get-regexp", r"^filter\.", found=(0, 1)) == "":
        # Untracked files do not count: the results and reports of a first run would make the second one dirty.
        changes = _run(directory, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
    return {"commit": commit, "dirty": bool(changes) if changes is not None else None}


def _run(directory: Path, *arguments: str, found: Sequence[int] = (0,)) -> str | None:
    """What git says; None where its exit code is none of `found`."""
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
    """The processor's model name: /proc/cpuinfo on Linux, else what the platform module knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> int | None:
    """Physical memory in bytes, where the system tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
