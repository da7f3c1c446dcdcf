"""The rules of linear layers: how the relevance of z = f(x, w) + b is distributed among the elements of x.

Bach et al., "On Pixel-wise Explanations for Non-Linear Classifier Decisions by Layer-wise Relevance Propagation",
PLOS ONE 10(7), 2015 (epsilon, alpha-beta); Montavon et al., "Explaining NonLinear Classification Decisions with Deep
Taylor Decomposition", arXiv 1512.02479 (z-plus, z-box, w-square); Montavon et al., "Layer-Wise Relevance
Propagation: An Overview", 2019 (gamma); Andéol et al., "Learning Domain Invariant Representations by Joint
Wasserstein Distance Minimization", arXiv 2106.04923 (gamma for inputs of both signs); Lapuschkin et al., "Unmasking
Clever Hans Predictors", arXiv 1902.10178 (flat).

Below, a+ = max(a, 0) and a- = min(a, 0). A stabiliser of the same sign moves denominators away from zero.
Names, defaults and signs are zennit's. With `bias` False the bias takes no share of the relevance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from xbench.rules.lrp.layers import Layer, divide


@dataclass(frozen=True)
class LayerRule(ABC):
    """Base of the rules: a frozen dataclass of numbers."""

    bias: bool = field(default=True, kw_only=True)

    @abstractmethod
    def relevance(self, layer: Layer, x: Tensor, relevance: Tensor) -> Tensor:
        """The relevance of `x`, given the relevance of the layer's output."""

    def offset(self, layer: Layer) -> Tensor | None:
        """The bias; None if it takes no share."""
        return layer.bias if self.bias else None


def _signed(
    layer: Layer, x: Tensor, positive: Tensor, negative: Tensor, bias: Tensor | None, relevance: Tensor, eps: float
) -> Tensor:
    """Distribute the relevance of z = f(x+, positive) + f(x-, negative) + bias among x+ and x-."""
    parts = [layer.part(x.clamp(min=0), positive, bias)]
    if bool((x < 0).any()):  # after a ReLU there are none, which halves the work
        parts.append(layer.part(x.clamp(max=0), negative))
    factor = divide(relevance, sum((part.total for part in parts[1:]), parts[0].total), eps)
    return sum((part.share(factor) for part in parts[1:]), parts[0].share(factor))


@dataclass(frozen=True)
class Epsilon(LayerRule):
    """R_i = sum_j x_i w_ij / z_j R_j; LRP-0 with epsilon 0."""

    epsilon: float = 1e-6

    def relevance(self, layer: Layer, x: Tensor, relevance: Tensor) -> Tensor:
        part = layer.part(x, layer.weight, self.offset(layer))
        return part.share(divide(relevance, part.total, self.epsilon))


@dataclass(frozen=True)
class ZPlus(LayerRule):
    """R_i = sum_j (x_i w_ij)+ / sum_k (x_k w_kj)+ R_j; alpha-beta with alpha 1, beta 0."""

    stabilizer: float = 1e-6

    def relevance(self, layer: Layer, x: Tensor, relevance: Tensor) -> Tensor:
        w, b = layer.weight, self.offset(layer)
        up = None if b is None else b.clamp(min=0)
        return _signed(layer, x, w.clamp(min=0), w.clamp(max=0), up, relevance, self.stabilizer)


@dataclass(frozen=True)
class AlphaBeta(LayerRule):
    """R_i = sum_j (alpha (x_i w_ij)+ / sum_k (x_k w_kj)+ - beta (x_i w_ij)- / sum_k (x_k w_kj)-) R_j."""

    alpha: float = 2.0
    beta: float = 1.0
    stabilizer: float = 1e-6

    def __post_init__(self) -> None:
        if self.beta < 0 or abs(self.alpha - self.beta - 1) > 1e-9:
            raise ValueError(f"alpha - beta must be 1 and beta >= 0, got alpha {self.alpha} and beta {self.beta}")

    def relevance(self, layer: Layer, x: Tensor, relevance: Tensor) -> Tensor:
        w, b = layer.weight, self.offset(layer)
        up, down = w.clamp(min=0), w.clamp(max=0)
        b_up, b_down = (None, None) if b is None else (b.clamp(min=0), b.clamp(max=0))
        excite = _signed(layer, x, up, down, b_up, relevance, self.stabilizer)
        if self.beta == 0:
            return self.alpha * excite
        return self.alpha * excite - self.beta * _signed(layer, x, down, up, b_down, relevance, self.stabilizer)


