"""Plans the cells of a job from its names, in order. Pure: no torch, no Hydra, no files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xbench.store.records import TableKind

Entry = dict[str, Any]  # a cell in a manifest
OK = ("ok", "reused")
NOT_FAILED = ("ok", "reused", "skipped", "planned")


@dataclass(frozen=True)
class PlannedCell:
    """One cell before its samples are known: the runner cuts it into blocks and gives every block a key."""

    kind: TableKind
    model: str
    dataset: str
    algorithm: str | None = None
    metric: str | None = None
    control: bool = False
    skip_reason: str | None = None  # the reason why it is skipped; None: it is computed

    @property
    def label(self) -> str:
        """The name in progress lines: "ig infidelity on digits/cnn"."""
        what = " ".join(part for part in (self.algorithm or "samples", self.metric) if part)
        return f"{what} on {self.dataset}/{self.model}"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: its manifest entries with their final status, in the order of its cells.

    An entry has key, kind, model, dataset, algorithm, metric, samples, status and reason, where status is ok,
    reused, skipped, planned (not reached), or a failure: error, oom, timeout, crashed, nonfinite.
    `notes` are remarks for a reader of the job's numbers.
    """

    cells: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False
    error: str | None = None  # the job itself failed, for example its model cannot be loaded
    notes: list[str] = field(default_factory=list)
    refused: str | None = None  # why it did not begin: its data, model or settings are absent or do not fit


def cells(
    model: str,
    dataset: str,
    algorithms: Sequence[str],
    metrics: Sequence[str],
    *,
    controls: Sequence[str] = (),
    skip: Mapping[str | tuple[str, str], str] | None = None,
) -> tuple[PlannedCell, ...]:
    """The cells of one model on one dataset: its samples, then per algorithm an attribution and its scores.

    `skip` maps an algorithm, or an (algorithm, metric) pair, to the reason why it cannot be computed here;
    the scores of a skipped attribution are skipped for the same reason.
    """
    reasons = skip or {}
    found = [PlannedCell("samples", model, dataset)]
    for algorithm in algorithms:
        control, reason = algorithm in controls, reasons.get(algorithm)
        found.append(PlannedCell("attribution", model, dataset, algorithm, None, control, reason))
        for metric in metrics:
            because = reason or reasons.get((algorithm, metric))
            found.append(PlannedCell("score", model, dataset, algorithm, metric, control, because))
    return tuple(found)


def of_config(cfg: Mapping[str, Any]) -> tuple[PlannedCell, ...]:
    """The cells of a settled job config, named as on the command line (loaded models may name themselves)."""
    names = [str(name) for name in cfg["algorithm"]]
    controls = [str(name) for name in cfg["control"]]
    choice = cfg["choice"]
    return cells(choice["model"], choice["dataset"], names, [str(m) for m in cfg["metric"]], controls=controls)
