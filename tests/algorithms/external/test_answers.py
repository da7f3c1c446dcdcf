"""What a function may answer, and how its maps are scored."""

import captum.attr as c
import numpy as np
import pytest
import torch

from tests.algorithms.external.cases import TARGET, WARNINGS, N, exactly, images, ixg, noise
from tests.models_for_tests import TwoInputs, numbers, weights
from xbench import algorithms as a
from xbench import attribute, measure
from xbench.metrics import Completeness, Infidelity, SensitivityMax

pytestmark = WARNINGS


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: x.numpy(),
        lambda x: (x,),
        lambda x: [x.numpy()],
        lambda x: np.flip(np.flip(x.numpy(), 0).copy(), 0),  # runs backwards
        lambda x: np.broadcast_to(x.numpy(), x.shape),  # read-only
        lambda x: x.clone().requires_grad_() * 1,
    ],
)
def test_maps_may_be_tensors_or_arrays(answer):
    model, x = images()
    maps = attribute(model, x, a.External(lambda model, inputs, target: answer(inputs)), target=0)
    assert not maps.requires_grad
    assert torch.equal(maps, x)


def test_maps_of_integers_become_numbers():
    """Of the samples' own type."""
    maps = attribute(*images(), a.External(lambda model, inputs, target: inputs.long()), target=0)
    assert maps.dtype == torch.float64


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (lambda x, y: x, r"\[\(4, 3\)\]"),
        (lambda x, y: (x, y[:2]), r"\[\(4, 3\), \(2, 2, 2\)\]"),
        (lambda x, y: (x, y.flatten(1).numpy()), r"\[\(4, 3\), \(4, 4\)\]"),
        (lambda x, y: (x, None), r"\[\(4, 3\), 'NoneType'\]"),
        (lambda x, y: {"x": x, "y": y}, r"\['dict'\]"),
    ],
)
def test_maps_of_other_shapes_are_refused(answer, found):
    def mine(model, inputs, target):
        return answer(*inputs)

    inputs = numbers(N, 3), numbers(N, 2, 2, seed=2)
    with pytest.raises(ValueError, match=rf"mine: expected maps of shape \[\(4, 3\), \(4, 2, 2\)\], got {found}"):
        attribute(weights(TwoInputs()), inputs, a.External(mine), target=0)


def test_maps_cannot_be_differentiated_further():
    with pytest.raises(ValueError, match="create_graph: external code gives maps that cannot be"):
        attribute(*images(), a.External(ixg), target=0, create_graph=True)


def test_a_score_takes_a_function_for_what_it_says_it_is():
    model, x = images()
    slopes = a.External(
        lambda model, inputs, target: c.Saliency(model).attribute(inputs, target, abs=False), local=True
    )
    for metric in (Infidelity(4), Completeness(), SensitivityMax(0.1, 3)):
        exactly(measure(model, x, slopes, metric, target=TARGET, baselines=x.flip(0)),
                measure(model, x, a.Saliency(abs=False), metric, target=TARGET, baselines=x.flip(0)))  # fmt: skip


def test_re_explaining_a_function_draws_with_the_seed():
    model, x = images()
    explanation = a.External(noise, stochastic=True)
    scores = [measure(model, x, explanation, SensitivityMax(0.1, 3), target=0, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(scores[0], scores[1])
    assert not torch.isclose(scores[0], scores[2]).any()
    assert measure(model, x, explanation, SensitivityMax(0.0, 3), target=0).min() > 0.1  # nothing but fresh draws


def test_a_distribution_of_baselines():
    def mean(model, inputs, target, baselines):
        return inputs - baselines.mean(0)

    model, x = images()
    many = numbers(3, 1, 6, 6, seed=2)
    exactly(attribute(model, x, a.External(mean, distribution=True), target=0, baselines=many), x - many.mean(0))
    with pytest.raises(ValueError, match="baselines: got 3 rows for 4 samples"):
        attribute(model, x, a.External(mean), target=0, baselines=many)
    exactly(
        attribute(model, x, a.External(ixg), target=0, baselines=many), attribute(model, x, a.External(ixg), target=0)
    )