@dataclass(frozen=True)
class Gamma(LayerRule):
    """R_i = sum_j (x_i w_ij + gamma (x_i w_ij)s) / (the sum of these over i) R_j, s the sign of z_j.

    Weights that agree in sign with the output count 1 + gamma times. For x >= 0 this is the rule of Montavon et al.
    """

    gamma: float = 0.25
    stabilizer: float = 1e-6

    def relevance(self, layer: Layer, x: Tensor, relevance: Tensor) -> Tensor:
        w, b = layer.weight, self.offset(layer)
        up, down = w + self.gamma * w.clamp(min=0), w + self.gamma * w.clamp(max=0)
        b_up, b_down = (None, None)
        if b is not None:
            b_up, b_down = b + self.gamma * b.clamp(min=0), b + self.gamma * b.clamp(max=0)
        with torch.no_grad():
            z = layer.function(x, w) if layer.bias is None else layer.function(x, w) + layer.bias
        active, inactive = relevance * (z > 0), relevance * (z < 0)
        shares = _signed(layer, x, up, down, b_up, active, self.stabilizer)
        if bool(inactive.any()):  # outputs before a ReLU that have no relevance
            shares = shares + _signed(layer, x, down, up, b_down, inactive, self.stabilizer)
        return shares


@dataclass(frozen=True)
class ZBox(LayerRule):
    """R_i = sum_j (x_i w_ij - low_i w_ij+ - high_i w_ij-) / (the sum of these over i) R_j, for inputs in a box.

    low, high: one number for all elements, or one per channel (dimension 1); None: the minimum and maximum of each
        sample at the layer's input
    """

    low: float | tuple[float, ...] | None = None
    high: float | tuple[float, ...] | None = None
    stabilizer: float = 1e-6

    def relevance(self, layer: Layer, x: Tensor, relevance: Tensor) -> Tensor:
        w = layer.weight
        rest = tuple(range(1, x.ndim))
        low, high = _bound(self.low, x, x.amin(rest, True)), _bound(self.high, x, x.amax(rest, True))
        x_part, low_part, high_part = (
            layer.part(x, w), layer.part(low, w.clamp(min=0)), layer.part(high, w.clamp(max=0))
        )  # fmt: skip
        factor = divide(relevance, x_part.total - low_part.total - high_part.total, self.stabilizer)
        return x_part.share(factor) - low_part.share(factor) - high_part.share(factor)


def _bound(given: float | tuple[float, ...] | None, x: Tensor, own: Tensor) -> Tensor:
    if given is None:
        return own.expand_as(x)
    bound = x.new_tensor(given)
    return (bound.view(-1, *[1] * (x.ndim - 2)) if bound.ndim else bound).expand_as(x)


@dataclass(frozen=True)
class WSquare(LayerRule):
    """R_i = sum_j w_ij^2 / (sum_k w_kj^2 + b_j^2) R_j, for inputs without bounds."""

    stabilizer: float = 1e-6

    def relevance(self, layer: Layer, x: Tensor, relevance: Tensor) -> Tensor:
        b = self.offset(layer)
        part = layer.part(torch.ones_like(x), layer.weight**2, None if b is None else b**2)
        return part.share(divide(relevance, part.total, self.stabilizer))


@dataclass(frozen=True)
class Flat(LayerRule):
    """R_i = sum_j R_j / (number of inputs of j): every input that reaches an output has the same share."""

    stabilizer: float = 1e-6

    def relevance(self, layer: Layer, x: Tensor, relevance: Tensor) -> Tensor:
        part = layer.part(torch.ones_like(x), torch.ones_like(layer.weight))
        return part.share(divide(relevance, part.total, self.stabilizer))


@dataclass(frozen=True)
class Identity(LayerRule):
    """R_i = R_i of the output, for layers that keep the shape."""

    def relevance(self, layer: Layer, x: Tensor, relevance: Tensor) -> Tensor:
        if relevance.shape != x.shape:
            shapes = f"{tuple(x.shape)} to {tuple(relevance.shape)}"
            raise ValueError(f"the identity rule needs a layer that keeps the shape, got {shapes}")
        return relevance
