"""`xbench.measure`: every form of an explanation, of inputs and of a metric; and what is refused."""

import captum.attr
import pytest
import torch
from torch import Tensor, nn

import xbench
from tests.metrics.toys import CAPTUM_LEAF, score
from tests.models_for_tests import ConvNet, TwoInputs, mlp, numbers, weights
from xbench.algorithms import FeatureAblation, IntegratedGradients, KernelShap, Saliency
from xbench.metrics import Completeness, Infidelity, Metric, SensitivityMax

N = 4
TARGET = torch.tensor([0, 2, 1, 1])
METRICS = [Infidelity(5), SensitivityMax(0.1, 5), Completeness()]
IG = IntegratedGradients(n_steps=4, method="riemann_right")


def captum_ig(model: nn.Module, inputs: Tensor, target: Tensor) -> Tensor:
    return captum.attr.IntegratedGradients(model).attribute(inputs, target=target, n_steps=4, method="riemann_right")


def same(found: Tensor, expected: Tensor) -> None:
    """Equal but for the last digits, which follow the rewrites of the model that were found to pay."""
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.fixture
def model() -> nn.Module:
    return weights(ConvNet())


@pytest.fixture
def images() -> Tensor:
    return numbers(N, 1, 6, 6)


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_the_main_column_per_sample(model: nn.Module, images: Tensor, metric: Metric):
    found = xbench.measure(model, images, IG, metric, target=TARGET)
    expected = score(model, images, metric, IG, target=TARGET)[metric.main]
    assert found.shape == (N,)
    same(found, expected)


@pytest.mark.filterwarnings(CAPTUM_LEAF)
@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_an_algorithm_its_maps_and_a_callable_agree(model: nn.Module, images: Tensor, metric: Metric):
    by_algorithm = xbench.measure(model, images, IG, metric, target=TARGET)
    by_callable = xbench.measure(model, images, captum_ig, metric, target=TARGET)
    torch.testing.assert_close(by_callable, by_algorithm, rtol=1e-9, atol=1e-12)
    if not isinstance(metric, SensitivityMax):
        maps = xbench.attribute(model, images, IG, target=TARGET)
        by_maps = xbench.measure(model, images, maps.requires_grad_(), metric, target=TARGET)
        torch.testing.assert_close(by_maps, by_algorithm, rtol=1e-9, atol=1e-12)
        assert not by_maps.requires_grad


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_several_inputs(metric: Metric):
    model, inputs = weights(TwoInputs()), (numbers(N, 3), numbers(N, 2, 2, seed=2))
    setting = {"target": TARGET, "baselines": (0.5, numbers(1, 2, 2, seed=3))}
    seen = []

    def own(given: nn.Module, points: tuple[Tensor, ...], target: Tensor) -> tuple[Tensor, ...]:
        assert given is model
        assert torch.equal(target, TARGET)
        seen.append([tuple(point.shape) for point in points])
        return xbench.attribute(given, points, IG, **setting)

    by_algorithm = xbench.measure(model, inputs, IG, metric, **setting)
    by_callable = xbench.measure(model, inputs, own, metric, **setting)
    torch.testing.assert_close(by_callable, by_algorithm, rtol=1e-9, atol=1e-12)
    assert seen[0] == [(N, 3), (N, 2, 2)]
    if not isinstance(metric, SensitivityMax):
        maps = xbench.attribute(model, inputs, IG, **setting)
        torch.testing.assert_close(xbench.measure(model, inputs, maps, metric, **setting), by_algorithm)


def test_one_input_in_a_tuple_stays_a_tuple(model: nn.Module, images: Tensor):
    def own(given: nn.Module, points: tuple[Tensor, ...], target: int) -> tuple[Tensor, ...]:
        (image,) = points
        return (image,)

    found = xbench.measure(model, (images,), own, SensitivityMax(0.1, 3), target=0)
    assert torch.equal(found, xbench.measure(model, images, lambda _, x, target: x, SensitivityMax(0.1, 3), target=0))


def test_names_of_the_configuration(model: nn.Module, images: Tensor):
    found = xbench.measure(model, images, "saliency", "completeness", target=0)
    same(found, xbench.measure(model, images, Saliency(), Completeness(), target=0))


