"""What tests of differences from Captum share."""

import torch
from torch import Tensor, nn

from xbench import algorithms as a
from xbench.rules import lrp

N = 4
TARGET = [0, 2, 1, 2]
TARGETS = torch.tensor(TARGET)
EXACT_LRP = a.LRP(lrp.epsilon_only(1e-12, 1e-12))


def explained(model: nn.Module, x: Tensor) -> Tensor:
    """The target's output of every sample, (n,)."""
    return model(x)[torch.arange(N), TARGETS].detach()
