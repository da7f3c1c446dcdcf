"""What share of a job do the scores of each family of metrics take, and the agreement between methods?

    python experiments/families.py [--dataset digits] [--rounds 3] [--write]

`xbench algorithm=fast metric=all` with an empty store and with its report, in one process and one thread. Seconds are
the processor's: those of the score cells of each family, of the cells of evidence (evaluations, shared by metrics), of
the maps, and of the table of agreement, which is built once more from the store; the rest of the job is its start, its
store, tables and report. Medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.parts.printing import finish, hardware, number, table
from experiments.whole_job import Run, process
from xbench.store.store import Store
from xbench.tables import outcomes, pairs

NAME, GOAL = "families", 0.02
CHEAP = ("complexity", "localisation", "agreement")


def measure(dataset: str, more: Sequence[str] = ()) -> Mapping[str, float]:
    """Seconds by family and kind of cell, and of the whole job."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "experiments.parts.on_processor", f"dataset={dataset}", "algorithm=fast"]
        run = Run()
        process([*command, "metric=all", "display=none", f"name={NAME}", *more], 1, Path(folder), run)
        store = Store(Path(folder) / "results")
        manifest = store.manifest(NAME)
        cells = outcomes.resolve(store, manifest)
        start = time.process_time()
        pairs.build(store, cells, manifest)
        seconds = Counter({"agreement": time.process_time() - start, "the job": run.processor[-1]})
        for path in store.root.glob("cells/*/*.json"):
            record = json.loads(path.read_text())
            kinds = {column["family"] for column in record["columns"].values()} if record["kind"] == "score" else ()
            seconds[next(iter(kinds), record["kind"])] += record["seconds"]
    return seconds


def show(found: Sequence[Mapping[str, float]]) -> str:
    """The table, and the goal."""
    names = sorted({name for one in found for name in one})
    medians = {name: statistics.median(one.get(name, 0.0) for one in found) for name in names}
    shares = {name: statistics.median(one.get(name, 0.0) / one["the job"] for one in found) for name in names}
    together = statistics.median(sum(one.get(name, 0.0) for name in CHEAP) / one["the job"] for one in found)
    rows = [
        [name, f"{medians[name]:.3f}", f"{100 * shares[name]:.2f} %"]
        for name in sorted(names, key=lambda n: medians[n])
    ]
    return (
        f"{table(['scores and cells', 'processor seconds', 'of the job'], rows)}\n\n{', '.join(CHEAP)} together: "
        f"{number(100 * together)} %; goal: under {100 * GOAL:.0f} %."
    )


def main(arguments: Sequence[str] | None = None) -> Sequence[Mapping[str, float]]:
    """Print the table; the seconds of each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"write experiments/{NAME}.md")
    parser.add_argument("more", nargs="*", help="further options of the command, such as n=8")
    given = parser.parse_args(arguments)
    found = [measure(given.dataset, given.more) for _ in range(given.rounds)]
    about = (
        "What share of a job's processor time do the scores of each family of metrics take? "
        f"`xbench dataset={given.dataset} algorithm=fast metric=all {' '.join(given.more)}`".rstrip()
        + "."
    )
    command = f"python experiments/{NAME}.py --dataset {given.dataset} --rounds {given.rounds} {' '.join(given.more)}"
    finish(NAME, about, command.rstrip(), hardware(1), show(found), given.write)
    return found


if __name__ == "__main__":
    main()
