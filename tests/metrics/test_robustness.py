"""The metrics of robustness against loops written from their papers, and where the answer is known, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import xbench
from tests.metrics.toys import case_of, linear, score, with_hidden
from tests.models_for_tests import ConvNet, Quadratic, numbers, weights
from xbench.algorithms import Constant, FeatureAblation, InputXGradient, IntegratedGradients, Random, Saliency
from xbench.core.needs import NotApplicable
from xbench.explain.evidence import gather
from xbench.explain.explainer import Explainer
from xbench.explain.explanation import Explanation
from xbench.explain.request import Request
from xbench.metrics import (
    Consistency,
    Continuity,
    LocalLipschitz,
    LocalSufficiency,
    Metric,
    RelativeInputStability,
    RelativeOutputStability,
    RelativeRepresentationStability,
)
from xbench.metrics.robustness.reexplained import NearbyMetric

N = 3
NEARBY = {"perturb_radius": 0.1, "n_perturb_samples": 4}
RELATIVE = [RelativeInputStability, RelativeOutputStability, RelativeRepresentationStability]
CLASSIFIED = [Consistency, LocalSufficiency]


@pytest.fixture
def model() -> nn.Module:
    return weights(ConvNet())


@pytest.fixture
def images() -> Tensor:
    return numbers(N, 1, 6, 6)


def neighbours(metric: NearbyMetric, inputs: Tensor) -> Tensor:
    """The draws, (draws, n, ...)."""
    case, x = case_of(inputs)
    return torch.stack([version.reshape(inputs.shape) for version in metric.reexplained.moved(case, x)])


def hidden(model: ConvNet, x: Tensor) -> Tensor:
    seen: list[Tensor] = []
    handle = model.out.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(x)
    handle.remove()
    return seen[0][0]


def size(values: list[float]) -> float:
    return sum(value**2 for value in values) ** 0.5


def apart(one: Tensor, other: Tensor) -> list[float]:
    return [b - a for a, b in zip(one.flatten().tolist(), other.flatten().tolist(), strict=True)]


def share(one: Tensor, other: Tensor, by_elements: bool) -> float:
    """The relative change, by the norms or element by element."""
    base = one.flatten().tolist()
    if by_elements:
        return size([change / value for change, value in zip(apart(one, other), base, strict=True)])
    return size(apart(one, other)) / size(base)


@pytest.mark.parametrize("by_elements", [False, True])
@pytest.mark.parametrize("kind", [LocalLipschitz, *RELATIVE])
@torch.no_grad()
def test_the_largest_change_per_change_is_that_of_the_loops(
    model: nn.Module, images: Tensor, kind: type[NearbyMetric], by_elements: bool
):
    metric, algorithm = kind(**NEARBY), IntegratedGradients(n_steps=3)
    found = score(model, images, metric, algorithm, target=1)
    column = metric.main + ("_elements" if by_elements and kind in RELATIVE else "")
    draws = neighbours(metric, images)
    for i in range(N):
        x = images[i : i + 1]
        phi, largest = xbench.attribute(model, x, algorithm, target=1), 0.0
        for moved in draws[:, i : i + 1]:
            other = xbench.attribute(model, moved, algorithm, target=1)
            assert model(moved).argmax() == model(x).argmax()
            per = {
                LocalLipschitz: lambda x=x, moved=moved: size(apart(x, moved)),
                RelativeInputStability: lambda x=x, moved=moved: share(x, moved, by_elements),
                RelativeOutputStability: lambda x=x, moved=moved: (
                    size(apart(model(x), model(moved))) if by_elements else share(model(x), model(moved), False)
                ),
                RelativeRepresentationStability: lambda x=x, moved=moved: share(
                    hidden(model, x), hidden(model, moved), by_elements
                ),
            }[kind]()
            change = size(apart(phi, other)) if kind is LocalLipschitz else share(phi, other, by_elements)
            largest = max(largest, change / per)
        assert found[column][i].item() == pytest.approx(largest, rel=1e-8)


def test_a_quadratic_model_is_as_lipschitz_as_its_curvature():
    # The gradient is A.x + b, so a change e moves it by A.e.
    model, x, metric = Quadratic(5), numbers(N, 5), LocalLipschitz(**NEARBY)
    found = score(model, x, metric, Saliency(abs=False))["local_lipschitz"]
    moves = neighbours(metric, x) - x
    expected = ((moves @ model.a.detach()).norm(dim=2) / moves.norm(dim=2)).amax(0)
    torch.testing.assert_close(found, expected)
    assert (found <= torch.linalg.matrix_norm(model.a.detach(), 2)).all()


def test_shares_of_a_linear_model_move_as_the_input_does():
    # phi = w * x, so that each element changes by the share by which its input does.
    found = score(linear(), numbers(N, 1, 6, 6), RelativeInputStability(**NEARBY), InputXGradient(), target=0)
    torch.testing.assert_close(found["relative_input_stability_elements"], torch.ones(N).double())


def test_elements_of_zero_count_as_a_millionth():
    x = torch.tensor([[0.0, 1.0]]).double()
    metric = RelativeInputStability(0.5, 3, relative=False)
    found = score(nn.Identity(), x, metric, InputXGradient(), target=1)  # its map is (0, x_1)
    moves = neighbours(metric, x) - x
    per = (moves[:, :, 0] / 1e-6).square() + moves[:, :, 1].square()
    expected = (moves[:, :, 1].abs() / per.sqrt()).amax(0)
    torch.testing.assert_close(found["relative_input_stability_elements"], expected)


def two_classes() -> nn.Module:
    return weights(nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False)))


@pytest.mark.parametrize("kind", CLASSIFIED)
def test_a_linear_model_keeps_its_map_and_loses_its_prediction(kind: type[Metric]):
    x = numbers(12, 3) / 5
    model, metric = two_classes(), kind(1.0, 20)
    found = score(model, x, metric, Saliency(abs=False), target=0)[metric.main]
    with torch.no_grad():
        stays = model(neighbours(metric, x)).argmax(2) == model(x).argmax(1)
    torch.testing.assert_close(found, stays.double().mean(0))
    assert (found < 1).any()


@pytest.mark.parametrize("kind", RELATIVE)
def test_draws_that_lose_the_prediction_are_left_out(kind: type[NearbyMetric]):
    x = numbers(12, 3) / 5
    model, metric = two_classes(), kind(1.0, 20)
    found = score(model, x, metric, InputXGradient(), target=0)[metric.main]
    slope = (model[1].weight @ model[0].weight)[0].detach()
    with torch.no_grad():
        draws = neighbours(metric, x)
        stays = model(draws).argmax(2) == model(x).argmax(1)
        read = {
            RelativeInputStability: lambda x: x,
            RelativeOutputStability: model,
            RelativeRepresentationStability: model[0],
        }[kind]
        change = ((draws - x) * slope).norm(dim=2) / (x * slope).norm(dim=1)
        per = (read(draws) - read(x)).norm(dim=2) / read(x).norm(dim=1)
    assert not stays.all()
    torch.testing.assert_close(found, (change / per).masked_fill(~stays, 0).amax(0))


def test_the_same_explanation_is_that_of_the_loops(model: nn.Module, images: Tensor):
    metric, algorithm = Consistency(0.6, 30, top_k=2), IntegratedGradients(n_steps=3)
    setting = {"target": 1, "features": (torch.arange(36) // 9).reshape(1, 1, 6, 6)}
    found = score(model, images, metric, algorithm, **setting)["consistency"]
    draws, counts = neighbours(metric, images), []
    for i in range(N):

        def said(x: Tensor) -> list[tuple[int, bool]]:
            phi = xbench.attribute(model, x, algorithm, target=1).flatten().reshape(4, 9).sum(1)
            return [(int(k), bool(phi[k] > 0)) for k in phi.abs().argsort(descending=True)[:2]]

        own = images[i : i + 1]
        alike = [moved for moved in draws[:, i : i + 1] if said(moved) == said(own)]
        kept = [bool(model(moved).argmax() == model(own).argmax()) for moved in alike]
        counts.append(len(alike))
        assert found[i].item() == pytest.approx(sum(kept) / len(kept))
    assert min(counts) < 30


def test_a_map_applies_where_it_hardly_changes(model: nn.Module, images: Tensor):
    metric, algorithm = LocalSufficiency(0.6, 30, threshold=0.8), Saliency(abs=False)
    found = score(model, images, metric, algorithm, target=1)["local_sufficiency"]
    draws, counts = neighbours(metric, images), []
    for i in range(N):
        own = images[i : i + 1]
        phi = xbench.attribute(model, own, algorithm, target=1)
        near = [m for m in draws[:, i : i + 1] if share(phi, xbench.attribute(model, m, algorithm, target=1), 0) <= 0.8]
        kept = [bool(model(moved).argmax() == model(own).argmax()) for moved in near]
        counts.append(len(near))
        assert found[i].item() == pytest.approx(sum(kept) / len(kept))
    assert min(counts) < 30


def test_continuity_is_that_of_the_loops(model: nn.Module, images: Tensor):
    algorithm = Saliency(abs=False)
    found = score(model, images, Continuity(2), algorithm, target=1)["continuity"]
    for i in range(N):
        x = images[i : i + 1]
        phi, largest = xbench.attribute(model, x, algorithm, target=1), 0.0
        for step in (-2, -1, 1, 2):
            moved = x.clone()
            for column in range(6):
                moved[..., column] = x[..., min(5, max(0, column - step))]
            other = xbench.attribute(model, moved, algorithm, target=1)
            largest = max(largest, sum(map(abs, apart(phi, other))) / size(apart(x, moved)))
        assert found[i].item() == pytest.approx(largest, rel=1e-8)


@pytest.mark.parametrize("kind", [LocalLipschitz, *RELATIVE, *CLASSIFIED])
def test_nothing_is_said_where_nothing_moves(model: nn.Module, images: Tensor, kind: type[NearbyMetric]):
    for column in score(model, images, kind(0.0, 2), Saliency(), target=1).values():
        assert column.isnan().all()


def test_a_model_whose_output_does_not_change_has_no_stability_by_it():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double()
    nn.init.zeros_(model[0].weight)
    for kind in (RelativeOutputStability, RelativeRepresentationStability):
        for column in score(model, numbers(N, 3), kind(**NEARBY), Random(), target=1).values():
            assert column.isnan().all()


def test_zero_maps_have_no_relative_change_and_constant_ones_none(model: nn.Module, images: Tensor):
    for kind in RELATIVE:
        zero, constant = (score(model, images, kind(**NEARBY), Constant(c), target=1) for c in (0.0, 1.0))
        assert all(column.isnan().all() for column in zero.values())
        assert all((column == 0).all() for column in constant.values())
    for metric in (LocalLipschitz(**NEARBY), Continuity()):
        assert (score(model, images, metric, Constant(0.0), target=1)[metric.main] == 0).all()


def test_a_hidden_layer_can_be_named(model: nn.Module, images: Tensor):
    by_name, by_default = (
        score(model, images, RelativeRepresentationStability(**NEARBY, layer=layer), Saliency(), target=1)
        for layer in ("out:input", None)
    )
    assert all(torch.equal(by_name[column], by_default[column]) for column in by_default)
    first = score(model, images, RelativeRepresentationStability(**NEARBY, layer="conv1"), Saliency(), target=1)
    assert all(not torch.allclose(first[column], by_default[column]) for column in first)


@pytest.mark.parametrize(
    ("metric", "inputs", "setting", "message"),
    [
        (RelativeRepresentationStability(), numbers(N, 36), {}, "needs a hidden layer: fewer than two"),
        (RelativeRepresentationStability(layer="nowhere"), numbers(N, 36), {}, "needs a hidden layer that can be read"),
        (RelativeOutputStability(), numbers(N, 36), {"neuron": ("1", 0)}, "needs a map of the output"),
        (Consistency(), numbers(N, 36), {"neuron": ("1", 0)}, "needs a choice among several outputs"),
        (Continuity(), numbers(N, 4, 9), {}, "needs images"),
        (Continuity(6), numbers(N, 1, 6, 6), {}, "needs pictures wider than 6 pixels .* they have 6"),
    ],
)
def test_what_does_not_suit_is_skipped_with_the_reason(
    metric: Metric, inputs: Tensor, setting: dict[str, object], message: str
):
    with pytest.raises(NotApplicable, match=message):
        score(linear(), inputs, metric, Saliency(), target=1, **setting)


def test_ids_have_no_distance_and_functions_no_layers():
    ids = torch.tensor([[1, 2, 3], [3, 2, 1]])
    embedded = weights(nn.Sequential(nn.Embedding(4, 2), nn.Flatten(), nn.Linear(6, 2)))
    for metric in (LocalLipschitz(perturbation="features"), RelativeInputStability(perturbation="features")):
        with pytest.raises(NotApplicable, match="needs real-valued points"):
            score(embedded, ids, metric, FeatureAblation(), target=1)
    found = score(embedded, ids, RelativeOutputStability(0.4, 4, perturbation="features"), FeatureAblation(), target=1)
    assert torch.isfinite(found["relative_output_stability"]).all()
    with pytest.raises(NotApplicable, match="needs a module"):
        xbench.measure(lambda x: x.sum(1), numbers(2, 3), Saliency(), RelativeRepresentationStability())


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Consistency, {"top_k": 0}, "top_k: expected at least 1, got 0"),
        (LocalSufficiency, {"threshold": -1}, "threshold: expected a number >= 0, got -1"),
        (Continuity, {"pixels": 0}, "pixels: expected at least 1, got 0"),
        (LocalLipschitz, {"perturb_radius": -1}, "perturb_radius: expected a number >= 0, got -1"),
    ],
)
def test_bad_arguments_are_refused(kind: type[Metric], arguments: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


def test_all_of_them_explain_each_draw_once(images: Tensor):
    made = Explainer(Request(with_hidden(linear()), images, target=1))
    every = [LocalLipschitz(**NEARBY), *(kind(**NEARBY) for kind in (*RELATIVE, *CLASSIFIED))]
    needed = {evidence: None for metric in every for evidence in metric.evidence}
    assert len(needed) == 3  # explanations, outputs, hidden representations
    explanation, counters = Explanation.of(Saliency(), made), made.restart()
    for evidence in needed:
        gather(made, evidence, explanation)
    assert counters.backward_rows == 4 * N
    assert counters.forward_rows == 4 * N + 2 * 5 * N
