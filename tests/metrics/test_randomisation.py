"""The metrics of randomisation against loops written from their papers, and where the answer is known, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy, spearmanr
from torch import Tensor, nn

import xbench
from tests.metrics.toys import bag, linear, score
from tests.models_for_tests import ConvNet, TwoInputs, mlp, numbers, weights
from xbench.algorithms import Algorithm, Constant, InputXGradient, IntegratedGradients, NoiseTunnel, Random, Saliency
from xbench.core.needs import NotApplicable
from xbench.explain.explainer import Explainer
from xbench.explain.explanation import Explanation
from xbench.explain.request import Request
from xbench.explain.score import score_maps
from xbench.metrics import MPRT, EfficientMPRT, InputInvariance, Metric, MPRTBottomUp, SmoothMPRT
from xbench.metrics.randomisation.random_weights import cascade, histogram_entropy, redrawn, weighted

N = 3
SIGNED = Saliency(abs=False)


@pytest.fixture
def model() -> nn.Module:
    return weights(ConvNet())


@pytest.fixture
def images() -> Tensor:
    return numbers(N, 1, 6, 6)


def maps(model: nn.Module, x: Tensor, algorithm: Algorithm = SIGNED) -> Tensor:
    return xbench.attribute(model, x, algorithm, target=1).flatten(1)


def alike(left: Tensor, right: Tensor) -> list[float]:
    return [spearmanr(a, b).statistic for a, b in zip(left, right, strict=True)]


@pytest.mark.parametrize("order", ["top_down", "bottom_up"])
def test_a_cascade_draws_from_one_end_and_leaves_the_model(model: nn.Module, order: str) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = []
    for made, last in cascade(model, 0, 3, order):
        pairs = zip(weighted(made), weighted(model), strict=True)
        changed = [not all(map(torch.equal, m.parameters(False), o.parameters(False))) for m, o in pairs]
        assert changed == sorted(changed, reverse=order == "bottom_up")
        assert last == all(changed)
        seen.append(sum(changed))
        final = [p.clone() for p in made.parameters()]
    assert len(set(seen)) == 3
    assert all(map(torch.equal, final, redrawn(model, 0).parameters()))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weights_keep_their_mean_and_spread_and_depend_on_the_seed() -> None:
    model = mlp(200, 100, 2)
    drawn, again, other = (redrawn(model, seed)[0].weight for seed in (0, 0, 1))
    assert torch.equal(drawn, again)
    assert not torch.allclose(drawn, other)
    assert drawn.std().item() == pytest.approx(model[0].weight.std().item(), rel=0.02)


@pytest.mark.parametrize("cascades", [1, 3])
@pytest.mark.parametrize(("kind", "order"), [(MPRT, "top_down"), (MPRTBottomUp, "bottom_up")])
def test_mprt_is_the_mean_correlation_over_the_cascade(
    model: nn.Module, images: Tensor, kind: type[MPRT | MPRTBottomUp], order: str, cascades: int
) -> None:
    found = score(model, images, kind(cascades), SIGNED, target=1)
    own = maps(model, images)
    each = [alike(own, maps(changed, images)) for changed, _ in cascade(model, 0, cascades, order)]
    assert found[kind().main].tolist() == pytest.approx(np.mean(each, axis=0))
    if kind is MPRT:
        assert found["mprt_full"].tolist() == pytest.approx(each[-1])


def test_smooth_mprt_compares_means_over_noisy_copies(model: nn.Module, images: Tensor) -> None:
    metric = SmoothMPRT(cascades=2, nt_samples=4, stdevs=0.2)
    found = score(model, images, metric, SIGNED, target=1)
    smooth = NoiseTunnel(SIGNED, nt_samples=4, stdevs=0.2, relative=True)
    own = maps(model, images, smooth)
    each = [alike(own, maps(changed, images, smooth)) for changed, _ in cascade(model, 0, 2, "bottom_up")]
    assert found["smooth_mprt"].tolist() == pytest.approx(np.mean(each, axis=0))
    assert found["smooth_mprt_full"].tolist() == pytest.approx(each[-1])
    plain = score(model, images, MPRTBottomUp(2), SIGNED, target=1)["mprt_bottom_up"]
    assert not torch.allclose(found["smooth_mprt"], plain)


def test_efficient_mprt_is_the_relative_rise_of_entropy(model: nn.Module, images: Tensor) -> None:
    found = score(model, images, EfficientMPRT(7), SIGNED, target=1)["efficient_mprt"]
    for i, both in enumerate(zip(maps(model, images), maps(redrawn(model, 0), images), strict=True)):
        before, after = (entropy(np.histogram(phi.numpy(), bins=7)[0]) for phi in both)
        assert found[i].item() == pytest.approx((after - before) / before)


def test_entropy_counts_own_values_only_and_is_nan_where_one_is() -> None:
    phi = torch.tensor([[0.0, 1.0, 9.0, 9.0], [0.0, 1.0, 2.0, 3.0], [5.0, 5.0, 5.0, 5.0], [0.0, math.nan, 1.0, 2.0]])
    own = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]).bool()
    expected = torch.tensor([math.log(2), math.log(4), 0, math.nan]).double()
    torch.testing.assert_close(histogram_entropy(phi, own, 4), expected, equal_nan=True)


def test_maps_that_ignore_the_model_do_not_change(model: nn.Module, images: Tensor) -> None:
    for metric in (MPRTBottomUp(), SmoothMPRT()):
        assert (score(model, images, metric, Random(), target=1)[metric.main] == 1).all()
    assert (score(model, images, EfficientMPRT(), Random(), target=1)["efficient_mprt"] == 0).all()
    assert (score(model, images, InputInvariance(), Random(), target=1)["input_invariance"] == 0).all()


@pytest.mark.parametrize("metric", [MPRTBottomUp(), SmoothMPRT(), EfficientMPRT()])
def test_constant_maps_have_neither_order_nor_entropy(model: nn.Module, images: Tensor, metric: Metric) -> None:
    assert score(model, images, metric, Constant(1.0), target=1)[metric.main].isnan().all()


def test_constant_maps_are_invariant_and_zero_ones_undefined(model: nn.Module, images: Tensor) -> None:
    one, zero = (score(model, images, InputInvariance(), Constant(c), target=1)["input_invariance"] for c in (1.0, 0.0))
    assert (one == 0).all()
    assert zero.isnan().all()


def padded() -> nn.Module:
    """A convolution that pads with zeros, which no shift of the input reaches: a bias alone does not undo it."""
    layers = nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(72, 3)
    return weights(nn.Sequential(*layers))


def without_bias() -> nn.Module:
    return weights(nn.Sequential(nn.Flatten(), nn.Linear(36, 4, bias=False), nn.Tanh(), nn.Linear(4, 3)))


@pytest.mark.parametrize("made", [padded(), without_bias(), weights(ConvNet()), linear()], ids=["a", "b", "c", "d"])
@pytest.mark.parametrize("shift", [-1.0, 0.5])
def test_slopes_are_invariant_and_slopes_times_inputs_move_by_the_shift(
    made: nn.Module, images: Tensor, shift: float
) -> None:
    slope = maps(made, images)
    by_slope = score(made, images, InputInvariance(shift), SIGNED, target=1)["input_invariance"]
    torch.testing.assert_close(by_slope, torch.zeros(N).double(), rtol=0, atol=1e-12)
    by_share = score(made, images, InputInvariance(shift), InputXGradient(), target=1)["input_invariance"]
    expected = abs(shift) * slope.norm(dim=1) / (images.flatten(1) * slope).norm(dim=1)
    torch.testing.assert_close(by_share, expected)


def test_a_baseline_is_not_shifted(images: Tensor) -> None:
    # phi = w (x - x0), and w (x + m - x0) of the shifted sample.
    model = linear()
    weight = model[1].weight[1].detach()
    found = score(model, images, InputInvariance(2.0), IntegratedGradients(n_steps=2), target=1, baselines=0.5)
    expected = 2 * weight.norm() / ((images.flatten(1) - 0.5) * weight).norm(dim=1)
    torch.testing.assert_close(found["input_invariance"], expected)


class Gated(nn.Module):
    """The input passes the first layer and goes past it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) * x


