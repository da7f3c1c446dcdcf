"""Sensitivity-max against plain loops, and what its columns mean for stochastic methods and zero maps."""

import captum.attr
import pytest
import torch
from torch import Tensor, nn

import xbench
from tests.metrics.toys import CAPTUM_LEAF, bag, case_of, maps_of, score
from tests.models_for_tests import ConvNet, Quadratic, mlp, numbers, weights
from xbench.algorithms import (
    Algorithm,
    Constant,
    DeepLift,
    FeatureAblation,
    GradientShap,
    IntegratedGradients,
    KernelShap,
    NoiseTunnel,
    Occlusion,
    Random,
    Saliency,
)
from xbench.explain.explainer import Explainer
from xbench.explain.explanation import Explanation
from xbench.explain.request import Request
from xbench.explain.score import score_maps
from xbench.metrics import FeatureRemoval, SensitivityMax, TimeRemoval
from xbench.metrics.perturbations import Removal

N = 3
DRAWS = 5
MAIN, FLOOR = "sensitivity_max", "sensitivity_max_floor"
DETERMINISTIC = [
    Saliency(),
    IntegratedGradients(n_steps=3),
    DeepLift(),
    FeatureAblation(),
    Occlusion(),
    Constant(),
]
STOCHASTIC = [
    GradientShap(n_samples=2),
    NoiseTunnel(Saliency(), nt_samples=2, stdevs=0.1),
    KernelShap(n_samples=80),
    Random(),
]


@pytest.fixture
def model() -> nn.Module:
    return weights(ConvNet())


@pytest.fixture
def images() -> Tensor:
    return numbers(N, 1, 6, 6)


def _versions(metric: SensitivityMax, inputs: Tensor | tuple[Tensor, ...], **setting: object) -> Tensor:
    """The perturbed samples, (draws, n, d)."""
    case, x = case_of(inputs, **setting)
    _, versions = metric.evidence[0].versions(case, x, maps_of(x, local=True))
    return torch.stack([version for _, version in versions])


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [Saliency(), IntegratedGradients(n_steps=3), FeatureAblation()], ids=repr)
@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
def test_equals_the_loops(model: nn.Module, images: Tensor, algorithm: Algorithm, order: float):
    metric = SensitivityMax(0.1, DRAWS, order)
    found = score(model, images, metric, algorithm, target=1)[MAIN]
    versions = _versions(metric, images)
    for i in range(N):
        base = xbench.attribute(model, images[i : i + 1], algorithm, target=1).flatten().tolist()
        largest = 0.0
        for k in range(DRAWS):
            point = versions[k, i].reshape(1, 1, 6, 6)
            other = xbench.attribute(model, point, algorithm, target=1).flatten().tolist()
            moved = sum(abs(a - b) ** order for a, b in zip(other, base, strict=True)) ** (1 / order)
            largest = max(largest, moved)
        norm = sum(abs(b) ** order for b in base) ** (1 / order)
        assert found[i].item() == pytest.approx(largest / norm, rel=1e-9)


@pytest.mark.parametrize(("norm_ord", "same"), [("fro", 2), ("fro", 2.0), ("inf", float("inf")), ("3", 3)])
def test_names_and_numbers_of_a_norm_agree(model: nn.Module, images: Tensor, norm_ord: str, same: float):
    one, other = (
        score(model, images, SensitivityMax(norm_ord=o), Saliency(), target=1)[MAIN] for o in (norm_ord, same)
    )
    torch.testing.assert_close(one, other, rtol=1e-9, atol=0)  # rows differ between runs, and so does rounding


def test_a_quadratic_model_has_the_sensitivity_of_its_curvature():
    # The gradient is A.x + b, so a change e moves it by A.e.
    model, x = Quadratic(5), numbers(N, 5)
    metric = SensitivityMax(0.3, DRAWS)
    found = score(model, x, metric, Saliency(abs=False))[MAIN]
    moved = ((_versions(metric, x) - x) @ model.a.detach()).norm(dim=2).amax(0)
    torch.testing.assert_close(found, moved / model.gradient(x).norm(dim=1), rtol=1e-9, atol=0)


def test_a_relative_radius_is_a_share_of_each_sample_s_range(images: Tensor):
    images[1] *= 7
    change = (_versions(SensitivityMax(0.1, 200), images) - images.flatten(1)).abs().amax((0, 2))
    span = images.flatten(1).amax(1) - images.flatten(1).amin(1)
    assert (change <= 0.1 * span).all()
    assert (change > 0.0999 * span).all()


def test_an_absolute_radius_is_the_radius(images: Tensor):
    change = _versions(SensitivityMax(0.1, 200, relative=False), images * 7) - 7 * images.flatten(1)
    assert 0.0999 < change.abs().max() <= 0.1
    assert change.mean().abs() < 0.005
    assert change.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.05)


def test_the_maximum_grows_with_the_draws_and_the_radius(model: nn.Module, images: Tensor):
    def main(radius: float, count: int) -> Tensor:
        return score(model, images, SensitivityMax(radius, count), Saliency(), target=1)[MAIN]

    assert (main(0.05, 12) >= main(0.05, 3) * (1 - 1e-9)).all()  # the first three are among the twelve
    assert (main(0.1, 3) > main(0.01, 3)).all()


