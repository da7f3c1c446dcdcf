"""Networks for tables: a linear model, and a network with hidden layers."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class Standardised(nn.Module):
    """Columns (n, d) in their own units -> outputs; the module standardises with the statistics from `calibrate`.

    Baselines are therefore in the columns' own units, and a regression's output is in the target's unit.
    """

    modality: ClassVar[str] = "tabular"
    mean: Tensor
    scale: Tensor
    output_mean: Tensor
    output_scale: Tensor

    def __init__(self, width: int, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("output_mean", torch.zeros(()))
        self.register_buffer("output_scale", torch.ones(()))

    def calibrate(self, inputs: Tensor, targets: Tensor) -> None:
        """Compute the statistics of the training rows; constant columns and class targets are not scaled."""
        spread = inputs.std(0)
        self.mean.copy_(inputs.mean(0))
        self.scale.copy_(torch.where(spread > 0, spread, 1))
        if targets.is_floating_point():
            self.output_mean.copy_(targets.mean())
            self.output_scale.copy_(targets.std().clamp(min=1e-12))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network((x - self.mean) / self.scale)
        return logits * self.output_scale + self.output_mean


class Linear(Standardised):
    """Linear (multinomial logistic) regression. shape: (d,). classes: outputs."""

    def __init__(self, shape: tuple[int], classes: int) -> None:
        super().__init__(shape[0], nn.Linear(shape[0], classes))


class MLP(Standardised):
    """Two hidden layers of `width` with ReLU. shape: (d,). classes: outputs."""

    def __init__(self, shape: tuple[int], classes: int, width: int = 64) -> None:
        layers = [nn.Linear(shape[0], width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes)]
        super().__init__(shape[0], nn.Sequential(*layers))
