"""The costs of a run: rows through the model, peak memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Counters:
    """Costs of one run.

    Attributes:
        forward_rows, backward_rows: rows (one example through the model once) that the plan asks for, including rows
            that are not sent because their answer is known.
        repeated_rows: additional rows evaluated again after an out-of-memory error.
        notes: diagnostics that adaptive algorithms report per sample, (n,) each: steps used, error reached.
        rewrites: how the trial of each rewrite of the model ended, "used" or "dropped: ..."; see `engine.rewrites`.
        peak_bytes: peak tensor memory during one evaluation, without the model and the data.
    """

    forward_rows: int = 0
    backward_rows: int = 0
    repeated_rows: int = 0
    peak_bytes: int = 0
    notes: dict[str, Tensor] = field(default_factory=dict)
    rewrites: dict[str, str] = field(default_factory=dict)

    def count(self, rows: int, *, backward: bool) -> None:
        self.forward_rows += rows
        self.backward_rows += rows if backward else 0

    def add(self, other: Counters) -> None:
        """Add the costs of a run that belongs to this one."""
        self.forward_rows += other.forward_rows
        self.backward_rows += other.backward_rows
        self.repeated_rows += other.repeated_rows
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)

    def note(self, notes: dict[str, Tensor]) -> None:
        """Append the notes of the next slice of samples."""
        for name, values in notes.items():
            before = [self.notes[name]] if name in self.notes else []
            self.notes[name] = torch.cat([*before, values])
