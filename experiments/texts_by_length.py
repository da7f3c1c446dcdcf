"""What do texts of unequal length gain when they pass the model with their like and without their padding?

    python experiments/texts_by_length.py [--models text_cnn text_transformer] [--n 128] [--rounds 3] [--write]

The command on SST-2 (where the files are missing the stand-in, whose sentences are all short), with
`run.rewrites=false` and `true` in turns; no other rewrite applies to these models but the one in question and the front
left out. The figures are the runtimes of its tables, medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments.parts.printing import finish, geometric_mean, hardware, number, table
from experiments.whole_job import process

NAME = "texts_by_length"
METHODS = ("saliency", "ig", "smoothgrad", "deeplift", "feature_ablation", "kernel_shap")


def runtimes(model: str, rewrites: bool, n: int, threads: int, folder: Path) -> tuple[str, dict[str, float]]:
    """The name of the data, and the milliseconds per sentence of every method."""
    command = [
        sys.executable, "-m", "xbench", "dataset=sst2", f"model={model}", f"algorithm=[{','.join(METHODS)}]",
        "metric=[]", "controls=false", f"n={n}", f"run.rewrites={str(rewrites).lower()}", "display=none",
    ]  # fmt: skip
    process(command, threads, folder)
    summary = pd.read_csv(folder / "reports" / "latest" / "tables" / "summary.csv")
    times = summary[summary["metric"] == "runtime"].set_index("algorithm")["mean"]
    return str(summary["dataset"][0]), {method: 1000 * float(times[method]) for method in METHODS}


def main(arguments: Sequence[str] | None = None) -> dict[tuple[str, str], tuple[float, float]]:
    """Print the table; by model and method the milliseconds with and without padding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["text_cnn", "text_transformer"])
    parser.add_argument("--n", type=int, default=128, help="sentences")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true", help=f"write experiments/{NAME}.md")
    given = parser.parse_args(arguments)
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for model in given.models:
        seen: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for _ in range(given.rounds):
            for rewrites, times in seen.items():
                with tempfile.TemporaryDirectory() as folder:
                    data, each = runtimes(model, rewrites, given.n, given.threads, Path(folder))
                times.append(each)
                print(
                    f"{model} {'without' if rewrites else 'with'} padding: {times[-1]['ig']:.1f} ms for ig", flush=True
                )
        for method in METHODS:
            padded, trimmed = (statistics.median(each[method] for each in seen[rewrites]) for rewrites in seen)
            found[model, method] = padded, trimmed
    rows = [
        [f"{model}, {method}", number(padded), number(trimmed), number(padded / trimmed)]
        for (model, method), (padded, trimmed) in found.items()
    ]
    mean = geometric_mean([padded / trimmed for padded, trimmed in found.values()])
    shown = table(
        ["ms per sentence", "padded", "by length", "ratio"], [*rows, ["geometric mean", "", "", number(mean)]]
    )
    about = (
        "What do texts of unequal length gain when they pass the model with their like and without their padding? "
        f"{given.n} sentences of {data}."
    )
    command = f"python experiments/{NAME}.py --n {given.n} --rounds {given.rounds}"
    finish(NAME, about, command, hardware(given.threads), shown, given.write)
    return found


if __name__ == "__main__":
    main()
