"""The explained scalar: targets in every form, structured outputs, probabilities, neurons, and clear refusals."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.models_for_tests import ConvNet, mlp, numbers, weights
from xbench import attribute
from xbench.algorithms import FeatureAblation, Saliency
from xbench.core.readouts import Readout, TargetError, target_rows
from xbench.core.sites import Site

N = 3


@pytest.mark.parametrize(
    ("target", "rows"),
    [
        (2, [[2], [2], [2]]),
        (torch.tensor(2), [[2], [2], [2]]),
        (torch.tensor([2]), [[2], [2], [2]]),
        ((1, 2), [[1, 2], [1, 2], [1, 2]]),
        ([0, 1, 2], [[0], [1], [2]]),
        (torch.tensor([0, 1, 2], dtype=torch.int32), [[0], [1], [2]]),
        (torch.tensor([[0, 1], [1, 1], [2, 0]]), [[0, 1], [1, 1], [2, 0]]),
        ([(0, 1), (1, 1), (2, 0)], [[0, 1], [1, 1], [2, 0]]),
    ],
)
def test_target_forms(target, rows):
    made = target_rows(target, N)
    assert made is not None
    assert made.dtype == torch.int64
    assert made.tolist() == rows


def test_no_target_stays_none():
    assert target_rows(None, N) is None


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([0, 1], r"one per sample \(3\), got shape \(2,\)"),
        (torch.zeros(3, 1, 1, 1, dtype=torch.int64), r"got shape \(3, 1, 1, 1\)"),
        (torch.tensor([0.0, 1.0, 2.0]), "expected integer indices, got torch.float32"),
        ("predicted", "expected an output's index, got 'predicted'"),
        (True, "expected an output's index, got True"),
    ],
)
def test_targets_that_do_not_fit_the_samples(target, message):
    with pytest.raises(TargetError, match=message):
        target_rows(target, N)


def picked(result: Tensor, target: Any, **options: Any) -> Tensor:
    return Readout(**options).of_output(result, target_rows(target, len(result)), len(result))


def test_one_index_per_sample_and_several_dimensions():
    output = numbers(N, 4, 5)
    wanted = torch.stack([output[0, 1, 2], output[1, 0, 4], output[2, 3, 3]])
    assert torch.equal(picked(output, [(1, 2), (0, 4), (3, 3)]), wanted)
    assert torch.equal(picked(output[:, :, 0], [1, 0, 3]), output[[0, 1, 2], [1, 0, 3], 0])


@pytest.mark.parametrize(
    ("shape", "target", "message"),
    [
        ((N, 4), 4, r"target \[4\] is out of range for the model's output of shape \(4,\)"),
        ((N, 4), -1, r"target \[-1\] is out of range"),
        ((N, 4), [0, 7, 1], r"target \[7\] is out of range"),
        ((N, 4, 5), (3, 5), r"target \[3, 5\] is out of range for the model's output of shape \(4, 5\)"),
        ((N, 4, 5), 3, r"target has 1 indices, the model's output \(4, 5\) needs 2"),
        ((N, 4), (1, 2), r"target has 2 indices, the model's output \(4,\) needs 1"),
        ((N, 4), None, r"outputs of shape \(4,\): name a target"),
        ((N,), 1, r"target has 1 indices, the model's output \(\) needs 0"),
    ],
)
def test_targets_that_do_not_fit_the_output(shape, target, message):
    with pytest.raises(TargetError, match=message):
        picked(numbers(*shape), target)


@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 1, 1)])
def test_a_single_output_needs_no_target(shape):
    output = numbers(*shape)
    assert torch.equal(picked(output, None), output.reshape(N))
    if len(shape) < 3:
        assert torch.equal(picked(output, 0), output.reshape(N))


@pytest.mark.parametrize("output", [numbers(2, 4), torch.tensor(1.0)])
def test_an_output_that_is_no_batch(output):
    with pytest.raises(ValueError, match="for 3 rows; expected the first dimension to be the batch"):
        Readout().of_output(output, target_rows(0, N), N)


def test_probability_and_log_probability():
    logits = numbers(N, 4)
    exact = logits.exp() / logits.exp().sum(1, keepdim=True)
    torch.testing.assert_close(picked(logits, 2, output="probability"), exact[:, 2])
    torch.testing.assert_close(picked(logits, 2, output="log_probability"), exact[:, 2].log())
    assert torch.equal(picked(logits, 2, output="value"), logits[:, 2])
    assert torch.equal(picked(logits, 2, output="logit"), logits[:, 2])


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_the_probability_of_a_single_logit_is_that_of_the_positive_class(shape):
    logits = numbers(*shape)
    exact = 1 / (1 + (-logits.reshape(N)).exp())
    torch.testing.assert_close(picked(logits, None, output="probability"), exact)
    torch.testing.assert_close(picked(logits, None, output="log_probability"), exact.log())


def test_gradients_go_through_the_probability():
    model, x = mlp(4, 5, 3), numbers(N, 4)
    leaf = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(torch.softmax(model(leaf), 1)[:, 1].sum(), leaf)
    found = attribute(model, x, Saliency(abs=False), target=1, output="probability")
    torch.testing.assert_close(found, wanted)
    (wanted,) = torch.autograd.grad(torch.log_softmax(model(leaf), 1)[:, 1].sum(), leaf)
    found = attribute(model, x, Saliency(abs=False), target=1, output="log_probability")
    torch.testing.assert_close(found, wanted)


def test_an_unknown_output_is_refused():
    with pytest.raises(ValueError, match="output: expected one of logit, probability, .* got 'odds'"):
        Readout("odds")  # type: ignore[arg-type]


@dataclass
class Prediction:
    logits: Tensor
    state: Tensor


class Structured(nn.Module):
    """Gives its logits in a structure."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.inner = mlp(4, 5, 3)

    def forward(self, x: Tensor) -> object:
        logits = self.inner(x)
        return {
            "tensor": logits,
            "object": Prediction(logits, x),
            "dict": {"scores": logits, "state": x},
            "tuple": (x, logits),
            "nothing": None,
        }[self.kind]


