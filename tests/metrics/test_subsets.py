"""The metrics of random subsets, and of single features, against loops written from their papers, in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from torch import Tensor, nn

import xbench
from tests.metrics.toys import case_of, linear, maps_of, score
from tests.models_for_tests import ConvNet, numbers, weights
from xbench.algorithms import FeatureAblation, IntegratedGradients
from xbench.config.compose import component
from xbench.config.nodes import identity
from xbench.core.needs import NotApplicable
from xbench.datasets.planted import PlantedLinear
from xbench.explain.request import as_module
from xbench.metrics import LDS, FaithfulnessCorrelation, FaithfulnessEstimate, Metric, MuFidelity, SensitivityN
from xbench.metrics.ranks import pearson, settled
from xbench.metrics.subsets import RandomSubsets

N, DRAWS = 4, 12
PATCHES = (torch.arange(36) // 3).reshape(1, 1, 6, 6)  # twelve features
METRICS: list[Metric] = [FaithfulnessCorrelation(), MuFidelity(), LDS(), SensitivityN(), FaithfulnessEstimate()]


def samples() -> Tensor:
    return numbers(N, 1, 6, 6)


def removals(
    model: nn.Module, x: Tensor, phi: Tensor, x0: float, groups: Tensor, sets: list[list[int]]
) -> list[tuple[float, float, float, float]]:
    """Of one sample and each set: the relevance removed and left, the drop of the output, and the output."""
    ids, full = groups.flatten(), model(x[None])[0, 1].item()
    total = [float(phi.flatten()[ids == k].sum()) for k in range(int(ids.max()) + 1)]
    found = []
    for gone in sets:
        without = x.flatten().clone()
        for place, group in enumerate(ids.tolist()):
            if group in gone:
                without[place] = x0
        output = model(without.reshape(1, *x.shape))[0, 1].item()
        left = sum(value for k, value in enumerate(total) if k not in gone)
        found.append((sum(total[k] for k in gone), left, full - output, output))
    return found


def drawn(share: float, groups: Tensor, draws: int = DRAWS) -> list[list[list[int]]]:
    """The sets of every sample, as lists of features."""
    case, _ = case_of(samples(), features=groups)
    found = torch.stack([RandomSubsets(draws, share).removed(case, index) for index in range(draws)], dim=1)
    return [[chosen.nonzero().flatten().tolist() for chosen in sample] for sample in found]


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_correlations_are_those_of_the_loop(share: float) -> None:
    model, x, phi = weights(ConvNet()), samples(), numbers(N, 1, 6, 6, seed=3)
    setting = {"target": 1, "baselines": 0.25, "features": PATCHES}
    linearly = score(model, x, FaithfulnessCorrelation(DRAWS, share), phi, **setting)["faithfulness_correlation"]
    by_rank = score(model, x, MuFidelity(DRAWS, share), phi, **setting)["mu_fidelity"]
    lds = score(model, x, LDS(DRAWS, share), phi, **setting)["lds"]
    several = score(model, x, SensitivityN(DRAWS, (share, 0.8)), phi, **setting)
    for i, sets in enumerate(drawn(share, PATCHES)):
        removed, left, drops, outputs = zip(*removals(model, x[i], phi[i], 0.25, PATCHES, sets), strict=True)
        assert linearly[i] == pytest.approx(pearsonr(removed, drops).statistic)
        assert by_rank[i] == pytest.approx(spearmanr(removed, drops).statistic)
        assert lds[i] == pytest.approx(spearmanr(left, outputs).statistic)
    torch.testing.assert_close(several[f"sensitivity_n_{100 * share:.0f}"], linearly)
    torch.testing.assert_close(several["sensitivity_n"], (linearly + several["sensitivity_n_80"]) / 2)


def test_the_estimate_is_that_of_the_loop() -> None:
    model, x, phi = weights(ConvNet()), samples(), numbers(N, 1, 6, 6, seed=3)
    found = score(model, x, FaithfulnessEstimate(), phi, target=1, baselines=0.25, features=PATCHES)
    for i in range(N):
        alone = removals(model, x[i], phi[i], 0.25, PATCHES, [[k] for k in range(12)])
        removed, _, drops, _ = zip(*alone, strict=True)
        assert found["faithfulness_estimate"][i] == pytest.approx(pearsonr(removed, drops).statistic)
    with pytest.raises(NotApplicable, match="needs at most 11 features"):
        score(model, x, FaithfulnessEstimate(11), phi, target=1, features=PATCHES)


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: type(m).__name__)
def test_what_stands_in_place_of_a_removed_feature_is_a_choice(metric: Metric) -> None:
    model, x, phi = weights(ConvNet()), samples(), numbers(N, 1, 6, 6, seed=3)
    setting = {"target": 1, "features": PATCHES}
    mean = torch.full_like(x, 0.3)
    found = score(model, x, replace(metric, imputer="mean"), phi, named_baselines=lambda _: mean, **setting)
    torch.testing.assert_close(found, score(model, x, metric, phi, baselines=mean, **setting))
    assert not torch.allclose(found[metric.main], score(model, x, metric, phi, **setting)[metric.main])
    with pytest.raises(NotApplicable, match="needs a data set that has the baseline 'mean'"):
        score(model, x, replace(metric, imputer="mean"), phi, **setting)
    with pytest.raises(ValueError, match="imputer: expected one of baseline, linear"):
        replace(metric, imputer="zeros")


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: type(m).__name__)
def test_a_linear_model_is_told_without_error_by_its_shares_alone(metric: Metric) -> None:
    model, x, setting = linear(), samples(), {"target": 1, "baselines": 0.25}
    shares = xbench.attribute(model, x, IntegratedGradients(n_steps=1), **setting)
    one = torch.ones(N).double()
    for map_, expected in ((shares, one), (7 * shares, one), (-shares, -one)):
        for values in score(model, x, metric, map_, **setting).values():
            torch.testing.assert_close(values, expected)


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: type(m).__name__)
def test_no_order_is_no_number(metric: Metric) -> None:
    model, x = linear(), samples()
    for map_ in (torch.zeros_like(x), torch.full_like(x, 0.1)):
        assert all(values.isnan().all() for values in score(model, x, metric, map_, target=1).values())
    constant = score(as_module(lambda x: torch.ones(len(x))), x, metric, numbers(N, 1, 6, 6, seed=3))
    assert all(values.isnan().all() for values in constant.values())


@pytest.mark.parametrize("metric", METRICS[:-1], ids=lambda m: type(m).__name__)
def test_one_feature_is_skipped_and_few_are_not(metric: Metric) -> None:
    whole = torch.zeros(1, 1, 6, 6, dtype=torch.int64)
    with pytest.raises(NotApplicable, match="needs at least two features: no sample has more than one"):
        score(linear(), samples(), metric, samples(), target=1, features=whole)
    halves = (torch.arange(36) // 18).reshape(1, 1, 6, 6)
    found = score(linear(), samples(), metric, IntegratedGradients(n_steps=1), target=1, features=halves)
    assert all((values == 1).all() for values in found.values())


def test_sets_have_one_size_and_are_drawn_evenly() -> None:
    for share, size in ((0.01, 1), (0.2, 2), (0.5, 6), (0.99, 11)):
        assert {len(sets) for sample in drawn(share, PATCHES) for sets in sample} == {size}
    often = torch.zeros(12)
    for sample in drawn(0.25, PATCHES, draws=1000):
        for sets in sample:
            often[sets] += 1
    assert ((often / (N * 1000) - 0.25).abs() < 0.03).all()  # four standard deviations


def test_a_sample_of_fewer_features_has_smaller_sets() -> None:
    """The features are words: a sample has six, the other four and padding, whose relevance counts for nothing."""
    x = numbers(2, 6)
    features = torch.tensor([[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, -1, -1]])
    case, _ = case_of(x, features=features)
    sets = RandomSubsets(5, 0.5)
    assert [int(sets.removed(case, 0)[i].sum()) for i in (0, 1)] == [3, 2]
    assert not sets.removed(case, 0)[1, 4:].any()
    padded = x.clone()
    padded[1, 4:] = 99
    for metric in METRICS:
        setting = {"features": features}
        found = [score(as_module(lambda x: x.sum(1)), x, metric, phi, **setting)[metric.main] for phi in (x, padded)]
        torch.testing.assert_close(found[0], torch.ones(2).double())
        torch.testing.assert_close(found[1], torch.ones(2).double())


def test_rounding_is_no_order() -> None:
    """Distractors change nothing, in single precision by rounding: the map that is right ranks without error."""
    data = PlantedLinear(n=40, train=10).load()
    x, model = data.test.inputs, data.known()
    setting = {"target": data.test.targets, "baselines": 0.0}
    right = xbench.attribute(model, x, IntegratedGradients(n_steps=1), **setting)
    assert right.dtype == torch.float32
    found = score(model, x, MuFidelity(), right, **setting)["mu_fidelity"]
    torch.testing.assert_close(found, torch.ones(40).double(), rtol=0, atol=1e-9)


def test_values_within_a_step_become_one() -> None:
    values = torch.tensor([[3.0, 1.05, 1.0, 2.0, 1.1], [1.0, torch.nan, 2.0, 3.0, 4.0]])
    found = settled(values, torch.tensor([[0.07], [0.07]]))
    assert found[0].tolist() == [3.0, 1.0, 1.0, 2.0, 1.0]
    assert found[1].isnan().all()
    assert torch.equal(settled(values[:1], torch.zeros(1, 1)), values[:1])


def test_correlation_is_scipy_s() -> None:
    left, right, own = numbers(6, 9), numbers(6, 9, seed=1), torch.ones(6, 9, dtype=torch.bool)
    own[2, 5:] = False
    found = pearson(left, right, own)
    for i in range(6):
        assert found[i] == pytest.approx(pearsonr(left[i][own[i]], right[i][own[i]]).statistic)
    left[0, 0], left[1] = torch.inf, 0.1
    assert pearson(left, right, own).isnan().tolist() == [True, True, False, False, False, False]


def test_on_planted_data_the_true_map_beats_its_inverse() -> None:
    data = PlantedLinear(n=20, train=10).load()
    x, model = data.test.inputs, data.known()
    setting = {"target": data.test.targets, "baselines": 0.0}
    right = xbench.attribute(model, x, FeatureAblation(), **setting)
    for metric in METRICS:
        true, inverse = (score(model, x, metric, phi, **setting)[metric.main] for phi in (right, -right))
        assert (true > 0.999).all()
        assert (inverse < -0.999).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MuFidelity(n_draws=1), "n_draws: expected at least 2, got 1"),
        (lambda: LDS(share=1.0), "share: expected numbers between 0 and 1, got 1.0"),
        (lambda: SensitivityN(shares=()), "share: expected numbers between 0 and 1, got none"),
        (lambda: SensitivityN(shares=(0.2, 0.201)), "shares: expected different whole percentages"),
    ],
)
def test_parameters_are_checked(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_one_set_of_evaluations_serves_all() -> None:
    def evidence(name: str) -> list[object]:
        return [identity(each) for each in component("metric", name).evidence]

    for name in ("faithfulness_correlation", "mu_fidelity", "lds"):
        assert evidence(name)[0] in evidence("sensitivity_n")
    assert evidence("monotonicity_correlation") == evidence("faithfulness_estimate") == evidence("non_sensitivity")


def test_maps_alone_are_scored() -> None:
    case, x = case_of(numbers(3, 8))
    found = MuFidelity(4).score(case, x, maps_of(x, local=False), numbers(3, 4, seed=2))
    assert found["mu_fidelity"].shape == (3,)
