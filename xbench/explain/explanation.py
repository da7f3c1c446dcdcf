"""The explanation that a metric scores: the maps, and the function that explains again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from xbench.algorithms.base import Algorithm
from xbench.algorithms.external.external import External
from xbench.core.question import flat_maps
from xbench.explain.explainer import Explainer
from xbench.explain.problem import Inputs
from xbench.metrics.maps import Maps

Given = Inputs | tuple[Inputs, Algorithm] | Algorithm | Callable[..., object]


@dataclass(frozen=True)
class Explanation:
    """Maps of the explainer's samples, and the function that explains again.

    `again` is None for maps alone.
    """

    maps: Maps
    again: Algorithm | None

    @classmethod
    def of(cls, explanation: Given, explainer: Explainer) -> Explanation:
        """Build from any accepted form; maps of unknown origin count as global, one value per element."""
        if callable(explanation) and not isinstance(explanation, Algorithm):
            explanation = External(explanation)
        if isinstance(explanation, Algorithm):
            return cls.by(explanation, explainer.attribute(explanation), explainer)
        if isinstance(explanation, tuple) and isinstance(explanation[-1], Algorithm):
            made, algorithm = explanation
            return cls.by(algorithm, _flat(made, explainer), explainer)
        if isinstance(explanation, (Tensor, tuple, Mapping)):
            flat = _flat(cast(Inputs, explanation), explainer)
            return cls(Maps(flat, flat, local=False, stochastic=False), None)
        raise TypeError(
            "explanation: expected maps (a tensor, a tuple or a dict), an algorithm, or a callable "
            f"f(model, inputs, target), got {type(explanation).__name__}"
        )

    @classmethod
    def by(cls, algorithm: Algorithm, flat: Tensor, explainer: Explainer) -> Explanation:
        """Build from maps (n, d) of an algorithm."""
        facts = algorithm.facts
        density = algorithm.density(explainer.case(distribution=facts.distribution), flat)
        return cls(Maps(flat, density, facts.local, facts.stochastic), algorithm)


def _flat(maps: Inputs, explainer: Explainer) -> Tensor:
    maps = explainer.setting.in_order(maps, "explanation")
    return flat_maps(maps, explainer.subject.layout, explainer.x, "explanation")
