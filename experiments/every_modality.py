"""Do the methods find the evidence, on every kind of data?

    python experiments/every_modality.py [--datasets shapes tones] [--n 32] [--files] [--write]

For each data set the command `xbench dataset=NAME algorithm=fast metric=standard` (with localisation where the data
know where the evidence lies) is run on its default model, in a store of its own, and its comparison is kept. Where the
data know where the evidence lies, the best method is set beside the random control: relevance rank (the share of
the K most relevant places that are evidence, K being how many there are), AUROC, and for mosaics the grid pointing
game. The planted functions have attributions in closed form: how far methods are from it is printed first. `--files`
takes the data sets that are read from files below `$XBENCH_DATA` as well.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from experiments.parts.printing import finish, hardware, number, table
from xbench import attribute
from xbench.config.compose import component
from xbench.datasets.planted import LinearFunction, ProductFunction

NAME = "every_modality"
MADE = {
    "digits": (),
    "shapes": (),
    "mosaics": (
        "dataset=shapes",
        "dataset.grid=2",
        "target=label",
        "algorithm=[fast,gradcam]",
        "metric=[grid_pointing_game]",
    ),
    "sst2": ("dataset.source=standin",),
    "tones": (),
    "cells": ("dataset=tones", "features=cells", "metric=all"),
    "moving_shapes": (),
    "breast_cancer": (),
    "wine": (),
    "diabetes": (),
    "planted_linear": (),
    "planted_interaction": (),
    "planted_motifs": (),
    "ba_2motifs": (),
    "geometric": ("dataset=ba_2motifs", "model=geometric", "metric=all", "algorithm=[saliency,ig,gradient_shap,lrp]"),
    "ba_shapes": (),
    "shapes_question": (),
    "pretrained_fusion": ("dataset=shapes_question", "model=pretrained_fusion", "metric=all"),
}
FILES = (
    "mnist", "fashion_mnist", "cifar10", "bccd", "sst2", "eraser_movies", "fsdd", "adult", "titanic", "compas", "mutag",
    "mutagenicity", "cora", "nlvr",
)  # fmt: skip
EXACT = ("ig", "deeplift", "shapley_exact", "lrp")


@dataclass(frozen=True)
class Found:
    """What a command compared, its seconds and its comparison; per measure the best method and the random map."""

    dataset: str
    command: str
    subject: str
    seconds: float
    comparison: str
    best: dict[str, tuple[str, float, float]]


def run(name: str, more: Sequence[str], n: int) -> Found:
    """Run the command on one data set."""
    given = [option for option in more if option.startswith(("dataset=", "metric="))]
    chosen = [] if any(o.startswith("dataset=") for o in given) else [f"dataset={name}"]
    chosen += [] if any(option.startswith("algorithm=") for option in more) else ["algorithm=fast"]
    if not any(o.startswith("metric=") for o in given):
        data = component("dataset", name.split(",")[0], [o.removeprefix("dataset.") for o in more if "dataset." in o])
        chosen += ["metric=standard" if data.load().test.masks is None else "metric=[standard,localisation]"]
    options = [*chosen, *more, f"n={n}"]
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "xbench", *options, "display=none", f"store={scratch}/store", f"reports={scratch}"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(f"{name}: the command failed with code {done.returncode}:\n{done.stderr}")
        tables = Path(scratch) / "latest" / "tables"
        summary = pd.read_csv(tables / "summary.csv")
        comparison = scores((tables / "comparison.md").read_text(encoding="utf-8"))
    subject = f"{summary['model'].iloc[0]} on {summary['dataset'].iloc[0]}"
    subject += "".join(f", {option}" for option in more if option.startswith("features="))
    best = {metric: _best(summary, metric) for metric in _LOCALISING if metric in set(summary["metric"])}
    return Found(name, f"xbench {' '.join(options)}", subject, seconds, comparison, best)


def scores(comparison: str) -> str:
    """A comparison without its costs, which are measured elsewhere and on a quiet machine."""
    lines = comparison.strip().splitlines()
    heads = next(line for line in lines if line.startswith("|")).strip("|").split("|")
    costs = ("runtime", "forward rows", "backward rows", "peak memory")
    kept = [i for i, head in enumerate(heads) if not head.strip().startswith(costs)]
    for place, line in enumerate(lines):
        if line.startswith("|"):
            cells = line.strip("|").split("|")
            lines[place] = "|" + "|".join(cells[i] for i in kept) + "|"
    return "\n".join(lines).replace(" Runtime and rows are per sample.", "")


_LOCALISING = ("relevance_rank", "localisation_auroc", "grid_pointing_game")


def _best(summary: pd.DataFrame, metric: str) -> tuple[str, float, float]:
    """The algorithm with the highest mean, that mean, and the random control's."""
    mine = summary[summary["metric"] == metric].set_index("algorithm")["mean"]
    methods = mine.drop(["random", "constant"])
    return str(methods.idxmax()), float(methods.max()), float(mine["random"])


