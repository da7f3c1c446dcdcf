"""Infidelity against plain loops over the formula of Yeh et al. 2019, and where its value is known."""

import math

import pytest
import torch
from torch import Tensor, nn

from tests.metrics.toys import bag, case_of, flat_maps, linear, maps_of, score
from tests.models_for_tests import ConvNet, Quadratic, mlp, numbers, weights
from xbench.algorithms import (
    Algorithm,
    DeepLift,
    FeatureAblation,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    NoiseTunnel,
    Occlusion,
    Random,
    Saliency,
)
from xbench.explain.evidence import gather
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request
from xbench.metrics import FeatureRemoval, GaussianNoise, Infidelity, Perturbation, SquareRemoval
from xbench.metrics.maps import Maps

N = 3
DRAWS = 6
PERTURBATIONS = [GaussianNoise(), SquareRemoval(), FeatureRemoval()]
COLUMNS = ("infidelity", "infidelity_scaled", "infidelity_relative")


def _terms(
    model: nn.Module, x: Tensor, x0: Tensor, target: int, maps: Maps, perturbation: Perturbation
) -> list[list[tuple[float, float]]]:
    """For every sample and draw (s, d), one element and one evaluation at a time."""
    case, flat = case_of(x, baselines=x0)
    every = []
    for i in range(len(x)):
        pairs = []
        for k in range(DRAWS):
            other = perturbation.draw(case, flat, k).perturbed[i]
            before = model(x[i : i + 1])[0, target].item()
            after = model(other.reshape(x[i : i + 1].shape))[0, target].item()
            s = 0.0
            for j in range(flat.shape[1]):
                moved = flat[i, j].item() - other[j].item()
                if not maps.local:
                    moved /= flat[i, j].item() - x0.flatten()[j].item()
                s += moved * maps.density[i, j].item()
            pairs.append((s, before - after))
        every.append(pairs)
    return every


def _mean_square(pairs: list[tuple[float, float]], beta: float) -> float:
    return sum((beta * s - d) ** 2 for s, d in pairs) / len(pairs)


@pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=repr)
@pytest.mark.parametrize("algorithm", [Saliency(), IntegratedGradients(n_steps=3), Random()], ids=repr)
def test_every_column_equals_the_loops(algorithm: Algorithm, perturbation: Perturbation):
    model, x, x0 = weights(ConvNet()), numbers(N, 1, 6, 6), numbers(1, 1, 6, 6, seed=3)
    setting = {"target": 1, "baselines": x0}
    maps = flat_maps(model, x, algorithm, **setting)
    found = score(model, x, Infidelity(DRAWS, perturbation), maps, **setting)
    for i, pairs in enumerate(_terms(model, x, x0, 1, maps, perturbation)):
        beta = sum(s * d for s, d in pairs) / sum(s * s for s, _ in pairs)
        scaled = _mean_square(pairs, beta)
        expected = (_mean_square(pairs, 1), scaled, scaled / _mean_square(pairs, 0))
        assert [found[column][i].item() for column in COLUMNS] == pytest.approx(expected, rel=1e-9)
        # beta is the best factor there is, not merely a formula.
        assert all(_mean_square(pairs, beta + step) > scaled for step in (-0.1, -1e-3, 1e-3, 0.1))


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("factor", [-1.0, 1e-6, -250.0])
def test_scaled_and_relative_forget_the_map_s_scale_and_sign(local: bool, factor: float):
    model, x = weights(ConvNet()), numbers(N, 1, 6, 6)
    values = numbers(N, 36, seed=8)
    one, other = (
        score(model, x, Infidelity(DRAWS), maps_of(values * times, local=local), target=0) for times in (1.0, factor)
    )
    for column in COLUMNS[1:]:
        torch.testing.assert_close(other[column], one[column], rtol=1e-9, atol=0)
    assert not torch.isclose(other["infidelity"], one["infidelity"], rtol=1e-3).any()


def test_the_columns_are_ordered():
    # scaled is a minimum over beta, 1 and 0 among them; relative is scaled over its value at beta = 0.
    model, x = weights(ConvNet()), numbers(20, 1, 6, 6)
    found = score(model, x, Infidelity(DRAWS), Random(), target=0)
    zero = score(model, x, Infidelity(DRAWS), maps_of(torch.zeros(20, 36).double(), local=False), target=0)
    assert (found["infidelity_scaled"] <= found["infidelity"]).all()
    assert (found["infidelity_scaled"] <= zero["infidelity"]).all()
    torch.testing.assert_close(found["infidelity_relative"], found["infidelity_scaled"] / zero["infidelity"])


