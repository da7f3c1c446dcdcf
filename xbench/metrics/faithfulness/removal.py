"""What the metrics of ordered removal share: their parameters, and the curves that they name alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.masking import require_features
from xbench.core.needs import Need, NotApplicable
from xbench.core.sites import Site
from xbench.metrics.base import Metric
from xbench.metrics.curves import EVEN, PredictionCurve, Regions, RemovalCurve
from xbench.metrics.imputers.base import Imputer
from xbench.metrics.imputers.known import imputer_of
from xbench.metrics.postprocess import Postprocess


@dataclass(frozen=True)
class CurveMetric(Metric):
    """Base of the metrics of removal curves: metrics with equal parameters share their curves.

    The output is the explained one: give `output=probability` where a paper's numbers are probabilities. What replaces
    a removed feature decides much: compare a ranking over several imputers before it is believed (Blücher et al. 2024,
    arXiv 2401.06654).

    Args:
        steps: how often features are removed; more than there are features add nothing.
        imputer: what stands in place of a removed feature: baseline, linear, interpolate, delete, or a baseline of the
            data set by name (zero, mean, blur, noise, uniform, train, mask, pad).
        even: the steps remove equal numbers of "features" or of "elements".
        sign: of the relevance: signed, absolute or positive.
        channels: how the elements of a feature become one number: sum, sum_abs, l2 or mean.
    """

    steps: int = 20
    imputer: Imputer | str = "baseline"
    even: str = "features"
    sign: str = "signed"
    channels: str = "sum"

    shown: ClassVar[str] = ""  # what the curve shows if it is not the output
    orders: ClassVar[tuple[str, ...]] = ("morf",)
    curve: ClassVar[type[RemovalCurve]] = RemovalCurve

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps: expected at least 1, got {self.steps}")
        if self.even not in EVEN:
            raise ValueError(f"even: expected one of {', '.join(EVEN)}, got {self.even!r}")
        imputer_of(self.imputer)
        Postprocess(self.sign, self.channels)

    @property
    def regions(self) -> Regions:
        """What is removed: None, the features; a number, squares of that side; "superpixels"."""
        return None

    @property
    def evidence(self) -> tuple[RemovalCurve, ...]:
        imputer, process = imputer_of(self.imputer), Postprocess(self.sign, self.channels)
        return tuple(self.curve(self.steps, order, imputer, self.even, process, self.regions) for order in self.orders)

    def curves(self, *found: Tensor) -> dict[str, Tensor]:
        return {self._curve(order): self.output(each) for order, each in zip(self.orders, found, strict=True)}

    def _curve(self, order: str) -> str:
        """What tells a curve from others: order, imputer, and what differs from the default."""
        imputer, process = imputer_of(self.imputer), Postprocess(self.sign, self.channels).label
        said = self.imputer if isinstance(self.imputer, str) else type(imputer).__name__
        parts = [
            {"morf": "most relevant first", "lerf": "least relevant first"}[order],
            f"imputer {said}",
            "" if self.regions is None else f"regions {self.regions}",
            "" if self.even == "features" else f"even in {self.even}",
            process,
            self.shown,
        ]
        return ", ".join(part for part in parts if part)

    def output(self, found: Tensor) -> Tensor:
        """What the curve shows, (n, steps + 1)."""
        return found

    def describe(self, case: Case) -> str:
        process = Postprocess(self.sign, self.channels).label
        called = case.called if self.regions is None else str(self.regions)
        called = f"squares of side {called}" if isinstance(self.regions, int) else called
        said = f"{called} {imputer_of(self.imputer).describe(case)}, {self.steps} steps"
        if self.even != "features":
            said += f" of equal numbers of {self.even}"
        return f"{said}; {process}" if process else said

    def check(self, case: Case) -> None:
        if self.regions is not None:
            _require_images(case, self.regions)
        require_features(case)
        imputer_of(self.imputer).check(case)
        if issubclass(self.curve, PredictionCurve) and len(case.places.layout(Site("")).shapes) != 1:
            raise NotApplicable("needs an output of one tensor, a number for each class")


class PredictionMetric(CurveMetric):
    """Base of the metrics of the predicted class, whichever output is explained: it is that of the whole sample."""

    curve = PredictionCurve
    shown = "share of predictions kept"
    needs = (Need.OUTPUTS,)

    def output(self, found: Tensor) -> Tensor:
        return self.kept(found)

    def kept(self, found: Tensor) -> Tensor:
        """Whether the class is still predicted, (n, steps + 1)."""
        return found[:, : self.steps + 1]

    def log_odds(self, found: Tensor) -> Tensor:
        """The logarithm of its odds, (n, steps + 1)."""
        return found[:, self.steps + 1 :]


def _require_images(case: Case, regions: Regions) -> None:
    shapes = case.layout.shapes
    if len(shapes) != 1 or len(shapes[0]) != 3 or case.channels_last:
        raise NotApplicable("needs images: it removes squares or superpixels")
    if isinstance(regions, int) and regions > min(shapes[0][-2:]):
        raise NotApplicable(f"needs images of at least {regions} pixels (side)")


def area(curve: Tensor) -> Tensor:
    """The area under a curve (n, steps + 1) over shares from 0 to 1, by the trapezoidal rule: (n,) float64."""
    return torch.trapezoid(curve.double(), dx=1 / (curve.shape[1] - 1), dim=1)
