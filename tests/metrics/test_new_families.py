"""The metrics of order, of complexity and of randomisation against loops written from their papers, in float64."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

import xbench
from tests.metrics.toys import case_of, linear, maps_of, score
from tests.models_for_tests import ConvNet, numbers, weights
from xbench.algorithms import FeatureAblation, InputXGradient, IntegratedGradients, Random, Saliency
from xbench.core.needs import NotApplicable
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request
from xbench.metrics import (
    MPRT,
    DeletionAUC,
    MonotonicityCorrelation,
    PixelFlipping,
    RandomLogit,
    SensitivityAvg,
    SensitivityMax,
    Sparseness,
)
from xbench.metrics.ranks import spearman

N, STEPS = 5, 6
PATCHES = (torch.arange(36) // 9).reshape(1, 1, 6, 6)


def samples() -> Tensor:
    return numbers(N, 1, 6, 6)


def curve(model: nn.Module, x: Tensor, phi: Tensor, x0: float, groups: Tensor | None = None) -> list[float]:
    """f while the most relevant features of one sample go to the baseline, one sample at a time."""
    ids = torch.arange(x.numel()) if groups is None else groups.flatten()
    total = [float(phi.flatten()[ids == k].sum()) for k in range(int(ids.max()) + 1)]
    order = sorted(range(len(total)), key=lambda k: (-total[k], k))
    outputs = []
    for step in range(STEPS + 1):
        gone = order[: round(len(order) * step / STEPS)]
        without = x.flatten().clone()
        without[torch.isin(ids, torch.tensor(gone, dtype=torch.int64))] = x0
        outputs.append(model(without.reshape(1, *x.shape))[0, 1].item())
    return outputs


@pytest.mark.parametrize("groups", [None, PATCHES], ids=["pixels", "patches"])
def test_curves_are_those_of_the_loop(groups: Tensor | None) -> None:
    model, x, phi = weights(ConvNet()), samples(), numbers(N, 1, 6, 6, seed=3)
    setting = {"target": 1, "baselines": 0.25, "features": groups}
    area = score(model, x, DeletionAUC(STEPS), phi, **setting)["deletion_auc"]
    drop = score(model, x, PixelFlipping(STEPS), phi, **setting)["pixel_flipping"]
    for i in range(N):
        found = curve(model, x[i], phi[i], 0.25, groups)
        assert area[i] == pytest.approx(sum((a + b) / 2 for a, b in itertools.pairwise(found)) / STEPS)
        assert drop[i] == pytest.approx(sum(found[0] - f for f in found[1:]) / STEPS)


def test_equal_relevance_goes_in_the_order_of_the_features() -> None:
    x = torch.tensor([[3.0, 2.0, 1.0]], dtype=torch.float64)
    found = xbench.measure(lambda x: x.sum(1), x, torch.ones_like(x), DeletionAUC(3))
    assert found.item() == pytest.approx((6 / 2 + 3 + 1 + 0) / 3)  # 6, 3, 1, 0


def test_sparseness_is_the_gini_index() -> None:
    x = torch.zeros(4, 4, dtype=torch.float64)
    maps = torch.tensor([[0, 0, 0, -2.0], [1, 1, 1, 1], [0, 0, 0, 0], [1, -2, 3, 4]], dtype=torch.float64)
    found = xbench.measure(lambda x: x.sum(1), x, maps, Sparseness())
    pairs = sum(abs(a - b) for a in (1, 2, 3, 4) for b in (1, 2, 3, 4)) / (2 * 4 * 10)
    torch.testing.assert_close(found, torch.tensor([0.75, 0.0, math.nan, pairs]).double(), equal_nan=True)


def test_sparseness_counts_the_features_that_a_sample_has() -> None:
    """Four of six elements are features, the others padding: as if the padding were not there."""
    maps = torch.tensor([[1.0, 2.0, 3.0, 4.0, 9.0, 9.0], [1.0, 1.0, 1.0, 1.0, 1.0, 7.0]], dtype=torch.float64)
    features = torch.tensor([[0, 1, 2, 3, -1, -1], [0, 1, 2, 3, 4, 5]])
    case, x = case_of(torch.zeros(2, 6, dtype=torch.float64), features=features)
    found = Sparseness().score(case, x, maps_of(maps, local=False))["sparseness"]
    alone = xbench.measure(lambda x: x.sum(1), torch.zeros(1, 4), maps[:1, :4], Sparseness())
    torch.testing.assert_close(found[:1], alone)
    assert found[1] == pytest.approx((5 * 7 - (1 + 1 + 1 + 1 + 1)) / (6 * 12))


def test_monotonicity_correlation_is_that_of_the_loop() -> None:
    model, x, phi = weights(ConvNet()), samples(), numbers(N, 1, 6, 6, seed=3)
    found = score(model, x, MonotonicityCorrelation(), phi, target=1, baselines=0.5)["monotonicity_correlation"]
    for i in range(N):
        drops = []
        for k in range(36):
            without = x[i].flatten().clone()
            without[k] = 0.5
            change = model(x[i : i + 1])[0, 1] - model(without.reshape(1, 1, 6, 6))[0, 1]
            drops.append(abs(change.item()))
        assert found[i] == pytest.approx(spearmanr(phi[i].flatten().abs(), drops).statistic)


def test_ablation_is_monotone_in_itself_and_many_features_are_skipped() -> None:
    model, x = weights(ConvNet()), samples()
    found = score(model, x, MonotonicityCorrelation(), FeatureAblation(), target=1)["monotonicity_correlation"]
    torch.testing.assert_close(found, torch.ones(N).double())
    with pytest.raises(NotApplicable, match="needs at most 35 features"):
        score(model, x, MonotonicityCorrelation(35), FeatureAblation(), target=1)


def test_ranks_with_ties_are_scipy_s() -> None:
    left, right = numbers(6, 9).round(), numbers(6, 9, seed=1).round()
    own = torch.ones(6, 9, dtype=torch.bool)
    own[2, 5:] = False
    found = spearman(left, right, own)
    for i in range(6):
        assert found[i] == pytest.approx(spearmanr(left[i][own[i]], right[i][own[i]]).statistic)
    assert spearman(torch.ones(1, 3), torch.arange(3.0)[None], torch.ones(1, 3, dtype=torch.bool)).isnan().all()


def test_the_mean_of_sensitivity_lies_below_its_maximum() -> None:
    model, x = weights(ConvNet()), samples()
    settings = {"perturb_radius": 0.1, "n_perturb_samples": 4}
    most = score(model, x, SensitivityMax(**settings), Saliency(), target=1)["sensitivity_max"]
    mean = score(model, x, SensitivityAvg(**settings), Saliency(), target=1)["sensitivity_avg"]
    assert ((mean > 0) & (mean < most)).all()
    one = {"perturb_radius": 0.1, "n_perturb_samples": 1}
    torch.testing.assert_close(
        score(model, x, SensitivityAvg(**one), Saliency(), target=1)["sensitivity_avg"],
        score(model, x, SensitivityMax(**one), Saliency(), target=1)["sensitivity_max"],
    )


def test_random_logit_compares_with_another_output() -> None:
    model, x = linear(classes=2), samples()
    found = score(model, x, RandomLogit(), Saliency(abs=False), target=torch.tensor([0, 1, 0, 1, 0]))["random_logit"]
    slope = model[1].weight.detach()
    expected = spearmanr(slope[0], slope[1]).statistic  # of two classes the other one is the only choice
    torch.testing.assert_close(found, torch.full((N,), expected).double())
    assert torch.equal(score(model, x, RandomLogit(), Random(), target=0)["random_logit"], torch.ones(N).double())


def test_random_logit_never_takes_the_same_output_and_needs_several() -> None:
    class Rows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.unsqueeze(2) * torch.eye(4, dtype=x.dtype)  # (n, 4, 4): the map of output (i, j) is 1 at i = j

    x = numbers(40, 4)
    explainer = Explainer(Request(Rows(), x, target=(2, 1)))
    seen = set()
    (evidence,) = RandomLogit().evidence
    from xbench.metrics import Explained

    explained = Explained(Rows(), explainer.subject.target, explainer.outputs)
    for change in evidence.changes(explainer.case(distribution=False), explained):
        assert change.target is not None
        seen |= set(map(tuple, change.target.tolist()))
    assert (2, 1) not in seen
    assert len(seen) > 8
    assert all(0 <= i < 4 and 0 <= j < 4 for i, j in seen)
    with pytest.raises(NotApplicable, match="needs a choice among several outputs"):
        score(linear(classes=1), samples(), RandomLogit(), Saliency(), target=0)


def test_mprt_leaves_the_model_and_tells_maps_of_the_model_from_maps_of_the_input() -> None:
    model, x = weights(ConvNet()), samples()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = score(model, x, MPRT(), InputXGradient(), target=1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (found["mprt"].abs() < 0.9).all()
    same = score(model, x, MPRT(), Random(), target=1)
    assert torch.equal(same["mprt"], torch.ones(N).double())
    assert torch.equal(same["mprt_full"], torch.ones(N).double())


def test_mprt_needs_a_module() -> None:
    with pytest.raises(NotApplicable, match="needs a module"):
        xbench.measure(lambda x: x.sum(1), samples().flatten(1), IntegratedGradients(2), MPRT())
