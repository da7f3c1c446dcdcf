"""Differences of outputs, and how far maps are from them."""

import torch
from torch import Tensor, nn

N = 4
TARGET = [0, 2, 1, 2]


def difference(model: nn.Module, x: Tensor, x0: Tensor) -> Tensor:
    with torch.no_grad():
        return (model(x) - model(x0))[torch.arange(N), torch.tensor(TARGET)]


def error(maps: Tensor, wanted: Tensor) -> float:
    """Relative completeness error of the worst sample."""
    return float(((maps.detach().flatten(1).sum(1) - wanted) / wanted).abs().max())
