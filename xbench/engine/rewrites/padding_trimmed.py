"""Trims padding: rows pass the model at the length of the longest of them, not of the longest sample.

The engine sends rows of similar length together. Gradients at trimmed padding are 0, as for a model that ignores
padding; the trial detects a model that does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from xbench.boundary.attempt import words
from xbench.core.layout import Layout
from xbench.core.plan import Answer, Rule, Want
from xbench.engine.memory import is_out_of_memory
from xbench.engine.subject import Subject, follows

NAME = "padding left out"  # the name in notes
_SAID = 120  # maximum characters of the model's error in notes


@dataclass(frozen=True)
class Trimmed(Subject):
    """A subject that trims the padding beyond the longest row of each evaluation.

    Attributes:
        too_short: lengths that the model refused -> its error; rows of these lengths keep their padding.
    """

    too_short: dict[int, str] = field(default_factory=dict)

    def evaluate(self, flat: Tensor, samples: Tensor, want: Want, rule: Rule | None = None) -> Answer:
        """See `Subject.evaluate`."""
        assert self.padded is not None
        length = self._length(samples)
        if length == self.padded.width:
            return super().evaluate(flat, samples, want, rule)
        sizes, short = self.layout.sizes, self._cut(length)
        kept = short.layout.sizes  # positions come first, so the trimmed part is the end of each tensor's elements
        points = [part[:, :size] for part, size in zip(flat.split(sizes, 1), kept, strict=True)]
        try:
            answer = short.evaluate(torch.cat(points, 1), samples, want, rule)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            answer = super().evaluate(flat, samples, want, rule)  # too short, or failing anyway
            self.too_short[length] = words(error)
            return answer
        if answer.gradient is not None:
            slopes = zip(answer.gradient.split(kept, 1), sizes, strict=True)
            answer = replace(answer, gradient=torch.cat([pad(g, (0, size - g.shape[1])) for g, size in slopes], 1))
        return replace(answer, activation=flat if Want.ACTIVATION in want else None)

    def filled(self, samples: Tensor) -> float:
        """See `Subject.filled`."""
        assert self.padded is not None
        return self._length(samples) / self.padded.width

    def remarks(self) -> Mapping[str, str]:
        """See `Subject.remarks`."""
        if not self.too_short:
            return {}
        length = max(self.too_short)
        said = " ".join(self.too_short[length].split())[:_SAID]
        return {NAME: f"used, but not for rows of up to {length} positions: {said}"}

    def _length(self, samples: Tensor) -> int:
        """The length at which these rows pass the model."""
        assert self.padded is not None
        longest = self.padded.longest(samples)
        return longest if longest > max(self.too_short, default=0) else self.padded.width

    @property
    def cuts(self) -> Sequence[bool]:
        """For each tensor where points enter, whether its first dimension is the padded positions."""
        assert self.padded is not None
        if self.inject is None:
            return [index == self.padded.input for index in range(len(self.layout.shapes))]
        return [shape[:1] == (self.padded.width,) for shape in self.layout.shapes]

    def _cut(self, length: int) -> Subject:
        """The plain subject with all padded tensors cut to `length` positions."""
        padded = self.padded
        assert padded is not None

        def rider(value: object) -> object:
            has_positions = follows(value, self.n) and value.shape[1:2] == (padded.width,)
            return value[:, :length] if has_positions else value  # type: ignore[index]

        shapes = [
            torch.Size((length, *shape[1:])) if cut else shape
            for shape, cut in zip(self.layout.shapes, self.cuts, strict=True)
        ]
        layout = Layout(tuple(shapes), self.layout.dtypes)
        same = {field.name: getattr(self, field.name) for field in fields(Subject)}
        inputs = tuple(t[:, :length] if i == padded.input else t for i, t in enumerate(self.inputs))
        kwargs = {name: rider(value) for name, value in self.kwargs.items()}
        return Subject(
            **same | {
                "inputs": inputs, "extra": tuple(map(rider, self.extra)), "kwargs": kwargs,
                "layout": layout, "read_layout": layout, "padded": None,
            }
        )  # fmt: skip


def trimmed(subject: Subject, samples: Tensor, rule: Rule | None) -> list[Subject]:
    """The subject without padding; empty if that is not possible."""
    padded = subject.padded
    elsewhere = subject.read is not None or subject.second is not None or subject.readout.neuron is not None
    if padded is None or elsewhere or subject.create_graph or bool((padded.lengths == padded.width).all()):
        return []
    made = Trimmed(**{field.name: getattr(subject, field.name) for field in fields(Subject)})
    return [made] if any(made.cuts) else []