def test_local_and_grouped_maps_are_known_from_the_algorithm_only(model: nn.Module, images: Tensor):
    # Maps of unknown origin count as shares of f(x) - f(x0), one per element.
    features = (torch.arange(36) // 9).reshape(1, 1, 6, 6)
    for algorithm in (Saliency(), FeatureAblation()):
        maps = xbench.attribute(model, images, algorithm, target=0, features=features)
        known = xbench.measure(model, images, algorithm, Completeness(), target=0, features=features)
        unknown = xbench.measure(model, images, maps, Completeness(), target=0, features=features)
        assert not torch.isclose(known, unknown).any()
        change = (model(images) - model(torch.zeros_like(images)))[:, 0].detach()
        torch.testing.assert_close(unknown, ((maps.flatten(1).sum(1) - change) / change).abs())


def test_a_callable_sees_the_model_as_an_algorithm_does(model: nn.Module, images: Tensor):
    # In evaluation mode, or dropout would make every gradient stochastic; and back again afterwards.
    model.train()
    model.norm.eval()

    def own(given: nn.Module, points: Tensor, target: int) -> Tensor:
        assert not any(module.training for module in given.modules())
        return xbench.attribute(given, points, IG, target=target)

    for metric in METRICS:
        by_algorithm = xbench.measure(model, images, IG, metric, target=0)
        torch.testing.assert_close(xbench.measure(model, images, own, metric, target=0), by_algorithm)
    assert model.training
    assert model.dropout.training
    assert not model.norm.training


def test_a_layer_as_site(model: nn.Module, images: Tensor):
    found = xbench.measure(model, images, IG, Infidelity(5), target=0, layer="conv1")
    assert torch.isfinite(found).all()
    assert not torch.isclose(found, xbench.measure(model, images, IG, Infidelity(5), target=0)).any()
    maps = xbench.attribute(model, images, IG, target=0, layer="conv1")
    torch.testing.assert_close(xbench.measure(model, images, maps, Infidelity(5), target=0, layer="conv1"), found)
    with pytest.raises(ValueError, match="takes `extra` and gives the model as many rows"):
        xbench.measure(model, images, captum_ig, Infidelity(5), target=0, layer="conv1")


@pytest.mark.parametrize(
    ("explanation", "error", "message"),
    [
        (numbers(N, 6, 6), ValueError, r"expected maps of shape \[\(4, 1, 6, 6\)\], got \[\(4, 6, 6\)\]"),
        (
            numbers(1, 1, 6, 6),
            ValueError,
            r"expected maps of shape \[\(4, 1, 6, 6\)\], got \[\(1, 1, 6, 6\)\]",
        ),
        ((numbers(N, 1, 6, 6),) * 2, ValueError, r"expected maps of shape"),
        (lambda model, inputs, target: inputs[:, 0], ValueError, r"expected maps of shape"),
        (lambda model, inputs, target: None, ValueError, r"expected maps of shape"),
        (3.5, TypeError, "expected maps .* an algorithm, or a callable .* got float"),
    ],
)
def test_what_is_no_explanation_is_refused(
    model: nn.Module, images: Tensor, explanation: object, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        xbench.measure(model, images, explanation, Infidelity(5), target=0)


def test_what_is_no_metric_is_refused(model: nn.Module, images: Tensor):
    with pytest.raises(TypeError, match="metric: expected an xbench metric or its name"):
        xbench.measure(model, images, IG, Infidelity, target=0)


def test_an_error_in_a_callable_is_passed_on_and_the_model_restored(model: nn.Module, images: Tensor):
    model.train()

    def broken(given: nn.Module, points: Tensor, target: int) -> Tensor:
        raise ZeroDivisionError("inside the callable")

    with pytest.raises(ZeroDivisionError, match="inside the callable"):
        xbench.measure(model, images, broken, Infidelity(5), target=0)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_distribution_of_baselines_is_refused_where_one_is_needed(model: nn.Module, images: Tensor):
    with pytest.raises(ValueError, match="baselines: got 3 rows for 4 samples"):
        xbench.measure(model, images, IG, Infidelity(5), target=0, baselines=numbers(3, 1, 6, 6))


def test_maps_with_their_algorithm_score_like_the_algorithm():
    """Alone, a local map or values repeated over a feature's elements would be taken for shares of the output."""
    x, features = numbers(4, 6), torch.tensor([[0, 0, 1, 1, 2, 2]])
    model = mlp(6, 5, 3)
    for algorithm in (Saliency(abs=False), KernelShap(8), FeatureAblation()):
        maps = xbench.attribute(model, x, algorithm, target=1, features=features)
        for metric in (Infidelity(5), Completeness(), SensitivityMax(n_perturb_samples=2)):
            whole = xbench.measure(model, x, algorithm, metric, target=1, features=features)
            same(xbench.measure(model, x, (maps, algorithm), metric, target=1, features=features), whole)
