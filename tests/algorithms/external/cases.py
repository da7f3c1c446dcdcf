"""Functions that explain, and places to explain at, of the tests of external algorithms."""

import random
from typing import Any

import captum.attr as c
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models_for_tests import ConvNet, TextNet, numbers, weights

N = 4
TARGET = [0, 2, 1, 2]


def exactly(one: Any, other: Any, tolerance: float = 1e-11) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def images() -> tuple[nn.Module, Tensor]:
    return weights(ConvNet()), numbers(N, 1, 6, 6)


def ixg(model, inputs, target, extra=()):
    """Input x gradient by Captum, as a user would write it."""
    return c.InputXGradient(model).attribute(inputs, target=target, additional_forward_args=extra or None)


def on_text() -> dict[str, Any]:
    mask = (torch.arange(7) < torch.tensor([7, 5, 3, 6])[:, None]).double()
    ids = torch.randint(1, 20, (N, 7), generator=torch.Generator().manual_seed(4))
    return {"model": weights(TextNet(), scale=2), "inputs": ids, "extra": (mask,), "layer": "embedding"}


def on_images(**more: Any) -> dict[str, Any]:
    model, x = images()
    return {"model": model, "inputs": x, **more}


def noise(model, inputs, target):
    """From every global generator."""
    drawn = torch.rand(inputs.shape).double() + random.random()
    return drawn + torch.from_numpy(np.random.standard_normal(tuple(inputs.shape)))  # noqa: NPY002


def held(model: nn.Module) -> dict[str, Any]:
    """Attributes, hooks and modes of every module."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_with_kwargs")
    return {
        name: (set(vars(module)), module.training, [len(getattr(module, kind)) for kind in hooks])
        for name, module in model.named_modules()
    }


WARNINGS = [
    pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting (forward, )?backward hooks:UserWarning"),
    pytest.mark.filterwarnings("ignore:(?s).*You are providing multiple inputs for Lime:UserWarning"),
]
