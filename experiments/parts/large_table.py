"""A made store of scores, and what its tables and report take: seconds, and the peak memory of a process without torch.

python -m experiments.parts.large_table 500 40 30
"""

from __future__ import annotations

import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from xbench.report import write as write_report
from xbench.store.store import Store, cell_key
from xbench.tables import pairwise, tables
from xbench.tables.columns import found as columns_of
from xbench.tables.comparison import called
from xbench.tables.outcomes import resolve


def peak() -> float:
    """The most MiB that this process has held; NaN where the system does not say (getrusage counts the parent in)."""
    status = Path("/proc/self/status")
    held = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(held[1]) / 1024 if held else math.nan


def speed(folder: Path, samples: int, methods: int, metrics: int) -> list[tuple[str, float, float]]:
    """Stage, seconds, and the peak of the process in MiB after it, of a made store."""
    store, manifest = made(folder, samples, methods, metrics)
    stages = []

    def timed(name: str, work: Callable[[], object]) -> object:
        start = time.perf_counter()
        result = work()
        stages.append((name, time.perf_counter() - start, peak()))
        return result

    built = timed("all tables", lambda: tables.build(store, manifest))
    assert isinstance(built, tables.Tables)
    cells = resolve(store, manifest)
    columns, controls = columns_of(cells), called(cells)[1]
    timed("of these, every two methods", lambda: pairwise.build(built.scores, columns, controls))
    page = timed("report with its files", lambda: write_report(store, manifest, folder / "report", built=built))
    assert isinstance(page, Path)
    stages.append(("size of the page", math.nan, page.stat().st_size / 2**20))
    return stages


def made(folder: Path, samples: int, methods: int, metrics: int) -> tuple[Store, dict[str, object]]:
    """A store of made scores: log-normal, with a level per method and a common part per sample."""
    store, random = Store(folder / "results"), np.random.default_rng(0)
    environment = store.save_environment({"hardware": {}, "packages": {}})
    ids = [f"test-{index:05d}" for index in range(samples)]
    families = ("faithfulness", "robustness", "randomisation", "complexity", "axiomatic")
    planned = []
    for metric in [None, *range(metrics)]:
        common = random.normal(size=samples)
        for method in range(methods):
            kind = "attribution" if metric is None else "score"
            names = {"kind": kind, "model": "made", "dataset": "scores", "algorithm": f"method_{method}"}
            names["metric"] = None if metric is None else f"metric_{metric}"
            record = names | {"key": cell_key(names), "identity": names, "status": "ok", "reason": None, "samples": ids}
            values = np.exp(common + random.normal(size=samples) + method / methods)
            name = names["metric"] or "runtime"
            facts = {"direction": "lower", "unit": ""} | ({} if metric is None else {"family": families[metric % 5]})
            record |= {"columns": {name: facts}, "values": {name: values.tolist()}, "seconds": 0.1, "counters": {}}
            store.save(record | {"environment": environment, "info": {}})
            planned.append(names | {"key": record["key"], "samples": samples, "status": "planned", "reason": None})
    manifest = {"name": "made", "created": "", "command": [], "config": {}, "cells": planned, "n": samples, "seed": 0}
    return store, manifest


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made_in:
        print(json.dumps(speed(Path(made_in), *map(int, sys.argv[1:]))))
