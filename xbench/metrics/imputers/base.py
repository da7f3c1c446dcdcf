"""What stands in place of a removed feature, chosen by name: a baseline, or what the rest of the sample tells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import NotApplicable

Fill = Callable[[Tensor], Tensor]


class Imputer(ABC):
    """Base of all imputers: frozen dataclasses of settings."""

    @abstractmethod
    def fill(self, case: Case, x: Tensor) -> Fill:
        """Maps the removed elements, (n, d) bool, to the samples without them, (n, d); the others stay bit for bit."""

    @abstractmethod
    def describe(self, case: Case) -> str:
        """What becomes of a removed feature, for the note below a table."""

    def check(self, case: Case) -> None:  # noqa: B027  (most imputers suit every sample)
        """Raise NotApplicable, `needs ...`, where it has no meaning."""


@dataclass(frozen=True)
class Baseline(Imputer):
    """The sample's baseline."""

    def fill(self, case: Case, x: Tensor) -> Fill:
        x0 = case.baseline(x)
        return lambda removed: torch.where(removed, x0, x)

    def describe(self, case: Case) -> str:
        return "at the baseline"


BASELINE = Baseline()


@dataclass(frozen=True)
class NamedBaseline(Imputer):
    """A baseline of the data set, by its name in `baseline=`, whatever baseline the methods have.

    Args:
        name: zero, mean, blur, noise, uniform, train, mask or pad.
    """

    name: str

    def fill(self, case: Case, x: Tensor) -> Fill:
        x0 = self._values(case).expand_as(x)
        return lambda removed: torch.where(removed, x0, x)

    def describe(self, case: Case) -> str:
        return f"at the baseline {self.name}"

    def check(self, case: Case) -> None:
        self._values(case)

    def _values(self, case: Case) -> Tensor:
        if case.named_baseline is None:
            raise NotApplicable(
                f"needs a data set that has the baseline {self.name!r}: in Python pass it as `baselines`, and "
                "imputer='baseline'"
            )
        try:
            return case.named(self.name)
        except ValueError as error:
            raise NotApplicable(f"needs data that have the baseline {self.name!r}: {error}") from error
