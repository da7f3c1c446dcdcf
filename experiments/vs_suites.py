"""How long do the metrics of a comparison take, beside Quantus and AttriBench?

    python experiments/vs_suites.py [--n 8] [--part rows|times|both] [--workload cnn] [--peer-python PATH] [--write]

First the rows, which need no peer: what ten algorithms with `metric=all` evaluate in one run, beside what the metrics
evaluate in runs of their own (vs_suites_rows.md). Then the times, of the peers that are installed.

Ten algorithms on the small CNN (32 images 1x28x28) or on ResNet-18 (4 images 3x224x224); which metrics and how often
each evaluates the model is in experiments/parts/suites.py. The peers get the maps and, where they explain again, the
methods of Captum; their seconds are those of the calls of their metrics alone. Those of xbench are those of a metric's
cells after a command with an empty store: its scores and all evidence that it needs, as if no other metric shared it;
evidence that serves all algorithms counts once. One command has the metrics that explain again, with the features of
the workload, another one the others with pixels as features. All seconds are the processor's, so that other work on the
machine counts little; the sides take turns; medians over the rounds. A method that Captum refuses on a model is left
out on both sides.

The peers need a Python with the `dev` extra, `quantus==0.6.0 numpy<2.4`, `attribench==0.1.9` (with --no-deps, for it
asks for torch 1) and `krippendorff h5py opencv-python-headless statsmodels`; by default it is this one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from omegaconf import OmegaConf

from experiments.parts import shared
from experiments.parts.metric_text import digest, key
from experiments.parts.printing import finish, hardware, number, table
from experiments.parts.suites import PEERS, chosen, pairs
from experiments.parts.whole import options, write_config
from experiments.parts.workloads import Workload, load
from experiments.whole_job import process
from xbench.config.nodes import instantiate

NAME = "vs_suites"
Seconds = dict[str, float]


def ours(w: Workload, workload: str, folder: Path, threads: int) -> Seconds:
    """Seconds of xbench's metrics, by the names of the pairs, and of both commands."""
    given = [o for o in options(w) if not o.startswith(("metric", "algorithm=["))]
    given += [f"algorithm=[{','.join(chosen(w))}]", "display=none", "report=false", "agreement=null"]
    command = [sys.executable, "-m", "experiments.parts.on_processor", "--config-dir", str(folder / "conf"), *given]
    write_config(folder / "conf", workload)
    seconds: Seconds = {}
    for explains, more in ((True, []), (False, ["features=pixels"])):
        some = {name: pair for name, pair in pairs(w).items() if pair.explains is explains}
        metrics = sorted({pair.ours for pair in some.values()})
        arguments = dict.fromkeys(argument for pair in some.values() for argument in pair.arguments)
        store = folder / f"store-{explains}"
        process([*command, f"metric=[{','.join(metrics)}]", *arguments, *more, f"store={store}"], threads, folder)
        found = metric_seconds(store)
        seconds |= {name: found[pair.ours] for name, pair in some.items()}
    return seconds


def metric_seconds(store: Path) -> Seconds:
    """Of each metric, what its scores and its evidence took."""
    records = [json.loads(path.read_text()) for path in store.glob("cells/*/*.json")]
    evidence: Counter[str] = Counter()
    scores: Counter[str] = Counter()
    needs: dict[str, set[str]] = {}
    for record in records:
        if record["kind"] in ("shared", "evidence"):
            evidence[key(record["identity"]["evidence"])] += record["seconds"]
        if record["kind"] == "score":
            node = dict(record["identity"]["metric"])
            del node["version"]
            node["_target_"] = f"xbench.metrics.{node['_target_'].rpartition('.')[2]}"  # an identity names no folder
            metric = instantiate(OmegaConf.create(node), record["metric"])
            needs[record["metric"]] = {digest(each) for each in metric.evidence}
            scores[record["metric"]] += record["seconds"]
    return {name: scores[name] + sum(evidence[each] for each in needs[name]) for name in scores}