def test_one_draw_leaves_nothing_to_explain_after_scaling():
    # The bias that the docstring tells of, at its worst: beta fits a single draw exactly.
    found = score(weights(ConvNet()), numbers(N, 1, 6, 6), Infidelity(1), Random(), target=0)
    assert (found["infidelity"] > 1e-6).all()
    assert found["infidelity_relative"].max() < 1e-12


def test_a_zero_map_explains_nothing():
    model, x = weights(ConvNet()), numbers(N, 1, 6, 6)
    found = score(model, x, Infidelity(DRAWS), maps_of(torch.zeros(N, 36).double(), local=True), target=0)
    changes = gather(Explainer(Request(model, x, target=0)), Infidelity(DRAWS).evidence[0], None)
    torch.testing.assert_close(found["infidelity"], changes.square().mean(1))
    assert torch.equal(found["infidelity"], found["infidelity_scaled"])
    assert torch.equal(found["infidelity_relative"], torch.ones(N).double())


class Still(nn.Module):
    """Says the same whatever it sees."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :2] * 0 + 3


def test_a_model_without_changes_leaves_relative_undefined():
    values = numbers(N, 36, seed=8)
    found = score(Still(), numbers(N, 1, 6, 6), Infidelity(DRAWS), maps_of(values, local=False), target=0)
    assert found["infidelity_relative"].isnan().all()
    assert (found["infidelity"] > 0).all()  # the map announced changes that did not come
    assert torch.equal(found["infidelity_scaled"], torch.zeros(N).double())


@pytest.mark.parametrize("rows", [1, 7, 16, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_left_as_it_was_has_no_change_whatever_the_rows(rows: int | None, dtype: torch.dtype):
    # The same row in batches of two sizes differs by rounding, of which a ratio would make a score.
    model, x = mlp(64, 256, 10).to(dtype), numbers(1, 64, dtype=dtype)
    found = score(model, x, Infidelity(50, FeatureRemoval()), Random(), target=1, baselines=x, rows=rows)
    assert found["infidelity_relative"].isnan().all()
    assert torch.equal(found["infidelity_scaled"], torch.zeros(1).double())


EXACT = [
    Saliency(abs=False),
    IntegratedGradients(n_steps=2),
    IntegratedGradients(n_steps=2, multiply_by_inputs=False),
    DeepLift(),
    GradientShap(n_samples=2),
    NoiseTunnel(Saliency(abs=False), nt_samples=2),
    FeatureAblation(),
    KernelShap(n_samples=120),
    Occlusion(),
]


@pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=repr)
@pytest.mark.parametrize("algorithm", EXACT, ids=repr)
def test_a_linear_model_is_explained_without_infidelity(algorithm: Algorithm, perturbation: Perturbation):
    x, x0 = numbers(N, 1, 6, 6), numbers(1, 1, 6, 6, seed=3)
    found = score(linear(), x, Infidelity(DRAWS, perturbation), algorithm, target=2, baselines=x0)
    for column in COLUMNS:
        assert found[column].abs().max() < 1e-10, column
        assert (found[column] >= 0).all()


def test_input_x_gradient_is_exact_for_a_linear_model_only_at_a_zero_baseline():
    x = numbers(N, 1, 6, 6)
    for baseline, exact in [(0.0, True), (0.5, False)]:
        found = score(linear(), x, Infidelity(DRAWS), InputXGradient(), target=2, baselines=baseline)
        assert (found["infidelity"] < 1e-10).all() == exact


PATCHES = (torch.arange(6)[:, None] // 3 * 2 + torch.arange(6) // 3).reshape(1, 1, 6, 6)


@pytest.mark.parametrize("algorithm", [FeatureAblation(), KernelShap(n_samples=16)], ids=repr)
def test_a_feature_s_value_counts_once(algorithm: Algorithm):
    # Every one of the nine pixels of a patch carries the patch's value.
    found = score(
        linear(),
        numbers(N, 1, 6, 6),
        Infidelity(DRAWS, FeatureRemoval()),
        algorithm,
        target=2,
        features=PATCHES,
    )
    assert all(found[column].max() < 1e-10 for column in COLUMNS)


def test_a_window_s_value_counts_once():
    windows = Occlusion(sliding_window_shapes=(1, 3, 3), strides=3)
    found = score(
        linear(),
        numbers(N, 1, 6, 6),
        Infidelity(DRAWS, FeatureRemoval()),
        windows,
        target=2,
        features=PATCHES,
    )
    assert all(found[column].max() < 1e-10 for column in COLUMNS)


def test_a_quadratic_model_has_the_infidelity_of_its_curvature():
    # f(x) - f(x - I) = I.g - I.A.I / 2, so the exact gradient errs by half the curvature along I.
    model, x = Quadratic(5), numbers(N, 5)
    found = score(model, x, Infidelity(DRAWS, GaussianNoise()), Saliency(abs=False))["infidelity"]
    case, flat = case_of(x)
    shifts = [GaussianNoise().draw(case, flat, k).shift for k in range(DRAWS)]
    errors = torch.stack([((shift @ model.a.detach()) * shift).sum(1) / 2 for shift in shifts])
    torch.testing.assert_close(found, errors.square().mean(0), rtol=1e-9, atol=0)


IDS = torch.tensor([[5, 3, 7, 2], [4, 8, 0, 0], [6, 9, 1, 0]])  # 0 is padding, 11 the neutral word
TEXT = [
    Saliency(abs=False),
    IntegratedGradients(n_steps=3),
    DeepLift(),
    GradientShap(),
    FeatureAblation(),
    KernelShap(),
    Occlusion(),
    Random(),
]


def _text(ids: Tensor) -> dict[str, object]:
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    return {
        "target": 1,
        "baselines": torch.where(ids == 0, 0, 11),
        "features": torch.where(ids == 0, -1, positions),
        "layer": "embedding",
        "own_baselines": True,  # a text's neutral version belongs to that text alone
        "ids": tuple(map(str, ids[:, 0].tolist())),
    }


@pytest.mark.slow
@pytest.mark.parametrize("perturbation", [FeatureRemoval(), GaussianNoise(), GaussianNoise(0.3, relative=False)])
@pytest.mark.parametrize("algorithm", TEXT, ids=repr)
def test_padding_changes_no_score(algorithm: Algorithm, perturbation: Perturbation):
    model = bag(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    metric = Infidelity(DRAWS, perturbation)
    padded = nn.functional.pad(IDS, (0, 3))
    short, long = (score(model, ids, metric, algorithm, **_text(ids)) for ids in (IDS, padded))
    alone = score(model, IDS[1:2, :2], metric, algorithm, **_text(IDS[1:2, :2]))
    for column in COLUMNS:
        torch.testing.assert_close(long[column], short[column], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(alone[column], short[column][1:2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("algorithm", TEXT[:-1], ids=repr)
def test_a_linear_bag_of_words_is_explained_without_infidelity(algorithm: Algorithm):
    found = score(bag(), IDS, Infidelity(DRAWS), algorithm, **_text(IDS))
    assert all(found[column].max() < 1e-10 for column in COLUMNS)


@pytest.mark.parametrize("algorithm", [FeatureAblation(), KernelShap(n_samples=40), Occlusion()], ids=repr)
def test_token_ids_without_an_embedding_as_site(algorithm: Algorithm):
    setting = {key: value for key, value in _text(IDS).items() if key != "layer"}
    found = score(bag(), IDS, Infidelity(DRAWS), algorithm, **setting)
    assert all(found[column].max() < 1e-10 for column in COLUMNS)


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 8, 8), (36,), (4, 9)])
def test_images_lose_squares_and_everything_else_features(shape: tuple[int, ...]):
    case, _ = case_of(numbers(2, *shape))
    assert Infidelity().evidence[0].chosen(case) == (SquareRemoval() if len(shape) == 3 else FeatureRemoval())
    assert Infidelity(perturbation=GaussianNoise()).evidence[0].chosen(case) == GaussianNoise()


@pytest.mark.parametrize("count", [0, -3])
def test_a_number_of_draws_below_one_is_refused(count: int):
    with pytest.raises(ValueError, match=f"n_perturb_samples: expected at least 1, got {count}"):
        Infidelity(count)


def test_raw_values_of_good_maps_are_never_negative():
    # A - 2B + D cancels to about -1e-17 without care, which a logarithmic axis does not survive.
    found = score(linear(), numbers(200, 1, 6, 6), Infidelity(DRAWS), IntegratedGradients(n_steps=2), target=0)
    assert all((found[column] >= 0).all() for column in COLUMNS)
    assert math.isfinite(found["infidelity"].sum())
