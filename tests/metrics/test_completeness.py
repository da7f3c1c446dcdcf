"""Completeness against the sum written out, and where it is 0 or undefined."""

import pytest
import torch
from torch import Tensor, nn

import xbench
from tests.metrics.toys import linear, maps_of, score
from tests.models_for_tests import ConvNet, Quadratic, mlp, numbers, weights
from xbench.algorithms import (
    Algorithm,
    DeepLift,
    FeatureAblation,
    IntegratedGradients,
    KernelShap,
    Occlusion,
    Random,
    Saliency,
)
from xbench.metrics import Completeness

N = 3
PATCHES = (torch.arange(36) // 9).reshape(1, 1, 6, 6)


@pytest.fixture
def model() -> nn.Module:
    return weights(ConvNet())


@pytest.fixture
def setting() -> dict[str, object]:
    return {"target": 1, "baselines": numbers(1, 1, 6, 6, seed=3), "features": PATCHES}


def _error(model: nn.Module, x: Tensor, algorithm: Algorithm, **setting: object) -> Tensor:
    return score(model, x, Completeness(), algorithm, **setting)["completeness"]


@pytest.mark.parametrize(
    ("algorithm", "below"),
    [(DeepLift(), 1e-10), (IntegratedGradients(n_steps=50), 1e-6), (KernelShap(n_samples=16), 1e-10)],
    ids=repr,
)
def test_a_complete_method_has_no_error(
    model: nn.Module, setting: dict[str, object], algorithm: Algorithm, below: float
):
    assert (_error(model, numbers(N, 1, 6, 6), algorithm, **setting) < below).all()


@pytest.mark.parametrize("local", [True, False])
def test_the_error_is_the_missing_share(model: nn.Module, setting: dict[str, object], local: bool):
    x, x0 = numbers(N, 1, 6, 6), setting["baselines"]
    values = numbers(N, 36, seed=8)
    found = _error(model, x, maps_of(values, local=local), **setting)
    for i in range(N):
        change = (model(x[i : i + 1]) - model(x0))[0, 1].item()
        moved = (x[i] - x0[0]).flatten().tolist() if local else [1.0] * 36
        total = sum(v * m for v, m in zip(values[i].tolist(), moved, strict=True))
        assert found[i].item() == pytest.approx(abs(total - change) / abs(change), rel=1e-9)


def test_saliency_errs_by_the_curvature():
    # x.g - (f(x) - f(0)) = x.A.x / 2 for f = x.A.x / 2 + b.x + c.
    model, x = Quadratic(5), numbers(N, 5)
    change = (model(x) - model(torch.zeros_like(x))).detach()
    curvature = (((x @ model.a) * x).sum(1) / 2).detach()
    torch.testing.assert_close(_error(model, x, Saliency(abs=False)), (curvature / change).abs(), rtol=1e-9, atol=0)
    absolute = _error(model, x, Saliency())
    assert torch.isfinite(absolute).all()
    assert (absolute > 0).all()


def test_a_linear_model_leaves_nothing_to_miss(setting: dict[str, object]):
    exact = [Saliency(abs=False), IntegratedGradients(n_steps=2, multiply_by_inputs=False), FeatureAblation(),
             Occlusion((1, 3, 3), strides=3)]  # fmt: skip
    for algorithm in exact:
        assert (_error(linear(), numbers(N, 1, 6, 6), algorithm, **setting) < 1e-10).all()
    assert (_error(linear(), numbers(N, 1, 6, 6), Random(), **setting) > 1e-3).all()


def test_a_zero_map_misses_everything(model: nn.Module):
    found = _error(model, numbers(N, 1, 6, 6), maps_of(torch.zeros(N, 36).double(), local=False), target=1)
    assert torch.equal(found, torch.ones(N).double())


@pytest.mark.parametrize("rows", [1, 7, 16, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_a_change_of_the_output_it_is_undefined(rows: int | None, dtype: torch.dtype):
    # By a rounding, a sigmoid of the same number depends on its place in the batch; that is no change.
    model, x = mlp(784, 100, 3, activation=nn.SiLU).to(dtype), numbers(5, 784, dtype=dtype)
    x[2:] = x[0]
    x[3] = 0
    found = _error(model, x, Random(), target=1, baselines=x[:1], rows=rows)
    assert found.isnan().tolist() == [True, False, True, False, True]


def test_a_model_that_does_not_see_the_change_is_undefined():
    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :2]

    x = numbers(2, 4)
    x[1, :2] = 0
    assert _error(Half(), x, Random(), target=0).isnan().tolist() == [False, True]


def test_a_probability_is_completed_too(model: nn.Module, setting: dict[str, object]):
    x = numbers(N, 1, 6, 6)
    algorithm = IntegratedGradients(n_steps=50)
    found = _error(model, x, algorithm, output="probability", **setting)
    maps = xbench.attribute(model, x, algorithm, output="probability", **setting)
    change = model(x).softmax(1)[:, 1] - model(setting["baselines"]).softmax(1)[:, 1]
    assert (found < 1e-6).all()
    torch.testing.assert_close(maps.flatten(1).sum(1), change.detach(), rtol=1e-6, atol=0)
