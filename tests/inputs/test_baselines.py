"""Baselines in every form: broadcast within a sample, made by a function, in the shapes of a layer."""

from __future__ import annotations

from collections.abc import Callable

import captum.attr as c
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models_for_tests import ReluNet, TwoInputs, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute, measure
from xbench.explain.problem import Baselines
from xbench.inputs.baselines import _from_file
from xbench.metrics import ConvergenceDelta, Infidelity
from xbench.models.record import Encoded

N = 3
TARGET = [0, 2, 1]
MODEL, X = weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6)
pytestmark = pytest.mark.filterwarnings("ignore:Setting forward, backward hooks:UserWarning")


def same(ours: object, wanted: object) -> None:
    torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (2, 1, 1), (6, 6), (6,), (1, 1, 6, 1), (N, 2, 1, 1), ()])
@pytest.mark.parametrize("method", [a.IntegratedGradients(4), a.DeepLift(), a.FeatureAblation()])
def test_a_baseline_broadcasts_within_a_sample(shape: tuple[int, ...], method: a.Algorithm) -> None:
    baseline = numbers(*shape, seed=2)
    maps = attribute(MODEL, X, method, target=TARGET, baselines=baseline)
    whole = baseline.expand(N, 2, 6, 6)
    same(maps, attribute(MODEL, X, method, target=TARGET, baselines=whole))


def test_a_baseline_per_channel_is_captums() -> None:
    baseline = numbers(1, 2, 1, 1, seed=2)
    theirs = c.IntegratedGradients(MODEL).attribute(X, baseline, torch.tensor(TARGET), n_steps=4)
    ours = attribute(MODEL, X, a.IntegratedGradients(4), target=TARGET, baselines=baseline)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)
    theirs = c.FeatureAblation(MODEL).attribute(X, baseline, torch.tensor(TARGET))
    ours = attribute(MODEL, X, a.FeatureAblation(), target=TARGET, baselines=baseline)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_distribution_broadcasts_too() -> None:
    rows = numbers(5, 2, 1, 1, seed=2)
    maps = attribute(MODEL, X, a.DeepLiftShap(), target=TARGET, baselines=rows)
    whole = attribute(MODEL, X, a.DeepLiftShap(), target=TARGET, baselines=rows.expand(5, 2, 6, 6))
    same(maps, whole)


def test_a_value_per_sample_is_no_value_per_column() -> None:
    with pytest.raises(ValueError, match=r"baselines: shape \(3,\) does not fit samples of shape \(2, 6, 6\)"):
        attribute(MODEL, X, a.DeepLift(), target=TARGET, baselines=numbers(N))


def of_nothing() -> Tensor:
    return numbers(4, 2, 6, 6, seed=5)


def of_the_inputs(inputs: Tensor) -> Tensor:
    return inputs[:2] / 2 + 1


@pytest.mark.parametrize("function", [of_nothing, of_the_inputs])
def test_a_function_makes_baselines_as_in_captum(function: Callable[..., Tensor]) -> None:
    ours = attribute(MODEL, X, a.DeepLiftShap(), target=TARGET, baselines=function)
    theirs = c.DeepLiftShap(MODEL).attribute(X, function, torch.tensor(TARGET))
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-9, atol=1e-10)


def test_a_function_of_several_inputs_gets_them_in_their_form() -> None:
    model, inputs = weights(TwoInputs()), (numbers(N, 3), numbers(N, 2, 2))
    halves = tuple(t / 2 for t in inputs)
    wanted = attribute(model, inputs, a.IntegratedGradients(4), target=TARGET, baselines=halves)
    made = attribute(
        model, inputs, a.IntegratedGradients(4), target=TARGET, baselines=lambda given: tuple(t / 2 for t in given)
    )
    same(made, wanted)
    zeros = attribute(model, inputs, a.IntegratedGradients(4), target=TARGET)
    blank = attribute(model, inputs, a.IntegratedGradients(4), target=TARGET, baselines=lambda: (0, torch.zeros(2, 2)))
    same(blank, zeros)
    delta = measure(model, inputs, a.IntegratedGradients(64), ConvergenceDelta(), target=TARGET, baselines=lambda: 0.5)
    assert float(delta.abs().max()) < 1e-9


