"""Options that Captum gives and a table does not need: convergence deltas, custom DeepLIFT maps, values per feature."""

from __future__ import annotations

import captum.attr
import pytest
import torch
from torch import Tensor

from tests.models_for_tests import mlp, numbers
from xbench import attribute, measure
from xbench.algorithms import DeepLift, IntegratedGradients, KernelShap
from xbench.metrics import ConvergenceDelta

MODEL, X, TARGET = mlp(6, 5, 3), numbers(4, 6), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize("steps", [3, 20])
def test_the_convergence_delta_is_captum_s(steps: int) -> None:
    ours = measure(MODEL, X, IntegratedGradients(steps, "riemann_left"), ConvergenceDelta(), target=TARGET)
    _, theirs = captum.attr.IntegratedGradients(MODEL).attribute(
        X, target=TARGET, n_steps=steps, method="riemann_left", return_convergence_delta=True
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks:UserWarning")
def test_a_custom_deeplift_map_is_captum_s() -> None:
    baselines = numbers(4, 6, seed=3)

    def custom(
        multipliers: tuple[Tensor, ...], inputs: tuple[Tensor, ...], baselines: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        return tuple(m * x.square() - b for m, x, b in zip(multipliers, inputs, baselines, strict=True))

    ours = attribute(MODEL, X, DeepLift(custom_attribution_func=custom), target=TARGET, baselines=baselines)
    theirs = captum.attr.DeepLift(MODEL).attribute(
        X.clone().requires_grad_(), baselines=baselines, target=TARGET, custom_attribution_func=custom
    )
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-8, atol=1e-10)


def test_kernel_shap_gives_values_per_feature() -> None:
    features = torch.tensor([[0, 0, 1, 1, 2, 2]])
    whole = attribute(MODEL, X, KernelShap(8), target=TARGET, features=features)
    values = attribute(MODEL, X, KernelShap(8, return_input_shape=False), target=TARGET, features=features)
    assert isinstance(whole, Tensor)
    assert isinstance(values, Tensor)
    assert values.shape == (4, 3)
    assert torch.equal(values, whole[:, ::2])
