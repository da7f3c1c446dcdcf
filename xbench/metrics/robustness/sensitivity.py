"""The base of the two sensitivities: relative changes of the map for changed samples, and for unchanged ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.metrics.evidence import Evidence
from xbench.metrics.maps import Maps
from xbench.metrics.robustness.reexplained import NearbyMetric, Redrawn


@dataclass(frozen=True)
class SensitivityMetric(NearbyMetric):
    """Base of the sensitivities. The other parameters are those of `NearbyMetric`.

    Args:
        floor: measure the floor too, which doubles the explanations of stochastic methods; False: no such column.
    """

    floor: bool = True

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        still = (Redrawn(self.n_perturb_samples, self.order),) if self.floor else ()
        return (self.reexplained, *still)

    def relative_changes(self, case: Case, x: Tensor, maps: Maps, found: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The changes over the map's norm, (n, n_perturb_samples): of moved samples, and with `floor` drawn anew.

        NaN where the map has no norm, and where no draw moves the sample.
        """
        moved, *still = (self.relative_to_map(case, maps, each) for each in self._norms(found))
        return (moved.masked_fill(self.reexplained.unmoved(case, x)[:, None], torch.nan), *still)

    def _norms(self, found: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        moved, *still = found
        return (self.reexplained.changes(moved).maps, *(each.double() for each in still))