def test_a_function_is_called_once_for_all_targets() -> None:
    calls = []

    def random() -> Tensor:
        calls.append(1)
        return torch.rand(1, 2, 6, 6, dtype=torch.float64)

    both = attribute(MODEL, X, a.FeatureAblation(), targets=[1, 1], baselines=random)
    assert len(calls) == 1
    same(both[:, 0], both[:, 1])


def test_a_function_of_a_library_need_not_tell_its_arguments() -> None:
    maps = attribute(MODEL, X, a.DeepLift(), target=TARGET, baselines=torch.zeros_like)
    same(maps, attribute(MODEL, X, a.DeepLift(), target=TARGET))


@pytest.mark.parametrize("given", ["zero", {1, 2}, lambda: "zero"])
def test_what_is_no_baseline_is_refused(given: Baselines) -> None:
    with pytest.raises((TypeError, ValueError), match="baselines: expected"):
        attribute(MODEL, X, a.DeepLift(), target=TARGET, baselines=given)


# At a layer


def tail(hidden: Tensor) -> Tensor:
    """What ReluNet does behind `hidden`."""
    return MODEL.out(MODEL.relu3(hidden))


def hidden_values() -> Tensor:
    return attribute(MODEL, X, a.Activation(), read="hidden")


@pytest.mark.parametrize("values", [0, 0.5, numbers(1, 6, seed=4), numbers(N, 6, seed=4)])
def test_the_baselines_of_an_ablated_layer_are_captums(values: Tensor | float) -> None:
    groups = torch.tensor([[0, 0, 1, 1, 2, 2]])
    theirs = c.LayerFeatureAblation(MODEL, MODEL.hidden)
    wanted = theirs.attribute(X, layer_baselines=values, target=torch.tensor(TARGET), layer_mask=groups)
    ours = attribute(
        MODEL, X, a.FeatureAblation(), target=TARGET, layer="hidden", layer_baselines=values, features=groups
    )
    torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "method", [a.IntegratedGradients(5), a.DeepLift(), a.ShapleyValues(), a.KernelShap(64), a.Conductance(5)]
)
def test_with_layer_baselines_a_layer_is_explained_as_the_model_behind_it(method: a.Algorithm) -> None:
    baseline = numbers(N, 6, seed=4)
    ours = attribute(MODEL, X, method, target=TARGET, layer="hidden", layer_baselines=baseline)
    behind = nn.Sequential(MODEL.relu3, MODEL.out)
    torch.testing.assert_close(ours, attribute(behind, hidden_values(), method, target=TARGET, baselines=baseline))


def test_a_distribution_of_layer_baselines() -> None:
    rows = numbers(7, 6, seed=4)
    behind = nn.Sequential(MODEL.relu3, MODEL.out)
    ours = attribute(MODEL, X, a.DeepLiftShap(), target=TARGET, layer="hidden", layer_baselines=rows)
    wanted = attribute(behind, hidden_values(), a.DeepLiftShap(), target=TARGET, baselines=rows)
    torch.testing.assert_close(ours, wanted)


def test_layer_baselines_have_a_metric_too() -> None:
    delta = measure(
        MODEL, X, a.ShapleyValues(), ConvergenceDelta(), target=TARGET, layer="hidden", layer_baselines=numbers(6)
    )
    torch.testing.assert_close(delta, torch.zeros_like(delta), rtol=0, atol=1e-10)


def test_layer_baselines_that_do_not_fit() -> None:
    net, x = mlp(5, 4, 2), numbers(N, 5)
    with pytest.raises(ValueError, match=r"layer_baselines: shape \(1, 5\) does not fit samples of shape \(4,\)"):
        attribute(net, x, a.DeepLift(), target=0, layer="0", layer_baselines=numbers(1, 5))
    for given in ({"layer": None}, {"layer": "0", "baselines": 0.0}):
        with pytest.raises(ValueError, match="layer_baselines: they stand for the values of a `layer`"):
            attribute(net, x, a.DeepLift(), target=0, layer_baselines=0.0, **given)


# Of samples of other types


