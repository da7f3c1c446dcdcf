"""What a run cost: rows through the model, peak memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counters:
    """Costs of one run.

    Attributes:
        forward_rows, backward_rows: rows (one example through the model once) as the plan asks for them.
        repeated_rows: rows evaluated again after an out-of-memory error, on top of those.
        peak_bytes: the most tensor memory alive during one evaluation, beyond the model and the data.
    """

    forward_rows: int = 0
    backward_rows: int = 0
    repeated_rows: int = 0
    peak_bytes: int = 0

    def count(self, rows: int, *, backward: bool) -> None:
        self.forward_rows += rows
        self.backward_rows += rows if backward else 0