def closed_forms() -> list[list[str]]:
    """For each planted function and method the largest error, relative to the largest attribution."""
    lines = []
    for name in ("planted_linear", "planted_interaction"):
        data = component("dataset", name, ["columns=12"] if name == "planted_linear" else ["columns=10"]).load()
        assert data.known is not None
        function = data.known().eval().double()
        x, labels = data.test.inputs[:16].double(), data.test.targets[:16]
        if isinstance(function, LinearFunction):
            truth = function.linear.weight.detach()[labels] * x
        else:
            assert isinstance(function, ProductFunction)
            left, right = function.left[labels], function.right[labels]
            half = function.weight[labels] * x.gather(1, left) * x.gather(1, right) / 2
            truth = torch.zeros_like(x).scatter_add_(1, left, half).scatter_add_(1, right, half)
        for method in EXACT:
            maps = attribute(function, x, component("algorithm", method), target=labels)
            error = ((maps - truth).abs().max() / truth.abs().max()).item()
            lines.append([name, method, f"{error:.1e}"])
    return lines


def show(found: Sequence[Found]) -> str:
    """The summary."""
    lines = []
    for one in found:
        for metric, (method, best, random) in one.best.items():
            lines.append([one.subject, metric, method, number(best), number(random), number(best / random, 1)])
        if not one.best:
            lines.append([one.subject, "no masks", "", "", "", ""])
    return table(["model and data", "measure", "best method", "its mean", "random map", "ratio"], lines)


def main(arguments: Sequence[str] | None = None) -> list[Found]:
    """Print the tables; what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", choices=[*dict.fromkeys([*MADE, *FILES])], default=None)
    parser.add_argument("--n", type=int, default=32, help="samples to explain")
    parser.add_argument("--files", action="store_true", help="also the data sets that are read from files")
    parser.add_argument("--write", action="store_true", help=f"write experiments/{NAME}.md")
    given = parser.parse_args(arguments)
    chosen = {**MADE, **{f"{name}, files": (f"dataset={name}",) for name in (FILES if given.files else ())}}
    if given.datasets is not None:
        chosen = {name: more for name, more in chosen.items() if name.split(",")[0] in given.datasets}
    exact = table(["function", "method", "largest error"], closed_forms())
    found = []
    for name, more in chosen.items():
        found.append(run(name, more, given.n))
        print(f"{found[-1].seconds:6.1f} s  {found[-1].command}", flush=True)
    parts = [f"Closed forms, error relative to the largest attribution:\n\n{exact}", show(found)]
    parts += [f"    {one.command}\n\n{one.comparison.strip()}" for one in found]
    about = (
        "Do the methods find the evidence, on every kind of data? Every comparison, and where the evidence is known."
    )
    command = f"python experiments/{NAME}.py --n {given.n}" + (" --files" if given.files else "")
    finish(NAME, about, command, hardware(torch.get_num_threads()), "\n\n".join(parts), given.write)
    return found


if __name__ == "__main__":
    main()