class Twice(Gated):
    def forward(self, x: Tensor) -> Tensor:
        return self.first(self.first(x))


@pytest.mark.parametrize(
    ("model", "inputs", "setting", "message"),
    [
        (nn.Identity(), numbers(N, 4), {}, "needs a first linear or convolutional layer: none was seen"),
        (weights(Twice()), numbers(N, 4), {}, "needs a first linear or convolutional layer: called more than once"),
        (weights(Gated()), numbers(N, 4), {}, "needs a first layer through which all of the input passes: 'first' is"),
        (weights(TwoInputs()), (numbers(N, 3), numbers(N, 2, 2)), {}, "needs a first layer through which all"),
        (bag(), torch.ones(N, 3, dtype=torch.int64), {"layer": "embedding"}, "needs points that enter at the input"),
        (lambda x: x, numbers(N, 4), {}, "needs a module"),
    ],
)
def test_what_cannot_undo_a_shift_is_skipped(
    model: nn.Module, inputs: Tensor, setting: dict[str, object], message: str
) -> None:
    with pytest.raises(NotApplicable, match=message):
        xbench.measure(model, inputs, SIGNED, InputInvariance(), target=1, **setting)


def test_the_model_is_left_without_hooks(images: Tensor) -> None:
    model = padded()
    score(model, images, InputInvariance(), SIGNED, target=1)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (MPRT, {"cascades": 0}, "cascades: expected at least 1, got 0"),
        (MPRTBottomUp, {"cascades": 0}, "cascades: expected at least 1, got 0"),
        (SmoothMPRT, {"order": "random"}, "order: expected top_down or bottom_up, got 'random'"),
        (SmoothMPRT, {"nt_samples": 0}, "nt_samples: expected at least 1, got 0"),
        (SmoothMPRT, {"stdevs": 0}, "stdevs: expected a positive number, got 0"),
        (EfficientMPRT, {"n_bins": 1}, "n_bins: expected at least 2, got 1"),
        (InputInvariance, {"shift": 0}, "shift: expected a number other than 0, got 0"),
        (InputInvariance, {"shift": math.nan}, "shift: expected a number other than 0, got nan"),
    ],
)
def test_bad_arguments_are_refused(kind: type[Metric], arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


def test_the_rows_of_every_changed_model_count(model: nn.Module, images: Tensor) -> None:
    made = Explainer(Request(model, images, target=1))
    explanation, counters = Explanation.of(SIGNED, made), made.restart()
    score_maps(made, MPRT(cascades=3), explanation)
    assert counters.forward_rows == counters.backward_rows == 3 * N  # all weights, and two cascades before
