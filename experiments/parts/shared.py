"""What sharing evidence saves: the rows of one run with all metrics, beside the rows of each metric by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from experiments.parts.metric_text import digest, key, options
from experiments.parts.printing import number, table
from experiments.parts.whole import ALGORITHMS, sized, write_config
from experiments.parts.whole import options as command_options

GOAL = 1 / 3
STEPS = 5  # points of path integrals and draws of random methods: ratios, not maps, are asked for
WORKLOADS = {"cnn": "the small CNN", "resnet18_small": "ResNet-18, 3x64x64", "transformer": "the transformer"}


@dataclass(frozen=True)
class Rows:
    """Forward rows of a workload.

    Attributes:
        together: of all evidence in one run.
        alone: of each metric in a run of its own with all algorithms, summed over metrics.
        one_by_one: of each metric and algorithm in a run of its own, as where nothing is shared.
        hooked: rows that a forward hook of the model counts over the whole command.
        cells: rows that the evidence and the maps of the command ask for.
        parts: of each kind of evidence its name, its rows in the one run, and how many metrics share it.
    """

    together: int
    alone: int
    one_by_one: int
    hooked: int
    cells: int
    parts: tuple[tuple[str, int, int], ...] = ()


def tallied(workload: str, tally: str) -> nn.Module:
    """A workload's model that appends the rows of every call to the file `tally`."""
    model = sized(workload, STEPS).model

    def count(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        with open(tally, "a") as lines:
            lines.write(f"{len(given[0])}\n")

    model.register_forward_pre_hook(count)
    return model


def run(workload: str, n: int, algorithms: Sequence[str] = ALGORITHMS, metrics: str = "all") -> Rows:
    """Run the command with all metrics in an empty store and count."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, tally = Path(scratch), Path(scratch) / "tally"
        write_config(folder / "conf", workload)
        (folder / "conf" / "model" / "whole.yaml").write_text(
            "_target_: xbench.models.custom.Custom\nname: whole\nmodule: {_target_: experiments.parts.shared.tallied, "
            f"_partial_: true, workload: {workload}, tally: '{tally}'}}\n"
        )
        given = [o for o in command_options(sized(workload, STEPS)) if not o.startswith(("metric", "n=", "algorithm"))]
        of_methods = [o for o in command_options(sized(workload, STEPS)) if o.startswith("algorithm.")]
        given += [o for o in of_methods if o.split(".")[1] in algorithms]
        command = [
            sys.executable, "-m", "xbench", "--config-dir", str(folder / "conf"), *given, f"metric={metrics}", f"n={n}",
            f"algorithm=[{','.join(algorithms)}]", f"store={folder / 'store'}", "report=false", "display=none",
            "agreement=null", "run.rewrites=false",
        ]  # fmt: skip
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{workload}: the command failed with code {done.returncode}:\n{done.stderr}")
        hooked = sum(map(int, tally.read_text().split()))
        return counted(list(_records(folder / "store")), hooked)


def _records(store: Path) -> Iterator[Mapping[str, Any]]:
    for path in store.glob("cells/*/*.json"):
        yield json.loads(path.read_text())


def counted(records: Sequence[Mapping[str, Any]], hooked: int) -> Rows:
    """Rows by what they serve, from the records of a store with one block of samples."""
    names = {option.name: {digest(each) for each in option.metric.evidence} for option in options()}
    evidence = [record for record in records if record["kind"] in ("evidence", "shared")]
    methods = {record["algorithm"] for record in records if record["kind"] == "attribution"}
    scored = {record["metric"] for record in records if record["kind"] == "score"}
    alone = one_by_one = 0
    rows: Counter[str] = Counter()
    sharing: dict[str, set[str]] = defaultdict(set)
    for name in scored:
        for record in evidence:
            if key(record["identity"]["evidence"]) in names[str(name)]:
                sharing[_kind(record)].add(str(name))
                alone += _rows(record)
                one_by_one += _rows(record) * (len(methods) if record["kind"] == "shared" else 1)
    for record in evidence:
        rows[_kind(record)] += _rows(record)
    parts = tuple((kind, count, len(sharing[kind])) for kind, count in rows.most_common())
    maps = [record for record in records if record["kind"] == "attribution"]  # a score's rows are its evidence's
    return Rows(sum(map(_rows, evidence)), alone, one_by_one, hooked, sum(map(_rows, [*maps, *evidence])), parts)


def _kind(record: Mapping[str, Any]) -> str:
    return str(record["identity"]["evidence"]["_target_"]).rpartition(".")[2]


def _rows(record: Mapping[str, Any]) -> int:
    return int(record["counters"]["forward_rows"])


def show(found: Mapping[str, Rows]) -> str:
    """The table, and the goal."""
    lines = [
        [
            WORKLOADS[name],
            *(f"{rows:,}" for rows in (one.together, one.alone, one.one_by_one)),
            number(one.together / one.alone),
            number(one.together / one.one_by_one),
            f"{one.hooked:,}",
            f"{one.cells:,}",
        ]
        for name, one in found.items()
    ]
    header = [
        "model", "all in one run", "metric by metric", "and algorithm by algorithm", "share of metric by metric",
        "share of algorithm by algorithm", "rows seen by the hook", "rows of evidence and maps",
    ]  # fmt: skip
    kinds = [
        [f"{WORKLOADS[name]}: {kind}", f"{rows:,}", f"{rows / one.together:.0%}", str(metrics)]
        for name, one in found.items()
        for kind, rows, metrics in one.parts[:6]
    ]
    largest = table(["the largest evidence", "rows", "of the run", "metrics that use it"], kinds)
    return (
        f"{table(header, lines)}\n\nForward rows of the evidence, re-explaining included. Goal for the shares: at most "
        f"{number(GOAL)}. The hook counts the whole command, which repeats maps to time them, and checks the model."
        f"\n\n{largest}"
    )