def race(peer: str, workload: str, rounds: int, threads: int) -> list[tuple[Seconds, Seconds]]:
    """For each round the seconds of xbench and of the peers, by pair."""
    w, found = load(workload), []
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(rounds):
            folder = Path(tempfile.mkdtemp(dir=scratch))
            mine, theirs = ours(w, workload, folder, threads), dict[str, float]()
            for suite in PEERS:
                command = [peer, "-m", f"experiments.{NAME}", "--peer", suite, "--workload", workload]
                printed = process([*command, "--threads", str(threads)], threads, folder)
                theirs |= json.loads(printed.splitlines()[-1])
            found.append((mine, theirs))
            for name, seconds in theirs.items():
                print(f"{name}: {seconds:.2f} s, xbench {mine[name]:.2f} s", flush=True)
    return found


def show(w: Workload, found: Sequence[tuple[Seconds, Seconds]]) -> str:
    """The table with the goals."""
    lines = []
    for name, pair in pairs(w).items():
        mine, theirs, ratio = (
            statistics.median(values)
            for values in zip(*((m[name], t[name], t[name] / m[name]) for m, t in found), strict=True)
        )
        goal = pair.goal if name.startswith("Quantus") else 1.0
        same = "another number" if pair.differs else "the same"
        lines.append(
            [name, pair.ours, same, pair.what, f"{mine:.3f}", f"{theirs:.3f}", number(ratio, 1), f"{goal:.0f}"]
        )
    header = [
        "peer", "xbench", "definition", "per sample and algorithm", "xbench s", "peer s", "ratio", "goal",
    ]  # fmt: skip
    return table(header, lines)


def count(workloads: Sequence[str], n: int, write: bool, metrics: str = "all") -> Mapping[str, shared.Rows]:
    """Print how many rows sharing saves."""
    found = {name: shared.run(name, n, metrics=metrics) for name in workloads}
    about = "How many rows do ten algorithms and all metrics evaluate in one run, and in runs of their own?"
    command = f"python experiments/{NAME}.py --part rows --n {n}"
    finish(f"{NAME}_rows", about, command, hardware(torch.get_num_threads()), shared.show(found), write)
    return found


def installed(peer: str) -> list[str]:
    """Those of the peers that a Python has."""
    code = f"import importlib.util as u; print(*(p for p in {list(PEERS)} if u.find_spec(p)))"
    return subprocess.run([peer, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def main(arguments: Sequence[str] | None = None) -> Sequence[tuple[Seconds, Seconds]]:
    """Print the tables; the seconds of both, by round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has the peers")
    parser.add_argument("--workload", choices=("cnn", "resnet18"), default="cnn")
    parser.add_argument("--n", type=int, default=8, help="samples, where rows are counted")
    parser.add_argument("--part", choices=("rows", "times", "both"), default="both")
    parser.add_argument("--models", nargs="+", choices=list(shared.WORKLOADS), default=list(shared.WORKLOADS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write the table below experiments/")
    parser.add_argument("--peer", choices=list(PEERS), help=argparse.SUPPRESS)  # be a peer, not the driver
    given = parser.parse_args(arguments)
    if given.peer is not None:
        torch.set_num_threads(given.threads)
        warnings.simplefilter("ignore")
        print(json.dumps(PEERS[given.peer](load(given.workload))))
        return []
    if given.part != "times":
        count(given.models, given.n, given.write)
    if given.part == "rows":
        return []
    if missing := [name for name in PEERS if name not in installed(given.peer_python)]:
        print(f"no times: {given.peer_python} lacks {', '.join(missing)}; see --help")
        return []
    found = race(given.peer_python, given.workload, given.rounds, given.threads)
    w = load(given.workload)
    about = (
        "How long do the metrics of a comparison take, beside Quantus 0.6.0 and AttriBench 0.1.9? "
        f"{len(chosen(w))} algorithms on the {w.title}; what is compared with what is told by "
        f"`python experiments/{NAME}.py --help`."
    )
    command = f"python experiments/{NAME}.py --part times --workload {given.workload} --rounds {given.rounds} "
    command += f"--threads {given.threads}"
    name = NAME if given.workload == "cnn" else f"{NAME}_{given.workload}"
    finish(name, about, command, hardware(given.threads), show(w, found), given.write)
    return found


if __name__ == "__main__":
    main()
