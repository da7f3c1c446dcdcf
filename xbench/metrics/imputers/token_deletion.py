"""Deletion of tokens: the words that are left close up."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import NotApplicable
from xbench.metrics.imputers.base import Fill, Imputer, NamedBaseline


@dataclass(frozen=True)
class TokenDeletion(Imputer):
    """The tokens that are left move together, and padding follows them.

    Points must enter as token ids, and the model must tell padding by its id: at an embedding the length of a text is
    settled before, and tokens can be masked only.
    """

    def describe(self, case: Case) -> str:
        return "deleted"

    def check(self, case: Case) -> None:
        shapes = case.layout.shapes
        if case.site is not None or case.layout.differentiable or len(shapes) != 1 or len(shapes[0]) != 1:
            raise NotApplicable("needs token ids where points enter: imputer=delete shortens the text itself")
        NamedBaseline("pad").check(case)

    def fill(self, case: Case, x: Tensor) -> Fill:
        self.check(case)
        padded = NamedBaseline("pad").fill(case, x)

        def filled(removed: Tensor) -> Tensor:
            order = removed.to(x.dtype).sort(dim=1, stable=True).indices  # the words that are left first, in order
            return padded(removed).gather(1, order)

        return filled
