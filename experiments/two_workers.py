"""How much faster are two processes than one, each with the same number of threads?

    python experiments/two_workers.py [--workload resnet18] [--workers 2] [--threads 1] [--rounds 3] [--write]

The command explains the workload's samples, eight times over, by Integrated Gradients and scores sensitivity-max with
three draws, on `run.devices=cpu` and on `cpu*2`, in turns and with an empty store each time. Seconds are those of the
whole process, and again without what a command takes that has nothing left to do (imports, and the report): what is
left is what more processes can share, the start of those processes included. Medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from experiments.parts.printing import finish, hardware, number, table
from experiments.parts.whole import options, write_config
from experiments.parts.workloads import WORKLOADS, load
from experiments.whole_job import Run, process

NAME = "two_workers"
TARGET, COPIES, DRAWS = 1.75, 8, 3


def race(workload: str, workers: int, threads: int, rounds: int) -> dict[str, float]:
    """Median seconds of the processes: `one` worker, `many`, and the command with nothing to do (`idle`)."""
    chosen = [o for o in options(load(workload)) if not o.startswith(("algorithm", "metric"))]
    chosen += ["algorithm=ig", f"algorithm.ig.n_steps={load(workload).steps}", "metric=sensitivity_max"]
    chosen += [f"metric.sensitivity_max.n_perturb_samples={DRAWS}"]
    chosen += ["run.timing=shared", "display=none"]
    runs = {"one": Run(), "many": Run(), "idle": Run()}
    with tempfile.TemporaryDirectory() as scratch:
        write_config(Path(scratch) / "conf", workload, COPIES)
        command = [sys.executable, "-m", "xbench", "--config-dir", str(Path(scratch) / "conf"), *chosen]
        for turn in range(rounds):
            for name, devices in (("one", "cpu"), ("many", f"cpu*{workers}")):
                folder = Path(scratch) / f"{name}-{turn}"
                folder.mkdir()
                process([*command, f"run.devices={devices}"], threads, folder, runs[name])
                print(f"{name:5} {runs[name].seconds[-1]:.1f} s", flush=True)
                if name == "one":
                    process([*command, f"run.devices={devices}"], threads, folder, runs["idle"])
    return {name: statistics.median(run.seconds) for name, run in runs.items()}


def show(seconds: dict[str, float], workers: int) -> str:
    """The table, and the target beside what was found."""
    idle = seconds["idle"]
    shared = {name: seconds[name] - idle for name in ("one", "many")}
    lines = [
        ["whole command", number(seconds["one"], 1), number(seconds["many"], 1),
         number(seconds["one"] / seconds["many"])],
        ["without start and report", number(shared["one"], 1), number(shared["many"], 1),
         number(shared["one"] / shared["many"])],
    ]  # fmt: skip
    header = ["seconds", "1 worker", f"{workers} workers", "ratio"]
    return f"{table(header, lines)}\n\nTarget for two workers: {TARGET}."


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Print the table; the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=list(WORKLOADS), default="resnet18")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"write experiments/{NAME}.md")
    given = parser.parse_args(arguments)
    seconds = race(given.workload, given.workers, given.threads, given.rounds)
    about = f"How much faster are two processes than one of the same threads? Workload: {load(given.workload).title}."
    command = f"python experiments/{NAME}.py --rounds {given.rounds}"
    finish(NAME, about, command, hardware(given.threads), show(seconds, given.workers), given.write)
    return seconds


if __name__ == "__main__":
    main()
