"""Input invariance: does the map stay when inputs are shifted and the model undoes it?"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xbench.core.case import Case
from xbench.core.needs import Need, NotApplicable
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.evidence import Change, Changed, Explained
from xbench.metrics.maps import Maps
from xbench.metrics.randomisation.similarity import compared


@dataclass(frozen=True)
class InputShift(Changed):
    """||phi'(x + shift) - phi(x)|| / ||phi(x)||, (n, 1): phi' explains the model that takes the shift away again.

    It does so in the bias of its first layer, or behind a convolution whose padding sees no shift. Baselines stay.
    """

    shift: float

    def changes(self, case: Case, explained: Explained) -> Iterator[Change]:
        site, added = case.places.shift(self.shift)
        model = copy.deepcopy(explained.model)
        _take_away(site.module(model), added)
        yield Change(model=model, shift=self.shift)

    def reduce(self, case: Case, maps: Maps, others: Iterator[Tensor]) -> Tensor:
        own = compared(case, maps.values)
        base, other = (values.double().masked_fill(~own, 0) for values in (maps.values, next(others)))
        norm = base.norm(dim=1)
        return torch.where(norm > 0, (other - base).norm(dim=1) / norm, torch.nan)[:, None]


@dataclass(frozen=True)
class InputInvariance(Metric):
    """Relative change of the map when every input is shifted by a constant and the first layer undoes that.

    The two models are the same function of the two versions of a sample, so the map should be the same: 0. NaN for a
    map of zeros. It is skipped where points enter at a layer, and where something else than the first layer sees the
    input.
    Pitfall: methods with a baseline fail only because the baseline is not shifted: the test asks whether it belongs to
    the data, not whether a map is right; and a map that ignores the model passes.
    Source: Kindermans, Hooker, Adebayo, Alber, Schütt, Dähne, Erhan, Kim 2017, "The (Un)reliability of Saliency
    Methods" (arXiv 1711.00867), with the size of the change in place of a look at the maps.

    Args:
        shift: the constant, in the units of the inputs; -1 in the paper.
    """

    shift: float = -1.0

    def __post_init__(self) -> None:
        if not self.shift or self.shift != self.shift:
            raise ValueError(f"shift: expected a number other than 0, got {self.shift}")

    @property
    def facts(self) -> MetricFacts:
        column = Column(
            "lower", label="Input invariance", short="invariance", low=0,
            meaning="Relative change of the map when inputs are shifted and the model undoes that: 0 is invariant.",
        )  # fmt: skip
        source = (
            "Kindermans, Hooker, Adebayo, Alber, Schütt, Dähne, Erhan, Kim 2017, The (Un)reliability of Saliency "
            "Methods, arXiv 1711.00867"
        )
        needs = (Need.NUMBERS, Need.MODULE)
        columns = {"input_invariance": column}
        return MetricFacts("Input invariance", source, columns, "randomisation", needs, anywhere=True)

    @property
    def evidence(self) -> tuple[InputShift]:
        return (InputShift(self.shift),)

    def describe(self, case: Case) -> str:
        return f"inputs shifted by {self.shift:g}"

    def check(self, case: Case) -> None:
        if case.site is not None:
            raise NotApplicable(f"needs points that enter at the input: here they enter at {case.site}")
        case.places.shift(self.shift)

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        return {"input_invariance": found[0].double()[:, 0]}


@torch.no_grad()
def _take_away(layer: nn.Module, added: Tensor) -> None:
    """Make a layer give so much less, by its bias where that is the same at all positions."""
    channels = added.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1)
    if torch.allclose(channels, channels[:, :1], rtol=1e-5, atol=0):
        bias = layer.bias if isinstance(layer.bias, Tensor) else torch.zeros_like(channels[:, 0])
        layer.bias = nn.Parameter(bias - channels[:, 0], requires_grad=False)
    else:
        layer.register_forward_hook(lambda _layer, _args, output: output - added)
