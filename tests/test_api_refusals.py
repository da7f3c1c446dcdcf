"""`xbench.attribute` on arguments that do not fit, models without gradients, and maps that are no numbers."""

import pytest
import torch
from torch import Tensor, nn

from tests.every_method import GRADIENT, PERTURBATION, N, name
from tests.models_for_tests import TwoInputs, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.engine import NoGradientError, NonFiniteError

# Numbers of rows


@pytest.mark.parametrize(
    ("baselines", "message"),
    [
        (numbers(3, 5), "got 3 rows for 4 samples; expected one, or one per sample"),
        (numbers(1, 6), r"shape \(1, 6\) does not fit samples of shape \(5,\); expected that shape"),
        ((0.0, 1.0), "expected one for each of 1 tensors, got 2"),
    ],
)
def test_baselines_that_do_not_fit(baselines, message):
    with pytest.raises(ValueError, match=f"baselines: {message}"):
        attribute(mlp(5, 2), numbers(N, 5), a.IntegratedGradients(3), target=1, baselines=baselines)


def test_baselines_of_different_numbers_of_rows():
    inputs = numbers(N, 3), numbers(N, 2, 2)
    with pytest.raises(ValueError, match="baselines: .*got 2 and 4 rows"):
        attribute(
            weights(TwoInputs()),
            inputs,
            a.GradientShap(3),
            target=0,
            baselines=(numbers(2, 3), numbers(4, 2, 2)),
        )


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        (torch.zeros(3, 5, dtype=torch.int64), ValueError, "features: got 3 rows for 4 samples"),
        (torch.zeros(1, 6, dtype=torch.int64), ValueError, "features of shape .1, 6. do not fit"),
        (torch.zeros(1, 5), TypeError, "features: group ids must be integers, got torch.float32"),
        (
            torch.zeros(1, 5, dtype=torch.bool),
            TypeError,
            "features: group ids must be integers, got torch.bool",
        ),
        (
            (torch.zeros(1, 5, dtype=torch.int64),) * 2,
            ValueError,
            "features: expected 1 tensors like the inputs, got 2",
        ),
    ],
)
def test_features_that_do_not_fit(features, error, message):
    with pytest.raises(error, match=message):
        attribute(mlp(5, 2), numbers(N, 5), a.FeatureAblation(), target=1, features=features)


@pytest.mark.parametrize("method", [a.FeatureAblation(), a.KernelShap()], ids=name)
def test_a_sample_without_features_is_named(method):
    features = torch.zeros(N, 5, dtype=torch.int64)
    features[2] = -1
    with pytest.raises(ValueError, match=r"1 sample\(s\) have no features \(2\)"):
        attribute(mlp(5, 2), numbers(N, 5), method, target=1, features=features)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ([[1.0]], TypeError, "inputs: expected a tensor, a tuple or a dict of tensors, got list"),
        (
            (numbers(2, 3), numbers(3, 2, 2)),
            ValueError,
            r"inputs: every tensor needs the samples .* \[\(2, 3\), \(3,",
        ),
        (numbers(0, 3), ValueError, "inputs: there is no sample to explain"),
        ((), ValueError, "inputs: there is no sample to explain"),
        (torch.tensor(1.0), ValueError, "inputs: every tensor needs the samples in its first dimension"),
    ],
)
def test_inputs_that_are_no_batch(inputs, error, message):
    with pytest.raises(error, match=message):
        attribute(mlp(3, 2), inputs, a.Saliency(), target=1)


@pytest.mark.parametrize("rows", [0, -1])
def test_a_number_of_rows_that_is_none(rows):
    with pytest.raises(ValueError, match=f"rows: expected a positive number or auto, got {rows}"):
        attribute(mlp(3, 2), numbers(N, 3), a.Saliency(), target=1, rows=rows)


def test_several_devices_are_refused():
    with pytest.raises(TypeError, match="devices: expected one device"):
        attribute(mlp(3, 2), numbers(N, 3), a.Saliency(), target=1, devices=["cpu"])


class Fixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 2, dtype=x.dtype)


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach().square()


class Rounded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.argmax(1, keepdim=True).double().expand(-1, 2)


@pytest.mark.parametrize("model", [Fixed(), Detached(), Rounded()], ids=["fixed", "detached", "argmax"])
@pytest.mark.parametrize("method", GRADIENT, ids=name)
def test_a_model_without_gradient_says_so(method, model):
    with pytest.raises(NoGradientError, match="does not depend on the place that is read"):
        attribute(model, numbers(N, 3), method, target=1)


@pytest.mark.parametrize("method", PERTURBATION, ids=name)
def test_a_constant_model_has_no_influences(method):
    assert torch.equal(attribute(Fixed(), numbers(N, 3), method, target=1), torch.zeros(N, 3, dtype=torch.float64))


class Broken(nn.Module):
    """Infinite or NaN for the samples whose first number is above 1."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1, keepdim=True) * torch.where(x[:, :1].detach() > 1, self.value, 1.0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("method", [*GRADIENT[:4], *PERTURBATION], ids=name)
def test_a_model_that_gives_no_number_says_for_which_samples(method, value):
    x = torch.tensor([[0.0, 1.0], [5.0, 1.0], [0.5, 1.0], [6.0, 1.0]], dtype=torch.float64)
    with pytest.raises(NonFiniteError, match=r"NaN or infinity for 2 sample\(s\), at position 1, 3"):
        attribute(Broken(value), x, method, rows=4)


class Root(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.abs().sqrt().sum(1)


def test_an_infinite_gradient_is_not_a_map():
    x = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    with pytest.raises(NonFiniteError, match="position 1"):
        attribute(Root(), x, a.Saliency())
