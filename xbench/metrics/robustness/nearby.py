"""Samples moved a little: the points that all metrics of robustness share, and what the model says there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.plan import Answer, Plan, Want
from xbench.core.sites import Place, Site
from xbench.metrics.evidence import Shared
from xbench.metrics.perturbations import Perturbation, Removal, require_continuous

TINY = 1e-6  # what an element of 0 counts as where changes are divided element by element


@dataclass(frozen=True)
class Nearby:
    """n_perturb_samples points near every sample. The settings are those of `NearbyMetric`.

    Elements outside any feature (padding) stay as they are. `perturbation` None: uniform noise. `order` is that of all
    norms.
    """

    perturb_radius: float
    n_perturb_samples: int
    order: float
    relative: bool
    perturbation: Perturbation | None

    def moved(self, case: Case, x: Tensor) -> Iterator[Tensor]:
        """The changed samples, (n, d), draw by draw."""
        if self.perturbation is not None:
            yield from (draw.perturbed for draw in self.perturbation.draws(case, x, self.n_perturb_samples))
            return
        require_continuous(case, "a small perturbation")
        radius = self.perturb_radius * (_reach(case, x) if self.relative else 1) * (case.features >= 0)
        for draw in range(self.n_perturb_samples):
            yield x + radius * (2 * case.draws.uniform("sensitivity", draw, x) - 1)

    def unmoved(self, case: Case, x: Tensor) -> Tensor:
        """(n,) bool: the samples that no draw changes, of which there is nothing to say."""
        if isinstance(self.perturbation, Removal):
            return torch.stack([(version == x).all(1) for version in self.moved(case, x)]).all(0)
        if self.relative and self.perturb_radius > 0:
            return (_reach(case, x) * (case.features >= 0) == 0).all(1)
        return torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def _plan(self, case: Case, x: Tensor, read: Place, reduce: Callable[[Iterator[Answer]], Tensor]) -> Plan:
        """The quantities read at the sample and at every draw."""
        return Plan(chain([x], self.moved(case, x)), 1 + self.n_perturb_samples, Want.ACTIVATION, reduce, read=read)

    def norm(self, values: Tensor) -> Tensor:
        """The norm of each row, (n,)."""
        norms: Tensor = torch.linalg.vector_norm(values, ord=self.order, dim=1)
        return norms

    def by_elements(self, change: Tensor, base: Tensor) -> Tensor:
        """The norm of the change divided element by element, (n,); an element of 0 counts as 1e-6."""
        return self.norm(change / torch.where(base == 0, TINY, base))


@dataclass(frozen=True)
class OutputsNearby(Nearby, Shared):
    """How far the model's whole output moves with every draw, and whether the predicted class becomes another.

    Gives (n, 3 * n_perturb_samples): ||h(x') - h(x)||, the same over ||h(x)||, and 1 where the largest output is
    another one. Outputs that are no vector of several classes have no prediction to lose.
    """

    def plan(self, case: Case, x: Tensor) -> Plan:
        read = case.places.output
        shape = case.places.layout(read).shapes[0]
        classes = len(shape) == 1 and shape[0] > 1

        def reduce(answers: Iterator[Answer]) -> Tensor:
            base = next(answers).level.double()
            found = []
            for answer in answers:
                other = answer.level.double()
                change = self.norm(other - base)
                lost = (other.argmax(1) != base.argmax(1)) & classes
                found.append(torch.stack([change, change / self.norm(base), lost.double()], dim=1))
            return torch.stack(found, dim=2).flatten(1)

        return self._plan(case, x, read, reduce)

    def outputs(self, found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The change, the relative change, and where the prediction stays (bool), (n, n_perturb_samples) each."""
        change, relative, lost = found.double().unflatten(1, (3, -1)).unbind(1)
        return change, relative, lost == 0


@dataclass(frozen=True)
class HiddenNearby(Nearby, Shared):
    """How far a hidden representation moves with every draw.

    Gives (n, 2 * n_perturb_samples): ||L(x') - L(x)|| / ||L(x)||, and the same element by element. `layer` None: what
    enters the last layer with weights.
    """

    layer: str | None

    def place(self, case: Case) -> Site:
        """Where it is read."""
        return case.places.last_hidden() if self.layer is None else Site.parse(self.layer)

    def plan(self, case: Case, x: Tensor) -> Plan:
        def reduce(answers: Iterator[Answer]) -> Tensor:
            base = next(answers).level.double()
            found = []
            for answer in answers:
                change = answer.level.double() - base
                found.append(torch.stack([self.norm(change) / self.norm(base), self.by_elements(change, base)], dim=1))
            return torch.stack(found, dim=2).flatten(1)

        return self._plan(case, x, self.place(case), reduce)


def _reach(case: Case, x: Tensor) -> Tensor:
    """The reference of a relative radius per element, (n, d)."""
    ranges = case.ranges(x)
    return torch.where(ranges > 0, ranges, x.abs())
