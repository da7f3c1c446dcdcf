"""The main job on the models and data of `tests.lab`: running the command, and reading its tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

BUSY = ", up to 1 other workers busy"  # after how often a cell was timed, which follows from how long it takes
COSTS = ["runtime", "peak_memory"]  # differ between runs
Run = Callable[..., int]


def write_lab(conf: Path) -> None:
    for group in ("dataset", "model"):
        (conf / group).mkdir(parents=True)
    (conf / "dataset" / "blobs.yaml").write_text(
        "defaults: [{override /model@_global_.model: net}, _self_]\n_target_: tests.lab.Blobs\nn: 8\nempty: false\n"
    )
    (conf / "model" / "net.yaml").write_text(
        "_target_: xbench.models.custom.Custom\nname: net\nmodule: {_target_: tests.lab.Net, _partial_: true, "
        "fault: none}\n"
    )


def blobs(run: Run, *arguments: str) -> int:
    return run("--config-dir", "conf", "dataset=blobs", "display=none", *arguments)


def table(name: str = "latest", reports: str = "reports") -> pd.DataFrame:
    """The summary of a report, without what differs between runs."""
    frame = pd.read_csv(Path(reports) / name / "tables" / "summary.csv")
    return frame[~frame["metric"].isin(COSTS)].reset_index(drop=True)


def numbers(name: str) -> pd.DataFrame:
    """Every score of every sample, without what differs between runs."""
    frame = pd.read_parquet(Path("reports") / name / "tables" / "scores.parquet")
    return frame[~frame["metric"].isin(COSTS)].reset_index(drop=True)


def cells(name: str = "latest") -> pd.DataFrame:
    return pd.read_csv(Path("reports") / name / "tables" / "cells.csv")


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Equal but for float32 rounding, which follows the rows that a run found fastest."""
    pd.testing.assert_frame_equal(left, right, rtol=1e-3, atol=1e-5)