@pytest.mark.parametrize("algorithm", DETERMINISTIC, ids=repr)
def test_a_deterministic_method_has_no_floor(model: nn.Module, images: Tensor, algorithm: Algorithm):
    found = score(model, images, SensitivityMax(0.05, DRAWS), algorithm, target=1)
    assert torch.equal(found[FLOOR], torch.zeros(N).double())
    assert (found[MAIN] > 0).all() != isinstance(algorithm, Constant)


@pytest.mark.parametrize("algorithm", STOCHASTIC, ids=repr)
def test_a_stochastic_method_has_a_floor(model: nn.Module, images: Tensor, algorithm: Algorithm):
    found = score(model, images, SensitivityMax(0.05, DRAWS), algorithm, target=1)
    assert (found[FLOOR] > 1e-3).all()
    assert (found[MAIN] > 1e-3).all()


def test_without_a_floor_the_maps_are_half_as_many(model: nn.Module, images: Tensor):
    made = Explainer(Request(model, images, target=1))
    rows = []
    for floor in (True, False):
        metric = SensitivityMax(0.05, DRAWS, floor=floor)
        counters = made.restart()
        found = score_maps(made, metric, Explanation.of(STOCHASTIC[0], made))
        rows.append(counters.forward_rows)
        assert list(found) == [MAIN, *([FLOOR] if floor else [])] == list(metric.facts.columns)
    once = made.restart()
    made.attribute(STOCHASTIC[0])
    assert rows[0] - rows[1] == DRAWS * once.forward_rows


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [*DETERMINISTIC, *STOCHASTIC], ids=repr)
def test_at_radius_zero_only_the_floor_is_left(model: nn.Module, images: Tensor, algorithm: Algorithm):
    found = score(model, images, SensitivityMax(0.0, DRAWS), algorithm, target=1, rows=5)
    torch.testing.assert_close(found[MAIN], found[FLOOR], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "algorithm",
    [
        GradientShap(n_samples=4),
        NoiseTunnel(IntegratedGradients(n_steps=2), nt_samples=2, stdevs=0.0, draw_baseline_from_distrib=True),
    ],
    ids=repr,
)
def test_a_distribution_of_baselines_is_a_source_of_noise(algorithm: Algorithm):
    # Two baselines for three samples: neither one for all nor one each, so only such methods can read them.
    model, x = mlp(4, 6, 2), numbers(N, 4)
    found = score(model, x, SensitivityMax(0.05, DRAWS), algorithm, target=1, baselines=numbers(2, 4, seed=6))
    assert (found[FLOOR] > 1e-3).all()
    assert (found[MAIN] > 1e-3).all()


def test_fresh_draws_are_those_of_the_perturbed_sample(model: nn.Module, images: Tensor):
    # Draw k shares its numbers at every radius, so the floor is what the change is compared with.
    metric = SensitivityMax(1e-9, DRAWS)
    found = score(model, images, metric, NoiseTunnel(Saliency(), nt_samples=2, stdevs=0.1), target=1)
    torch.testing.assert_close(found[MAIN], found[FLOOR], rtol=1e-6, atol=0)


def test_a_zero_map_is_undefined_not_perfect(model: nn.Module, images: Tensor):
    found = score(model, images, SensitivityMax(), Constant(0.0), target=1)
    assert found[MAIN].isnan().all()
    assert found[FLOOR].isnan().all()


def test_only_the_samples_with_a_zero_map_are_undefined():
    dead = nn.Sequential(nn.Linear(3, 1, bias=False), nn.ReLU()).double()
    with torch.no_grad():
        dead[0].weight.fill_(1)
    x = torch.tensor([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0], [0.5, 0.2, 0.3]]).double()
    found = score(dead, x, SensitivityMax(0.01), Saliency())
    assert found[MAIN].isnan().tolist() == [False, True, False]


def test_a_sample_of_equal_values_takes_their_magnitude_for_its_range(model: nn.Module, images: Tensor):
    images[1] = 0.5
    relative = score(model, images, SensitivityMax(0.02), Saliency(), target=1)[MAIN]
    absolute = score(model, images, SensitivityMax(0.01, relative=False), Saliency(), target=1)[MAIN]
    torch.testing.assert_close(relative[1], absolute[1])
    assert relative[1] > 0


def test_a_sample_of_zeros_is_undefined_under_a_relative_radius(model: nn.Module, images: Tensor):
    images[1] = 0
    relative = score(model, images, SensitivityMax(0.02), Saliency(), target=1)[MAIN]
    absolute = score(model, images, SensitivityMax(0.02, relative=False), Saliency(), target=1)[MAIN]
    assert relative.isnan().tolist() == [False, True, False]
    assert (absolute > 0).all()


