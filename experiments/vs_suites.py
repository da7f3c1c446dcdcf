"""How long do the metrics of a comparison take, beside Quantus and AttriBench?

    python experiments/vs_suites.py [--n 8] [--part rows|times|both] [--workload cnn] [--peer-python PATH] [--write]

First the rows, which need no peer: what ten algorithms with `metric=all` evaluate in one run, beside what the metrics
evaluate in runs of their own (vs_suites_rows.md). Then the times, of the peers that are installed.

Ten algorithms on the small CNN (32 images 1x28x28) or on ResNet-18 (4 images 3x224x224). The peers get the maps and,
where they explain again, the methods of Captum; their seconds are those of the calls of their metrics alone. Those of
xbench are those of the metric's cells after a command with an empty store, with the evaluations that serve all
algorithms; in brackets what the metric adds to the whole command, with its cells stored and its figures drawn
(`metric=[NAME]` less `metric=[]`). Medians over the rounds. Compared are metrics that ask the same number of questions
of the model for a sample and an algorithm; a method that Captum refuses on a model is left out on both sides:

- sensitivity-max and the two suites' own: ten explanations of a sample under uniform noise, the largest change;
- infidelity and Quantus's `FaithfulnessCorrelation`: fifty outputs for samples with a random set of features at the
  baseline, set beside what the map predicts (xbench: squared difference; Quantus: correlation);
- infidelity and AttriBench's, fifty draws of Gaussian noise whose outputs serve all algorithms, in both;
- infidelity and Quantus's `Infidelity`, of ten draws each: another meaning, since Quantus removes more and more of the
  patches one after the other and repeats that ten times; it is listed for what it costs, and no target.

The peers need a Python with the `dev` extra, `quantus==0.6.0 numpy<2.4`, `attribench==0.1.9` (with --no-deps, for it
asks for torch 1) and `krippendorff h5py opencv-python-headless statsmodels`; by default it is this one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from experiments.parts import shared
from experiments.parts.methods import captums, methods
from experiments.parts.printing import finish, hardware, number, table
from experiments.parts.whole import ALGORITHMS, options, write_config
from experiments.parts.workloads import Workload, load
from experiments.whole_job import Run, process

NAME, TARGET = "vs_suites", 10.0
REFUSED = {"ResNet-18, 4 images 3x224x224": ("deeplift",)}  # Captum takes none where a ReLU module is used twice
Explain = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Pair:
    """A metric of xbench with its options, and what it is compared with."""

    ours: str
    options: Mapping[str, object]
    what: str

    @property
    def arguments(self) -> list[str]:
        return [f"metric=[{self.ours}]", *(f"metric.{self.ours}.{key}={value}" for key, value in self.options.items())]


_AGAIN = {"n_perturb_samples": 10, "floor": "false"}
PAIRS = {
    "Quantus MaxSensitivity": Pair("sensitivity_max", _AGAIN, "10 re-explanations"),
    "AttriBench max_sensitivity": Pair("sensitivity_max", _AGAIN, "10 re-explanations"),
    "Quantus FaithfulnessCorrelation": Pair("infidelity", {"n_perturb_samples": 50}, "50 perturbed outputs"),
    "AttriBench infidelity": Pair(
        "infidelity", {"n_perturb_samples": 50, "perturbation": "gaussian"}, "50 perturbed outputs for all"
    ),
    "Quantus Infidelity": Pair("infidelity", {"n_perturb_samples": 10}, "10 draws, other meaning"),
}


def quantus_seconds(w: Workload) -> dict[str, float]:
    """Seconds of Quantus's metrics for all algorithms together."""
    import quantus

    x, target = w.x.numpy(), w.target.numpy()
    common = {"abs": False, "normalise": False, "disable_warnings": True}
    made = {
        "MaxSensitivity": quantus.MaxSensitivity(nr_samples=10, lower_bound=0.02, **common),
        "FaithfulnessCorrelation": quantus.FaithfulnessCorrelation(
            nr_runs=50, subset_size=w.x[0].numel() // 4, return_aggregate=False, **common
        ),
        "Infidelity": quantus.Infidelity(perturb_patch_sizes=[w.windows[-1]], n_perturb_samples=10, **common),
    }
    seconds = {f"Quantus {name}": 0.0 for name in made}
    for explain in _explains(w).values():

        def in_numpy(model: object, inputs: object, targets: object, explain: Explain = explain, **_: object) -> object:
            return explain(torch.as_tensor(inputs), torch.as_tensor(targets)).numpy()

        maps = in_numpy(w.model, x, target)
        for metric, scorer in made.items():
            start = time.perf_counter()
            scorer(
                model=w.model, x_batch=x, y_batch=target, a_batch=maps, explain_func=in_numpy, device="cpu",
                batch_size=len(x), channel_first=True,
            )  # fmt: skip
            seconds[f"Quantus {metric}"] += time.perf_counter() - start
    return seconds


def attribench_seconds(w: Workload) -> dict[str, float]:
    """Seconds of AttriBench's metrics, which take all algorithms at once."""
    from attribench.data import AttributionsDataset
    from attribench.functional.metrics import infidelity, max_sensitivity
    from attribench.functional.metrics.infidelity import GaussianPerturbationGenerator

    explains = _explains(w)
    maps = {name: explain(w.x, w.target) for name, explain in explains.items()}
    data = AttributionsDataset(w.x, w.target, attributions=maps)
    start = time.perf_counter()
    max_sensitivity(data, len(w.x), explains, num_perturbations=10, radius=0.02)
    between = time.perf_counter()
    infidelity(
        w.model, data, len(w.x), ["linear"], {"gaussian": GaussianPerturbationGenerator(0.1)}, num_perturbations=50
    )
    end = time.perf_counter()
    return {"AttriBench max_sensitivity": between - start, "AttriBench infidelity": end - between}


