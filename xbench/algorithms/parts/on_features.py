"""The base of algorithms that give every feature one value, with a warning about too few evaluations."""

from __future__ import annotations

import warnings

from torch import Tensor

from xbench.algorithms.base import Algorithm
from xbench.core.case import Case
from xbench.core.masking import require_features


def warn_undetermined(label: str, n_samples: int, case: Case) -> None:
    """Warn if a linear fit has fewer evaluations than its K + 1 unknowns."""
    k = int(case.counts.max())
    if n_samples <= k:
        warnings.warn(
            f"{label}: n_samples={n_samples} evaluations leave the values of {k} features open, and those of least "
            f"norm are taken; give n_samples={k + 1} or more, or group the features (`features`)",
            stacklevel=3,
        )


class OnFeatures(Algorithm):
    """Base of algorithms in which every element carries the value of its feature."""

    def check(self, case: Case) -> None:
        require_features(case)

    def density(self, case: Case, maps: Tensor) -> Tensor:
        if self.facts.per_feature:
            raise ValueError("return_input_shape=False gives values of features; a metric needs a map of the input")
        return maps / case.feature_sizes(maps)