IDS = torch.tensor([[5, 3, 7, 2], [4, 8, 0, 0], [6, 9, 1, 0]])  # 0 is padding, 11 the neutral word


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize(
    "algorithm",
    [Saliency(), IntegratedGradients(n_steps=3), FeatureAblation(), KernelShap(), GradientShap()],
    ids=repr,
)
def test_padding_changes_no_score(algorithm: Algorithm, relative: bool):
    # The model has no mask, so that the gradient at padded positions is as large as anywhere.
    text = bag(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    metric, found = SensitivityMax(0.1, DRAWS, relative=relative), []
    for ids in (IDS, nn.functional.pad(IDS, (0, 3))):
        setting = {
            "baselines": torch.where(ids == 0, 0, 11),
            "features": torch.where(ids == 0, -1, torch.arange(ids.shape[1])),
            "own_baselines": True,
        }
        found.append(score(text, ids, metric, algorithm, target=1, layer="embedding", **setting))
    for column in (MAIN, FLOOR):
        torch.testing.assert_close(found[1][column], found[0][column], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("perturbation", "removal"),
    [("features", FeatureRemoval(0.3)), ("time", TimeRemoval(0.3)), (FeatureRemoval(), FeatureRemoval())],
)
def test_what_is_masked_or_dropped_is_the_perturbation(perturbation: object, removal: Removal):
    model, series = weights(nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 2))), numbers(N, 2, 8)
    metric = SensitivityMax(0.3, DRAWS, perturbation=perturbation)
    found = score(model, series, metric, Saliency(), target=1)[MAIN]
    case, x = case_of(series)
    base = xbench.attribute(model, series, Saliency(), target=1).flatten(1)
    for row in range(N):
        changes = [
            (xbench.attribute(model, moved.reshape(1, 2, 8), Saliency(), target=1).flatten() - base[row]).norm()
            for moved in (removal.draw(case, x, k).perturbed[row] for k in range(DRAWS))
        ]
        torch.testing.assert_close(found[row], max(changes) / base[row].norm())
    said = {"removed features, 30% of them, at least one", "a removed stretch of time, 30% of it", "removed features"}
    assert metric.describe(case) in said


def test_masked_tokens_are_explained_at_their_ids():
    setting = {"baselines": torch.where(IDS == 0, 0, 11), "features": torch.where(IDS == 0, -1, torch.arange(4))}
    text = bag(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    found = score(text, IDS, SensitivityMax(perturbation="features"), FeatureAblation(), target=1, **setting)
    assert (found[MAIN] > 0).all()


def test_a_sample_at_its_baseline_is_undefined_where_features_are_removed(model: nn.Module, images: Tensor):
    images[1] = 0
    found = score(model, images, SensitivityMax(perturbation="features"), Saliency(), target=1)[MAIN]
    assert found.isnan().tolist() == [False, True, False]


def test_token_ids_have_no_small_changes():
    with pytest.raises(ValueError, match=r"cannot be added to inputs of type torch.int64; name a layer"):
        score(bag(), IDS, SensitivityMax(), FeatureAblation(), target=1)


@pytest.mark.filterwarnings(CAPTUM_LEAF)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Saliency(), lambda model, inputs, target: captum.attr.Saliency(model).attribute(inputs, target)),
        (
            IntegratedGradients(n_steps=4, method="riemann_right"),
            lambda model, inputs, target: captum.attr.IntegratedGradients(model).attribute(
                inputs, target=target, n_steps=4, method="riemann_right"
            ),
        ),
        (
            FeatureAblation(),
            lambda model, inputs, target: captum.attr.FeatureAblation(model).attribute(inputs, target=target),
        ),
    ],
    ids=["saliency", "ig", "feature_ablation"],
)
def test_a_method_of_captum_scores_like_ours(model: nn.Module, images: Tensor, ours: Algorithm, theirs: object):
    target = torch.tensor([0, 2, 1])
    one, other = (score(model, images, SensitivityMax(0.1, DRAWS), e, target=target) for e in (ours, theirs))
    torch.testing.assert_close(other[MAIN], one[MAIN], rtol=1e-9, atol=0)
    assert other[FLOOR].isnan().all()  # whether a callable draws anything is not known, and 0 would be a claim


@pytest.mark.parametrize("given", ["tensor", "tuple"])
def test_maps_alone_are_refused_with_what_to_pass(model: nn.Module, images: Tensor, given: str):
    maps = (images,) if given == "tuple" else images
    with pytest.raises(ValueError, match=r"explains samples again: pass the algorithm \(or a callable\)"):
        score(model, images, SensitivityMax(), maps, target=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"perturb_radius": -0.1}, "perturb_radius: expected a number >= 0, got -0.1"),
        ({"perturb_radius": float("nan")}, "perturb_radius: expected a number >= 0, got nan"),
        ({"n_perturb_samples": 0}, "n_perturb_samples: expected at least 1, got 0"),
        ({"perturbation": "squares"}, "perturbation: expected gaussian, features, time or null, got 'squares'"),
        ({"norm_ord": "nuc"}, "norm_ord: expected a number >= 1, 'inf' or 'fro', got 'nuc'"),
        ({"norm_ord": 0.5}, "norm_ord: expected a number >= 1, 'inf' or 'fro', got 0.5"),
        ({"norm_ord": "nan"}, "norm_ord: expected a number >= 1, 'inf' or 'fro', got 'nan'"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        SensitivityMax(**arguments)
