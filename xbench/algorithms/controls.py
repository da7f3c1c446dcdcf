"""Controls: maps that explain nothing, the opposite or what is known, as a reference for every score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts
from xbench.algorithms.input_x_gradient import InputXGradient
from xbench.algorithms.integrated_gradients import IntegratedGradients
from xbench.core.case import Case
from xbench.core.masking import value_dtype
from xbench.core.needs import Need, NotApplicable
from xbench.core.plan import Plan, Plans, Want, sequence


@dataclass(frozen=True)
class Random(Algorithm):
    """Standard normal numbers, keyed by the case's draws."""

    @property
    def facts(self) -> Facts:
        return Facts("Random", "control: standard normal noise", stochastic=True, control=True)

    def plan(self, case: Case, x: Tensor) -> Plan:
        like = x.to(value_dtype(x))
        return _map(case, case.draws.normal("random map", 0, like))


@dataclass(frozen=True)
class Constant(Algorithm):
    """The same number everywhere: perfectly robust, but not an explanation.

    Args:
        value: the number.
    """

    value: float = 1.0

    @property
    def facts(self) -> Facts:
        return Facts("Constant", "control: one number everywhere", control=True)

    def plan(self, case: Case, x: Tensor) -> Plan:
        return _map(case, torch.full(x.shape, self.value, dtype=value_dtype(x), device=x.device))


@dataclass(frozen=True)
class Inverse(Algorithm):
    """Another algorithm's map with the opposite sign, so that the least relevant feature comes first.

    The distance between the scores of a map and of its inverse is what the order of the features is worth; a random
    map stands between the two. Magnitudes stay, so metrics of these alone, such as sparseness, do not change.
    Source: Blücher, Vielhaben, Strodthoff 2024 compare both orders (arXiv 2401.06654); the quality gap of a map and
    its inverse is Eiras-Franco, Hedström, Höhne 2025, "Evaluate with the Inverse" (arXiv 2502.15403).

    Args:
        of: the algorithm whose maps are inverted.
    """

    of: Algorithm = field(default_factory=InputXGradient)

    def __post_init__(self) -> None:
        if not isinstance(self.of, Algorithm):
            raise TypeError(f"of: expected an algorithm to invert, got {type(self.of).__name__}")

    @property
    def facts(self) -> Facts:
        inner = self.of.facts
        citation = f"control: the opposite of {inner.label}; {inner.citation}"
        return replace(
            inner, label=f"Inverse ({inner.label})", citation=citation, complete=False, control=True, answer=""
        )

    def check(self, case: Case) -> None:
        self.of.check(case)

    def density(self, case: Case, maps: Tensor) -> Tensor:
        return self.of.density(case, maps)

    def plan(self, case: Case, x: Tensor) -> Plans:
        def plans() -> Iterator[Plans]:
            yield self.of.plan(case, x)

        return sequence(plans(), 1, lambda maps: -next(maps))


@dataclass(frozen=True)
class Edges(Algorithm):
    """The strength of the edges of the image itself: it looks at no model.

        (1/8) |(K * x, K^T * x)|   per channel, with K the Sobel kernel and the border repeated

    A method that scores no better has shown the image, not the model.
    Source: Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, "Sanity Checks for Saliency Maps"
    (arXiv 1810.03292), where an edge detector is what saliency maps are compared with.
    """

    @property
    def facts(self) -> Facts:
        needs = (Need.NUMBERS, Need.IMAGES)
        return Facts("Edges", "control: the gradient magnitude of the image (Sobel)", needs=needs, control=True)

    def plan(self, case: Case, x: Tensor) -> Plan:
        return _map(case, case.layout.flatten([_edges(image) for image in case.layout.unflatten(x)]))


def _edges(images: Tensor) -> Tensor:
    """The gradient's magnitude in the last two dimensions, of the same shape."""
    *_, height, width = images.shape
    planes = torch.nn.functional.pad(images.reshape(-1, 1, height, width), (1, 1, 1, 1), mode="replicate")
    smooth, slope = images.new_tensor([1.0, 2.0, 1.0]) / 4, images.new_tensor([-1.0, 0.0, 1.0]) / 2
    across, down = (
        torch.nn.functional.conv2d(planes, torch.outer(a, b)[None, None]) for a, b in ((smooth, slope), (slope, smooth))
    )
    # Not the square root of a sum, whose squares leave the range of half precision.
    return torch.hypot(across, down).reshape(images.shape)


@dataclass(frozen=True)
class TrueMap(Algorithm):
    """One where the evidence is known to lie, zero elsewhere: the ceiling of localisation, and a good map elsewhere.

    It says where, not how much: a known function may weigh its columns, which this map does not tell. The evidence
    is the label's, so explain it with `target=label`.
    """

    @property
    def facts(self) -> Facts:
        return Facts("True map", "control: the mask of the data set", needs=(Need.TRUTH,), control=True, answer="mask")

    def plan(self, case: Case, x: Tensor) -> Plan:
        truth = case.truth
        assert truth is not None, "only asked where the evidence is known"
        evidence = truth.evidence & truth.inside
        return _map(case, evidence[:, truth.cells].to(value_dtype(x)))


@dataclass(frozen=True)
class ExactMap(Algorithm):
    """The exact attribution of a function that is written down, not learnt: the ceiling where amounts are known.

        W_cj (x_j - x0_j)     of the linear function of `planted_linear`
        w x_i x_j / 2         of each column of a pair, of `planted_interaction` at baseline 0

    Integrated Gradients, whose rule integrates the straight slopes of both exactly; Shapley values are the same numbers
    for 2^K evaluations.
    """

    @property
    def facts(self) -> Facts:
        about = "control: the attribution in closed form, by Integrated Gradients"
        return Facts("Exact map", about, needs=(Need.GRADIENT,), complete=True, control=True, answer="exact")

    def check(self, case: Case) -> None:
        if case.planted is None:
            raise NotApplicable("needs a function whose attribution is known: dataset=planted_linear model=known")

    def plan(self, case: Case, x: Tensor) -> Plans:
        return IntegratedGradients(n_steps=2).plan(case, x)


def _map(case: Case, values: Tensor) -> Plan:
    """A plan without evaluations; the map is zero outside any feature, so that padding does not count."""
    return Plan([], 0, Want.VALUE, lambda _: torch.where(case.features >= 0, values, torch.zeros_like(values)))
