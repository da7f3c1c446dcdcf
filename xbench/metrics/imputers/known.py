"""The imputers by name."""

from __future__ import annotations

from xbench.core.names import BASELINES
from xbench.metrics.imputers.base import Baseline, Imputer, NamedBaseline
from xbench.metrics.imputers.interpolation import Interpolation
from xbench.metrics.imputers.noisy_linear import NoisyLinear
from xbench.metrics.imputers.token_deletion import TokenDeletion

_OWN: dict[str, type[Imputer]] = {
    "baseline": Baseline,
    "linear": NoisyLinear,
    "interpolate": Interpolation,
    "delete": TokenDeletion,
}
IMPUTERS = (*_OWN, *BASELINES)


def imputer_of(given: Imputer | str) -> Imputer:
    """The imputer itself, or the one of that name. Raises ValueError for a name that is not known."""
    if isinstance(given, Imputer):
        return given
    if given in _OWN:
        return _OWN[given]()
    if given in BASELINES:
        return NamedBaseline(given)
    raise ValueError(f"imputer: expected one of {', '.join(IMPUTERS)}, got {given!r}")
