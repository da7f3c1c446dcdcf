"""How long do the metrics of a comparison take, beside Quantus?

    python experiments/vs_quantus.py [--peer-python PATH] [--rounds 3] [--threads 2] [--write]

Ten algorithms on the small CNN (32 images 1x28x28). Quantus gets the maps and, where it explains again, the methods of
Captum; its seconds are those of the calls of its metrics alone. Those of xbench are what the metric adds to its
command, `metric=[NAME]` less `metric=[]`, with an empty store each time: medians over the rounds. Compared are metrics
that ask the same number of questions of the model for a sample and an algorithm:

- sensitivity-max and `MaxSensitivity`: ten explanations of a sample under uniform noise, the largest change;
- infidelity and `FaithfulnessCorrelation`: fifty outputs for samples with a random set of features at the baseline,
  set beside what the map predicts (xbench: squared difference; Quantus: correlation);
- infidelity and Quantus's `Infidelity`, of ten draws each: another meaning, since Quantus removes more and more of the
  patches one after the other and repeats that ten times; it is listed for what it costs, and no target.

The peer needs a Python with the `dev` extra and `quantus==0.6.0 numpy<2.4`; by default it is this one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from experiments.parts.methods import captums, methods
from experiments.parts.printing import finish, hardware, number, table
from experiments.parts.whole import ALGORITHMS, options, write_config
from experiments.parts.workloads import Workload, load
from experiments.whole_job import Run, process

NAME, WORKLOAD, TARGET = "vs_quantus", "cnn", 10.0
METRICS = {
    "MaxSensitivity": ("sensitivity_max", 10, "re-explanations"),
    "FaithfulnessCorrelation": ("infidelity", 50, "perturbed outputs"),
    "Infidelity": ("infidelity", 10, "draws, other meaning"),
}


def quantus_seconds(w: Workload) -> dict[str, float]:
    """Seconds of Quantus's metrics for all algorithms together."""
    import quantus

    x, target = w.x.numpy(), w.target.numpy()
    common = {"abs": False, "normalise": False, "disable_warnings": True}
    made = {
        "MaxSensitivity": quantus.MaxSensitivity(nr_samples=METRICS["MaxSensitivity"][1], lower_bound=0.02, **common),
        "FaithfulnessCorrelation": quantus.FaithfulnessCorrelation(
            nr_runs=METRICS["FaithfulnessCorrelation"][1], subset_size=196, return_aggregate=False, **common
        ),
        "Infidelity": quantus.Infidelity(perturb_patch_sizes=[4], n_perturb_samples=METRICS["Infidelity"][1], **common),
    }
    seconds = dict.fromkeys(made, 0.0)
    for name in ALGORITHMS:
        explain = _explain(w, name)
        maps = explain(w.model, x, target)
        for metric, scorer in made.items():
            start = time.perf_counter()
            scorer(
                model=w.model, x_batch=x, y_batch=target, a_batch=maps, explain_func=explain, device="cpu",
                batch_size=len(x), channel_first=True,
            )  # fmt: skip
            seconds[metric] += time.perf_counter() - start
    return seconds


def _explain(w: Workload, name: str) -> Callable[..., Any]:
    """A method of Captum as Quantus calls one."""
    peer, given = captums(w, methods(w)[name], None)

    def explain(model: object, inputs: Any, targets: Any, **_: object) -> Any:  # noqa: ANN401  (arrays)
        arguments = {**given, "target": torch.as_tensor(targets)}
        maps = peer.attribute(torch.as_tensor(inputs), **arguments)
        return maps.detach().numpy()

    return explain


def race(peer: str, rounds: int, threads: int) -> Mapping[str, tuple[float, float]]:
    """For each metric of Quantus the seconds of xbench and of Quantus, medians."""
    chosen = [o for o in options(load(WORKLOAD)) if not o.startswith("metric")]
    variants = {"": ["metric=[]"]} | {
        quantus: [f"metric={ours}", f"metric.{ours}.n_perturb_samples={draws}"]
        for quantus, (ours, draws, _) in METRICS.items()
    }
    runs = {name: Run() for name in variants}
    theirs: dict[str, list[float]] = {name: [] for name in METRICS}
    with tempfile.TemporaryDirectory() as scratch:
        write_config(Path(scratch) / "conf", WORKLOAD)
        ours = [sys.executable, "-m", "xbench", "--config-dir", str(Path(scratch) / "conf"), *chosen, "display=none"]
        for turn in range(rounds):
            for name, metric in variants.items():
                folder = Path(scratch) / f"{turn}-{name}"
                folder.mkdir()
                process([*ours, *metric], threads, folder, runs[name])
                print(f"xbench {' '.join(metric)}: {runs[name].seconds[-1]:.1f} s", flush=True)
            folder = Path(scratch) / f"{turn}-peer"
            folder.mkdir()
            printed = process(
                [peer, "-m", "experiments.vs_quantus", "--peer", "--threads", str(threads)], threads, folder
            )
            for name, seconds in json.loads(printed.splitlines()[-1]).items():
                theirs[name].append(seconds)
                print(f"Quantus {name}: {seconds:.1f} s", flush=True)
    idle = statistics.median(runs[""].seconds)
    return {
        name: (max(statistics.median(runs[name].seconds) - idle, 0.01), statistics.median(theirs[name]))
        for name in METRICS
    }


def show(found: Mapping[str, tuple[float, float]]) -> str:
    """The table, and the target."""
    lines = [
        [f"{METRICS[name][0]} / {name}", f"{METRICS[name][1]} {METRICS[name][2]}", number(ours), number(theirs),
         number(theirs / ours, 1)]
        for name, (ours, theirs) in found.items()
    ]  # fmt: skip
    header = ["xbench / Quantus", "per sample and algorithm", "xbench s", "Quantus s", "ratio"]
    return f"{table(header, lines)}\n\nTarget for the ratio: {TARGET:.0f}."


def main(arguments: Sequence[str] | None = None) -> Mapping[str, tuple[float, float]]:
    """Print the table; the seconds of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has Quantus")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true", help=f"write experiments/{NAME}.md")
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)  # be Quantus, not the driver
    given = parser.parse_args(arguments)
    if given.peer:
        torch.set_num_threads(given.threads)
        warnings.simplefilter("ignore")
        print(json.dumps(quantus_seconds(load(WORKLOAD))))
        return {}
    found = race(given.peer_python, given.rounds, given.threads)
    about = (
        "How long do the metrics of a comparison take, beside Quantus 0.6.0? Ten algorithms on the small CNN, 32 "
        "images 1x28x28; what is compared with what is told by `python experiments/vs_quantus.py --help`."
    )
    command = f"python experiments/{NAME}.py --rounds {given.rounds}"
    finish(NAME, about, command, hardware(given.threads), show(found), given.write)
    return found


if __name__ == "__main__":
    main()
