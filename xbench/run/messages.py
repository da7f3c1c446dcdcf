"""The messages between a worker process and the process that started it: tasks to the worker, messages back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xbench.run.result import CellResult


@dataclass(frozen=True)
class Task:
    """A cell to compute, or some samples of one.

    Attributes:
        config: the resolved config of the job.
        folder: the working directory for relative paths in it.
        beside: see `block.OpenJob`.
        block: number of the job's block.
        key: key of the cell.
        share: the samples; None: the whole block.
    """

    config: dict[str, Any]
    folder: str
    beside: int
    block: int
    key: str
    share: slice | None


@dataclass(frozen=True)
class Alive:
    """A heartbeat."""


@dataclass(frozen=True)
class Begun:
    """The job is open, and the task's cell is being computed."""


@dataclass(frozen=True)
class Advanced:
    """`done` of `of` rows of the task's cell are evaluated."""

    done: int
    of: int


@dataclass(frozen=True)
class Told:
    """A line for the user."""

    text: str


@dataclass(frozen=True)
class Answered:
    """The result of the task with this cell and these samples."""

    key: str
    share: slice | None
    result: CellResult


WorkerMessage = Alive | Begun | Advanced | Told | Answered