@pytest.mark.parametrize(
    ("inputs", "baselines", "value"),
    [
        (torch.tensor([[0, 1], [3, 4]]), 0.2, "0.2"),
        (torch.tensor([[0, 1], [3, 4]]), torch.tensor([[0.0, 0.5]]), "0.5"),
        (torch.tensor([[0, 1], [3, 4]]), float("nan"), "nan"),
        (torch.tensor([[0, 1], [3, 4]], dtype=torch.uint8), 300, "300"),
        (torch.tensor([[0, 1], [3, 4]], dtype=torch.uint8), -1, "-1"),
        (torch.tensor([[0, 1], [3, 4]], dtype=torch.int32), torch.tensor([2**40, 0]), r"1.09951e\+12"),
        (torch.tensor([[True, False]]), 0.5, "0.5"),
        (torch.tensor([[True, False]]), 2, "2"),
        (torch.tensor([[0.5, 1.0]]).half(), 1e6, r"1e\+06"),
        (torch.tensor([[0.5, 1.0]]), 1e300, r"1e\+300"),
    ],
)
def test_a_value_that_the_samples_type_cannot_hold_is_refused(inputs: Tensor, baselines: Baselines, value: str) -> None:
    def model(x: Tensor) -> Tensor:
        return x.float().sum(1)

    message = rf"baselines: {value} is no value of type {inputs.dtype}.*inputs\.float\(\)"
    for given in (baselines, (baselines,)):
        with pytest.raises(ValueError, match=message):
            attribute(model, inputs, a.FeatureAblation(), baselines=given)
        with pytest.raises(ValueError, match=message):
            measure(model, inputs, torch.ones(inputs.shape), Infidelity(4), baselines=given)


@pytest.mark.parametrize("method", [a.FeatureAblation(), a.KernelShap(4), a.ShapleyValueSampling(2)], ids=repr)
@pytest.mark.parametrize("baselines", [2, 2.0, torch.tensor([2.0, 2.0]), torch.tensor([[2, 2]], dtype=torch.uint8)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.float16, torch.bfloat16])
def test_whole_numbers_are_baselines_of_any_type(dtype: torch.dtype, baselines: Baselines, method: a.Algorithm) -> None:
    x = torch.tensor([[0, 1], [3, 4]], dtype=dtype)
    maps = attribute(lambda t: t.float().sum(1), x, method, baselines=baselines)
    torch.testing.assert_close(maps.float(), x.float() - 2)


def test_numbers_in_place_of_integers_take_any_baseline() -> None:
    x = torch.tensor([[0, 1], [3, 4]])
    maps = attribute(lambda t: t.float().sum(1), x.float(), a.FeatureAblation(), baselines=0.2)
    torch.testing.assert_close(maps, torch.tensor([[-0.2, 0.8], [2.8, 3.8]]))


def test_a_flag_is_a_baseline_of_flags() -> None:
    x = torch.tensor([[True, False], [True, True]])
    maps = attribute(lambda t: t.float().sum(1), x, a.FeatureAblation(), baselines=True)
    torch.testing.assert_close(maps, x.float() - 1)


def test_a_real_baseline_is_rounded_to_the_samples_precision() -> None:
    x = torch.tensor([[0.5, 1.0]]).half()
    maps = attribute(lambda t: t.float().sum(1), x, a.FeatureAblation(), baselines=torch.tensor([0.2, 0.2]))
    torch.testing.assert_close(maps, (x.float() - torch.tensor(0.2).half().float()).half())


# In the command


def test_a_file_may_hold_a_value_per_channel(tmp_path) -> None:
    encoded = Encoded(inputs=(X.float(),), baseline=(torch.zeros(1, 2, 6, 6),))
    np.save(tmp_path / "channels.npy", np.array([[[1.0]], [[2.0]]]))
    (made,) = _from_file(tmp_path / "channels.npy", encoded)
    assert torch.equal(made, torch.tensor([1.0, 2.0])[None, :, None, None].expand(1, 2, 6, 6))
    np.save(tmp_path / "rows.npy", np.zeros((N, 2, 6, 6)))
    with pytest.raises(ValueError, match="has 3 rows, expected one"):
        _from_file(tmp_path / "rows.npy", encoded)
    np.save(tmp_path / "large.npy", np.full((2, 6, 6), 1e300))
    with pytest.raises(ValueError, match=r"baseline: .*large\.npy: 1e\+300 is no value of type torch\.float32"):
        _from_file(tmp_path / "large.npy", encoded)
    np.save(tmp_path / "words.npy", np.array(["zero"]))
    with pytest.raises(ValueError, match=r"words\.npy cannot be read"):
        _from_file(tmp_path / "words.npy", encoded)
