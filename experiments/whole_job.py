"""How long does a whole comparison take, from the start of the process to its table, beside a loop around Captum?

    python experiments/whole_job.py [--workloads cnn transformer] [--rounds 3] [--threads 2] [--steps 50] [--write]

Ten algorithms with infidelity and sensitivity-max of ten draws each, all samples of the workload, the same parameters.
xbench is its command, with an empty store and with its report; Captum is a loop that collects a pandas table, once with
default arguments and once with the chunk arguments that a search found best (the search is not timed). Every
contender is a process of its own and they take turns; seconds are those of the process, imports included, medians over
the rounds. Memory is the most that the process held; beyond what the machine has, allocations fail, and the contender
is out of the race. Needs the `dev` extra.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch

from experiments.parts.contender import ROOT
from experiments.parts.printing import finish, hardware, number, table
from experiments.parts.whole import ALGORITHMS, NO_MEMORY, loop, options, search, sized, write_config
from experiments.parts.workloads import WORKLOADS

NAME = "whole_job"
CONTENDERS = ("xbench", "default", "tuned")
TARGETS = {"default": 4.0, "tuned": 2.0}


@dataclass
class Run:
    """Processes of one contender: seconds, those of the processor, peak bytes, and where memory ended."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    peak: int = 0
    ended: str | None = None


class NoMemory(RuntimeError):
    """A process ended for want of memory."""


def process(command: Sequence[str], threads: int, folder: Path, run: Run | None = None) -> str:
    """What a process prints; raises RuntimeError with its last words when it fails, NoMemory when that is why."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": paths}
    with (folder / "printed").open("w+") as printed:
        start = time.perf_counter()
        child = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=printed, stderr=subprocess.STDOUT, preexec_fn=_limit_memory
        )  # fmt: skip
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read()
    if child.returncode and NO_MEMORY in text:
        raise NoMemory(text)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}: {text[-2000:]}")
    if run is not None:
        run.seconds.append(seconds)
        run.processor.append(usage.ru_utime + usage.ru_stime)
        run.peak = max(run.peak, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    return text


def _limit_memory() -> None:
    """Let allocations fail beyond what the machine has, instead of having the system kill something."""
    most = psutil.virtual_memory().total
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def race(workload: str, contenders: Sequence[str], rounds: int, threads: int, steps: int | None) -> dict[str, Run]:
    """The contenders on one workload, in turns."""
    runs = {name: Run() for name in contenders}
    peer = [sys.executable, "-m", "experiments.whole_job", "--threads", str(threads), "--peer", workload]
    peer += [] if steps is None else ["--steps", str(steps)]
    with tempfile.TemporaryDirectory() as scratch:
        conf = Path(scratch) / "conf"
        write_config(conf, workload)
        chosen = process([*peer, "--search"], threads, Path(scratch)).splitlines()[-1] if "tuned" in runs else "{}"
        for turn in range(rounds):
            for name in runs if turn % 2 == 0 else reversed(runs):
                folder = Path(scratch) / f"{name}-{turn}"
                folder.mkdir()
                command = [*peer, "--chunks", chosen if name == "tuned" else "{}"]
                if name == "xbench":
                    command = [
                        sys.executable,
                        "-m",
                        "xbench",
                        "--config-dir",
                        str(conf),
                        *options(sized(workload, steps)),
                        "display=none",
                    ]
                if runs[name].ended is not None:
                    continue
                try:
                    process(command, threads, folder, runs[name])
                    print(f"{workload:12} {name:8} {runs[name].seconds[-1]:.1f} s", flush=True)
                except NoMemory as error:
                    begun = [line for line in str(error).splitlines() if line in ALGORITHMS]
                    runs[name].ended = f"out of memory in {begun[-1] if begun else 'its first method'}"
                    print(f"{workload:12} {name:8} {runs[name].ended}", flush=True)
    return runs


def show(found: dict[str, dict[str, Run]]) -> str:
    """The table, and the targets."""
    lines = []
    for workload, runs in found.items():
        ours = statistics.median(runs["xbench"].seconds) if "xbench" in runs else math.nan
        for name, run in runs.items():
            if run.ended is not None:
                lines.append([f"{workload}, {name}", run.ended, "", f"> {psutil.virtual_memory().total / 2**20:.0f}"])
                continue
            seconds = statistics.median(run.seconds)
            lines.append(
                [f"{workload}, {name}", number(seconds, 1), number(seconds / ours), number(run.peak / 2**20, 0)]
            )
    goals = ", ".join(f"{factor:.0f} for {name}" for name, factor in TARGETS.items())
    return table(["", "seconds", "x xbench", "peak MiB"], lines) + f"\n\nTargets for `x xbench`: {goals}."


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, Run]]:
    """Print the table; the runs by workload and contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), default=["cnn", "transformer"])
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--steps", type=int, help="steps and draws of the methods; each workload's own unless given")
    parser.add_argument("--write", action="store_true", help=f"write experiments/{NAME}.md")
    parser.add_argument("--peer", metavar="WORKLOAD", help=argparse.SUPPRESS)  # be a contender, not the driver
    parser.add_argument("--chunks", type=json.loads, default={}, help=argparse.SUPPRESS)
    parser.add_argument("--search", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.peer is not None:
        torch.set_num_threads(given.threads)
        w = sized(given.peer, given.steps)
        print(json.dumps(search(w)) if given.search else loop(w, given.chunks).to_string())
        return {}
    contenders = [name for name in CONTENDERS if name in given.contenders]
    found = {
        workload: race(workload, contenders, given.rounds, given.threads, given.steps) for workload in given.workloads
    }
    about = (
        "How long does a whole comparison take, from the start of the process to its table, beside a loop around "
        "Captum? Ten algorithms, infidelity and sensitivity-max of ten draws each."
    )
    command = f"python experiments/{NAME}.py --workloads {' '.join(given.workloads)} --rounds {given.rounds}"
    command += "" if len(contenders) == len(CONTENDERS) else f" --contenders {' '.join(contenders)}"
    command += "" if given.steps is None else f" --steps {given.steps}"
    name = NAME if given.steps is None else f"{NAME}_{given.steps}_steps"
    finish(name, about, command, hardware(given.threads), show(found), given.write)
    return found


if __name__ == "__main__":
    main()
