"""Non-sensitivity, dummies, symmetry and linearity, where the answer is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import xbench
from tests.metrics.toys import linear, maps_of, score
from tests.models_for_tests import ConvNet, numbers, weights
from xbench.algorithms import (
    Algorithm,
    DeepLift,
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    Occlusion,
    Random,
    Saliency,
)
from xbench.core.needs import NotApplicable
from xbench.datasets.planted import PlantedInteraction, PlantedLinear
from xbench.datasets.record import Dataset
from xbench.metrics import Change, Dummy, Explained, Linearity, Metric, NonSensitivity, Symmetry
from xbench.metrics.axiomatic.linearity import following

N = 4


def known(data: Dataset) -> tuple[nn.Module, Tensor, dict[str, object]]:
    """The function, samples in double precision, and the question."""
    assert data.known is not None
    split = data.test
    return data.known().double(), split.inputs.double(), {"target": split.targets, "baselines": 0.0}


def test_non_sensitivity_counts_the_features_of_one_set_but_not_of_the_other() -> None:
    """f = 2 x0 + x0 x1 + 0 x2 + x3: at x1 = 0 the feature x1 does something only with x0, which is there."""

    class Function(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x[:, 0] + x[:, 0] * x[:, 1] + 0 * x[:, 2] + x[:, 3]

    x = torch.tensor([[1.0, 3.0, 5.0, 2.0], [1.0, 0.0, 5.0, 2.0]]).double()
    maps = torch.tensor([[1.0, 0.0, 4.0, 1e-9], [1.0, 1e-5, 0.0, -1.0]]).double()
    # Sample 0: without effect is x2, without relevance x1 and, next to 4, x3. Sample 1: x1 and x2, and the same.
    found = score(Function(), x, NonSensitivity(), maps)
    assert found["non_sensitivity"].tolist() == [3, 0]
    assert found["non_sensitivity_share"].tolist() == [0.75, 0]
    exact = score(Function(), x, NonSensitivity(tolerance=0), maps)
    assert exact["non_sensitivity"].tolist() == [2, 1]


def test_non_sensitivity_of_the_true_map_of_constants_and_of_zeros() -> None:
    model, x, setting = known(PlantedLinear(n=20, train=5).load())
    effects = (model.linear.weight != 0)[setting["target"]].sum(1).double()

    def count(explanation: object) -> Tensor:
        return score(model, x, NonSensitivity(), explanation, **setting)["non_sensitivity"]

    assert (count(IntegratedGradients(n_steps=2)) == 0).all()
    assert torch.equal(count(torch.zeros_like(x)), effects)
    assert torch.equal(count(torch.ones_like(x)), 16 - effects)
    with pytest.raises(NotApplicable, match="needs at most 15 features"):
        score(model, x, NonSensitivity(15), x, **setting)
    with pytest.raises(ValueError, match="tolerance: expected a number from 0 on"):
        NonSensitivity(tolerance=-1)


@pytest.mark.parametrize("algorithm", [IntegratedGradients(n_steps=2), DeepLift(), Saliency(), FeatureAblation()])
def test_methods_of_the_function_leave_dummies_alone(algorithm: Algorithm) -> None:
    for data in (PlantedLinear(n=6, train=5).load(), PlantedInteraction(n=6, train=5).load()):
        model, x, setting = known(data)
        setting["output"] = "probability"  # the columns of other classes count too, dummies do not
        found = score(model, x, Dummy(), algorithm, **setting)["dummy"]
        torch.testing.assert_close(found, torch.zeros(6).double(), rtol=0, atol=1e-12)
        assert (score(model, x, Dummy(), Random(), **setting)["dummy"] > 0.1).all()


def test_the_share_on_dummies_is_that_of_the_loop() -> None:
    model, x, setting = known(PlantedLinear(n=3, train=5).load())
    phi, dummies = numbers(3, 16), (model.linear.weight == 0).all(0).tolist()
    assert sum(dummies) == 7
    found = score(model, x, Dummy(), phi, **setting)["dummy"]
    for row in range(3):
        sizes = phi[row].abs().tolist()
        assert found[row] == pytest.approx(
            sum(s for s, dummy in zip(sizes, dummies, strict=True) if dummy) / sum(sizes)
        )
    # A feature of a dummy and another column is none.
    first, live = dummies.index(True), dummies.index(False)
    groups = torch.arange(16)
    groups[first] = live
    grouped = score(model, x, Dummy(), phi, features=groups[None], **setting)["dummy"]
    for row in range(3):
        lost = [abs(v) for k, v in enumerate(phi[row].tolist()) if dummies[k] and k != first]
        others = [abs(v) for k, v in enumerate(phi[row].tolist()) if k not in (first, live)]
        assert grouped[row] == pytest.approx(sum(lost) / (sum(others) + abs(float(phi[row, first] + phi[row, live]))))
    assert score(model, x, Dummy(), torch.zeros_like(x), **setting)["dummy"].isnan().all()


@pytest.mark.parametrize(
    "algorithm",
    [
        IntegratedGradients(n_steps=8),
        FeatureAblation(),
        InputXGradient(),
        Saliency(abs=False),
        KernelShap(n_samples=40),
    ],
    ids=lambda a: type(a).__name__,
)
def test_both_of_a_product_have_the_same(algorithm: Algorithm) -> None:
    model, x, setting = known(PlantedInteraction(columns=6, pairs=1, n=5, train=5).load())
    found = score(model, x, Symmetry(), algorithm, **setting)["symmetry"]
    torch.testing.assert_close(found, torch.zeros(5).double(), rtol=0, atol=1e-6)
    assert (score(model, x, Symmetry(), Random(), **setting)["symmetry"] > 0.01).all()


def test_asymmetry_is_that_of_the_loop_and_undefined_where_nothing_is_symmetric() -> None:
    model, x, setting = known(PlantedInteraction(n=3, train=5).load())
    phi, pairs = numbers(3, 16), model.known_partners.tolist()
    assert len(pairs) == 4
    found = score(model, x, Symmetry(), maps_of(phi, local=False), **setting)["symmetry"]
    for row in range(3):
        apart = sum(abs(float(phi[row, i] - phi[row, j])) for i, j in pairs)
        size = sum(abs(float(phi[row, i])) + abs(float(phi[row, j])) for i, j in pairs)
        assert found[row] == pytest.approx(apart / size)
    constant, zero = (torch.full_like(x, value) for value in (3.0, 0.0))
    assert (score(model, x, Symmetry(), constant, **setting)["symmetry"] == 0).all()
    assert score(model, x, Symmetry(), zero, **setting)["symmetry"].isnan().all()
    setting["baselines"] = numbers(1, 16, seed=4)  # alone, one of a pair does not do what the other does
    assert score(model, x, Symmetry(), phi, **setting)["symmetry"].isnan().all()


@pytest.mark.parametrize("metric", [Dummy(), Symmetry()])
def test_of_a_model_that_was_learnt_nothing_is_known(metric: Metric) -> None:
    with pytest.raises(NotApplicable, match=r"needs a function with known .* model=known"):
        score(linear(), numbers(N, 1, 6, 6), metric, Saliency(), target=1)
    hidden = nn.Sequential(PlantedLinear(n=6, train=5).load().known().double())
    with pytest.raises(NotApplicable, match="needs a function"):
        score(hidden, numbers(N, 16), metric, Saliency(), target=1)


def test_symmetry_of_a_linear_function_is_not_known() -> None:
    model, x, setting = known(PlantedLinear(n=6, train=5).load())
    with pytest.raises(NotApplicable, match="dataset=planted_interaction model=known"):
        score(model, x, Symmetry(), Saliency(), **setting)


@pytest.mark.parametrize("output", ["logit", "probability"])
@pytest.mark.parametrize(
    "algorithm",
    [Saliency(abs=False), IntegratedGradients(n_steps=3), FeatureAblation(), Occlusion((1, 3, 3), strides=3)],
    ids=lambda a: type(a).__name__,
)
def test_linear_methods_are_linear(algorithm: Algorithm, output: str) -> None:
    found = score(weights(ConvNet()), numbers(N, 1, 6, 6), Linearity(), algorithm, target=1, output=output)
    torch.testing.assert_close(found["linearity"], torch.zeros(N).double(), rtol=0, atol=1e-9)


def test_the_error_of_an_absolute_map_and_of_one_that_does_not_depend_on_the_output() -> None:
    model, x, target = weights(ConvNet()), numbers(N, 1, 6, 6), torch.tensor([0, 1, 2, 1])
    found = score(model, x, Linearity(), Saliency(), target=target)["linearity"]
    for row in range(N):
        point = x[row : row + 1].clone().requires_grad_()
        one, other = int(target[row]), (int(target[row]) + 1) % 3
        slopes = [torch.autograd.grad(model(point)[0, k], point)[0] for k in (one, other)]
        error = ((slopes[0] + slopes[1]).abs() - slopes[0].abs() - slopes[1].abs()).norm()
        assert found[row] == pytest.approx(float(error / (slopes[0].norm() + slopes[1].norm())))
        assert found[row] > 0
    same = score(model, x, Linearity(), Random(), target=target)["linearity"]
    torch.testing.assert_close(same, torch.full((N,), 0.5).double())


def test_methods_from_elsewhere_explain_the_sum_too() -> None:
    def gradient(model: nn.Module, x: Tensor, target: object) -> Tensor:
        x = x.detach().requires_grad_()
        output = model(x)
        chosen = output.gather(1, torch.as_tensor(target).expand(len(x)).reshape(-1, 1)).sum()
        return torch.autograd.grad(chosen, x)[0]

    model, x = weights(ConvNet()), numbers(N, 1, 6, 6)
    found = score(model, x, Linearity(), gradient, target=torch.tensor([0, 1, 2, 1]))["linearity"]
    torch.testing.assert_close(found, torch.zeros(N).double(), rtol=0, atol=1e-9)


def test_the_next_output_follows_the_last_index_first() -> None:
    target = torch.tensor([[0, 0], [0, 2], [1, 2]])
    assert following(target, (2, 3)).tolist() == [[0, 1], [1, 0], [0, 0]]
    assert following(torch.tensor([[2]]), (3,)).tolist() == [[0]]


def test_a_sum_of_outputs_is_explained_through_the_target() -> None:
    model, x = weights(ConvNet()), numbers(N, 1, 6, 6)
    both = torch.tensor([[0], [2]]).expand(N, 2, 1)
    found = xbench.attribute(model, x, Saliency(abs=False), target=both)
    parts = [xbench.attribute(model, x, Saliency(abs=False), target=k) for k in (0, 2)]
    torch.testing.assert_close(found, parts[0] + parts[1])
    (evidence,) = Linearity().evidence
    changes = list(evidence.changes(None, Explained(model, torch.tensor([[0]] * N), (3,))))
    assert [type(change) for change in changes] == [Change, Change]
    assert [tuple(change.target.shape) for change in changes] == [(N, 1), (N, 2, 1)]


def test_one_output_has_no_sum() -> None:
    with pytest.raises(NotApplicable, match="needs a choice among several outputs"):
        score(linear(classes=1), numbers(N, 1, 6, 6), Linearity(), Saliency(), target=0)