@pytest.mark.parametrize(
    ("kind", "select"),
    [("object", None), ("object", "logits"), ("dict", "scores"), ("tuple", 1)],
)
def test_a_part_of_a_structured_output(kind, select):
    x = numbers(N, 4)
    for method in (Saliency(), FeatureAblation()):
        wanted = attribute(Structured("tensor"), x, method, target=2)
        assert torch.equal(attribute(Structured(kind), x, method, target=2, select=select), wanted)


def test_another_part_of_a_structured_output():
    maps = attribute(Structured("object"), numbers(N, 4), Saliency(), target=3, select="state")
    assert torch.equal(maps, torch.tensor([0.0, 0, 0, 1], dtype=torch.float64).expand(N, 4))


@pytest.mark.parametrize(
    ("kind", "select"),
    [("dict", None), ("dict", "score"), ("tuple", None), ("tuple", "logits"), ("object", "probabilities"),
     ("object", 0), ("nothing", None)],
)  # fmt: skip
def test_a_part_that_is_not_there(kind, select):
    with pytest.raises(TypeError, match=f"the model returned .* and {select!r} names no tensor in it"):
        attribute(Structured(kind), numbers(N, 4), Saliency(), target=2, select=select)


@pytest.mark.parametrize("position", [2, -3, 17])
def test_a_position_that_a_tuple_does_not_have(position):
    with pytest.raises(TypeError, match=f"and {position} names no tensor in it"):
        attribute(Structured("tuple"), numbers(N, 4), Saliency(), target=2, select=position)


def test_neurons_by_index_and_slice():
    tensors = (numbers(N, 4, 5),)
    site = Site("layer")
    assert torch.equal(Readout(neuron=site, index=(1, 2)).of_layer(tensors), tensors[0][:, 1, 2])
    summed = Readout(neuron=site, index=(slice(1, 3), slice(None))).of_layer(tensors)
    torch.testing.assert_close(summed, tensors[0][:, 1:3].sum((1, 2)))
    torch.testing.assert_close(Readout(neuron=site, index=(1,)).of_layer(tensors), tensors[0][:, 1].sum(1))


def test_a_neuron_outside_its_layer():
    with pytest.raises(TargetError, match=r"neuron \(9,\) is outside layer hidden of shape \(5,\)"):
        attribute(weights(ConvNet()), numbers(1, 1, 6, 6), Saliency(), neuron=("hidden", 9))


@pytest.mark.parametrize("neuron", ["hidden", ("hidden",), ("hidden", 1, 2)])
def test_a_neuron_that_is_no_pair(neuron):
    with pytest.raises(TypeError, match="neuron: expected .layer, index., got"):
        attribute(weights(ConvNet()), numbers(1, 1, 6, 6), Saliency(), neuron=neuron)


def test_a_neuron_needs_no_target_and_ignores_the_models_output():
    model, x = weights(ConvNet()), numbers(2, 1, 6, 6)
    by_neuron = attribute(model, x, Saliency(), neuron=("hidden", 3))
    assert torch.equal(by_neuron, attribute(model, x, Saliency(), target=1, neuron=("hidden", 3), output="probability"))