def _metric_seconds(store: Path) -> float:
    """What the metrics' cells of a store took: the scores, and the evaluations that serve all algorithms."""
    records = [json.loads(path.read_text()) for path in store.glob("cells/*/*.json")]
    return sum(record["seconds"] for record in records if record["kind"] in ("probe", "score"))


def chosen(w: Workload) -> list[str]:
    """The methods that Captum does not refuse."""
    return [name for name in ALGORITHMS if name not in REFUSED.get(w.title, ())]


def _explains(w: Workload) -> dict[str, Explain]:
    """Captum's methods that take the model."""

    def of(name: str) -> Explain:
        peer, given = captums(w, methods(w)[name], None)

        def explain(inputs: Tensor, target: Tensor) -> Tensor:
            maps: Tensor = peer.attribute(inputs, **{**given, "target": target})
            return maps.detach()

        return explain

    return {name: of(name) for name in chosen(w)}


PEERS = {"quantus": quantus_seconds, "attribench": attribench_seconds}


def race(peer: str, workload: str, rounds: int, threads: int) -> Mapping[str, tuple[float, float, float]]:
    """For each pair the seconds of xbench's cells, of its command, and of the peer, medians."""
    w = load(workload)
    given = [o for o in options(w) if not o.startswith(("metric", "algorithm=["))]
    given.append(f"algorithm=[{','.join(chosen(w))}]")
    variants = {" ".join(pair.arguments): pair.arguments for pair in PAIRS.values()} | {"": ["metric=[]"]}
    runs = {name: Run() for name in variants}
    theirs: dict[str, list[float]] = {name: [] for name in PAIRS}
    cells: dict[str, list[float]] = {name: [] for name in variants}
    with tempfile.TemporaryDirectory() as scratch:
        write_config(Path(scratch) / "conf", workload)
        ours = [sys.executable, "-m", "xbench", "--config-dir", str(Path(scratch) / "conf"), *given, "display=none"]

        def folder(name: str) -> Path:
            return Path(tempfile.mkdtemp(prefix=name, dir=scratch))

        for _ in range(rounds):
            for name, arguments in variants.items():
                where = folder("ours")
                process([*ours, *arguments], threads, where, runs[name])
                cells[name].append(_metric_seconds(where / "results"))
                print(f"xbench {' '.join(arguments)}: {runs[name].seconds[-1]:.1f} s", flush=True)
            for suite in PEERS:
                command = [
                    peer,
                    "-m",
                    "experiments.vs_suites",
                    "--peer",
                    suite,
                    "--workload",
                    workload,
                    "--threads",
                    str(threads),
                ]
                for name, seconds in json.loads(process(command, threads, folder(suite)).splitlines()[-1]).items():
                    theirs[name].append(seconds)
                    print(f"{name}: {seconds:.1f} s", flush=True)
    idle = statistics.median(runs[""].seconds)
    return {
        name: (
            statistics.median(cells[" ".join(pair.arguments)]),
            statistics.median(runs[" ".join(pair.arguments)].seconds) - idle,
            statistics.median(theirs[name]),
        )
        for name, pair in PAIRS.items()
    }


def show(found: Mapping[str, tuple[float, float, float]]) -> str:
    """The table, and the target."""
    lines = [
        [
            name,
            PAIRS[name].ours,
            PAIRS[name].what,
            f"{number(ours)} ({number(whole)})",
            number(theirs),
            number(theirs / ours, 1),
        ]
        for name, (ours, whole, theirs) in found.items()
    ]
    header = ["peer", "xbench", "per sample and algorithm", "xbench s", "peer s", "ratio"]
    return f"{table(header, lines)}\n\nTarget for the ratio: {TARGET:.0f} over Quantus."


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


def main(arguments: Sequence[str] | None = None) -> Mapping[str, tuple[float, float, float]]:
    """Print the tables; the seconds of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has the peers")
    parser.add_argument("--workload", choices=("cnn", "resnet18"), default="cnn")
    parser.add_argument("--n", type=int, default=8, help="samples, where rows are counted")
    parser.add_argument("--part", choices=("rows", "times", "both"), default="both")
    parser.add_argument("--models", nargs="+", choices=list(shared.WORKLOADS), default=list(shared.WORKLOADS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true", help="write the table below experiments/")
    parser.add_argument("--peer", choices=list(PEERS), help=argparse.SUPPRESS)  # be a peer, not the driver
    given = parser.parse_args(arguments)
    if given.peer is not None:
        torch.set_num_threads(given.threads)
        warnings.simplefilter("ignore")
        print(json.dumps(PEERS[given.peer](load(given.workload))))
        return {}
    if given.part != "times":
        count(given.models, given.n, given.write)
    if given.part == "rows":
        return {}
    if missing := [name for name in PEERS if name not in installed(given.peer_python)]:
        print(f"no times: {given.peer_python} lacks {', '.join(missing)}; see --help")
        return {}
    found = race(given.peer_python, given.workload, given.rounds, given.threads)
    w = load(given.workload)
    about = (
        "How long do the metrics of a comparison take, beside Quantus 0.6.0 and AttriBench 0.1.9? "
        f"{len(chosen(w))} algorithms on the {w.title}; what is compared with what is told by "
        f"`python experiments/{NAME}.py --help`."
    )
    command = f"python experiments/{NAME}.py --part times --workload {given.workload} --rounds {given.rounds}"
    name = NAME if given.workload == "cnn" else f"{NAME}_{given.workload}"
    finish(name, about, command, hardware(given.threads), show(found), given.write)
    return found


if __name__ == "__main__":
    main()
