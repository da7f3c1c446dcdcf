"""The pages of the metrics, docs/metrics/FAMILY.md.

    python experiments/metric_pages.py [--scores] [--n 8] [--folder docs/metrics]

Formula, pitfall and source come from docstrings, columns from facts, parameters from option files, sharing from the
evidence. `--scores` runs the controls (random, constant, the inverse of input x gradient, the known answer) and stores
their means and the rows of the evidence in controls.json; without it the stored numbers stay.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xbench
from experiments.parts.metric_text import (
    FAMILIES,
    ROOT,
    Scores,
    agreement_page,
    digest,
    evidence_name,
    index,
    key,
    options,
    page,
)

FOLDER = ROOT / "docs" / "metrics"


@dataclass(frozen=True)
class Run:
    """A command, and the metrics that it scores; () for all that no other run has."""

    options: tuple[str, ...]
    metrics: tuple[str, ...] = ()


RUNS = (
    Run(("dataset=planted_linear", "model=known", "algorithm=[input_x_gradient,inverse,truth,exact]")),
    Run(
        ("dataset=planted_interaction", "model=known", "algorithm=[input_x_gradient,inverse,truth,exact]"),
        ("symmetry",),
    ),
    Run(
        ("dataset=planted_linear", "model=mlp", "output=probability", "algorithm=[input_x_gradient,inverse,truth]"),
        ("average_drop", "mprt", "mprt_bottom_up", "smooth_mprt", "efficient_mprt", "random_logit", "input_invariance",
         "relative_representation_stability"),
    ),
    Run(
        ("dataset=digits", "output=probability", "algorithm=[input_x_gradient,inverse,edges]"),
        ("continuity", "irof", "region_perturbation", "road", "selectivity", "total_variation"),
    ),
    Run(
        ("dataset=shapes", "dataset.grid=2", "target=label", "algorithm=[input_x_gradient,inverse,truth]"),
        ("focus", "grid_pointing_game"),
    ),
    Run(
        ("dataset=ba_2motifs", "algorithm=[input_x_gradient,inverse,truth]"),
        ("characterisation", "fidelity_minus", "fidelity_plus", "unfaithfulness"),
    ),
)  # fmt: skip


def controls(n: int, runs: Sequence[Run] = RUNS) -> Iterator[dict[str, Scores]]:
    """The scores of the controls, by metric, run after run."""
    elsewhere = {name for run in RUNS for name in run.metrics}
    for run in runs:
        found = {}
        metrics = run.metrics or tuple(option.name for option in options() if option.name not in elsewhere)
        command = [*run.options, f"n={n}"]
        with tempfile.TemporaryDirectory() as scratch:
            done = subprocess.run(
                [sys.executable, "-m", "xbench", *command, f"metric=[{','.join(metrics)}]", f"store={scratch}",
                 "report=false", "display=none", "agreement=null", "run.rewrites=false"],
                check=False, capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)} failed with code {done.returncode}:\n{done.stderr}")
            scores = xbench.results(store=scratch).scores
            rows = dict(_rows(Path(scratch)))
        for name in metrics:
            option = next(option for option in options() if option.name == name)
            means = {}
            for column in option.metric.facts.columns:
                mine = scores[scores["metric"] == column].groupby("algorithm", sort=False)["value"].mean()
                means[column] = {str(a): None if math.isnan(v) else float(f"{v:.4g}") for a, v in mine.items()}
            used = {evidence_name(each): rows.get(digest(each)) for each in option.metric.evidence}
            kept = {each: value for each, value in used.items() if value is not None}
            found[name] = Scores(f"xbench {' '.join(command)} metric={name}", means, kept)
        yield found


def _rows(store: Path) -> Iterator[tuple[str, float]]:
    """Forward rows per sample of every piece of evidence, explained by input x gradient where explanations are."""
    for path in store.glob("cells/*/*.json"):
        record: Mapping[str, Any] = json.loads(path.read_text())
        if "evidence" in record["identity"] and record["algorithm"] in (None, "input_x_gradient"):
            rows = record["counters"]["forward_rows"] / len(record["samples"])
            yield key(record["identity"]["evidence"]), round(rows, 1)


def load(path: Path) -> dict[str, Scores]:
    """The stored scores."""
    return {name: Scores(**given) for name, given in json.loads(path.read_text(encoding="utf-8")).items()}


def pages(scores: Mapping[str, Scores]) -> dict[str, str]:
    """The text of every page by the name of its file."""
    found = {f"{family}.md": page(family, scores) for family in FAMILIES}
    return {**found, "agreement.md": agreement_page(), "README.md": index(FAMILIES)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", action="store_true", help="run the controls again")
    parser.add_argument(
        "--runs", type=int, nargs="+", default=list(range(len(RUNS))), help="only these of the commands"
    )
    parser.add_argument("--n", type=int, default=8, help="samples of each data set")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pages and controls.json lie")
    given = parser.parse_args(arguments)
    stored = given.folder / "controls.json"
    if given.scores:
        found = load(stored) if stored.exists() else {}
        for some in controls(given.n, [RUNS[number] for number in given.runs]):
            found |= some
            text = json.dumps({name: asdict(one) for name, one in sorted(found.items())}, indent=1)
            stored.write_text(text + "\n", encoding="utf-8")
    scores = load(stored)
    if lacking := [option.name for option in options() if option.name not in scores]:
        print(f"no pages yet: {stored} lacks {', '.join(lacking)}")
        return
    for name, text in pages(scores).items():
        (given.folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
