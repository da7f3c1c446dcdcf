"""Noise tunnels, against a loop over copies."""

import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.formulas import D, Game, N, Power, exactly, noise, samples
from tests.models_for_tests import Quadratic, numbers
from xbench import algorithms as a
from xbench import attribute
from xbench.core.draws import Draws
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request


@pytest.mark.parametrize("inner", [a.Saliency(abs=False), a.IntegratedGradients(3), a.FeatureAblation()], ids=str)
@pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
def test_noise_tunnel_against_a_loop_over_copies(nt_type, inner):
    model, (x, x0), count = Game(D), samples(), 7
    maps = attribute(model, x, a.NoiseTunnel(inner, nt_type, count, 0.3), baselines=x0)
    copies = torch.stack([attribute(model, x + 0.3 * noise("tunnel", k, x), inner, baselines=x0) for k in range(count)])
    wanted = {
        "smoothgrad": copies.mean(0),
        "smoothgrad_sq": copies.square().mean(0),
        "vargrad": copies.var(0, unbiased=False),
    }
    exactly(maps, wanted[nt_type])


def test_relative_noise_is_a_share_of_each_samples_range():
    """Over the elements that belong to a feature, tensor by tensor."""
    x = torch.tensor([[0.0, 1.0, 3.0, 99.0], [-1.0, 0.0, 0.5, 99.0]], dtype=torch.float64)
    y = torch.tensor([[5.0, 7.0], [0.0, 0.0]], dtype=torch.float64)

    class Cubes(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a.pow(3).sum(1) + b.pow(3).sum(1)

    tunnel = a.NoiseTunnel(a.Saliency(abs=False), "smoothgrad", 3, (0.1, 0.2), relative=True)
    features = torch.tensor([[0, 1, 2, -1]]), torch.tensor([[3, 4]])
    maps = torch.cat(attribute(Cubes(), (x, y), tunnel, features=features), 1)
    joint = torch.cat([x, y], 1)
    spans = torch.tensor([[3.0] * 4 + [2.0] * 2, [1.5] * 4 + [0.0] * 2], dtype=torch.float64)
    stdev = spans * torch.tensor([0.1] * 4 + [0.2] * 2, dtype=torch.float64)
    copies = torch.stack([3 * (joint + stdev * noise("tunnel", k, joint)).square() for k in range(3)])
    exactly(maps, copies.mean(0))


def test_a_stochastic_algorithm_draws_anew_for_every_copy():
    """Without noise the copies differ by the inner draws alone."""
    model, (x, x0) = Quadratic(D), samples()
    tunnel = a.NoiseTunnel(a.GradientShap(1), "vargrad", 4, 0.0)
    assert attribute(model, x, tunnel, baselines=x0).min() > 0
    fixed = a.NoiseTunnel(a.IntegratedGradients(3), "vargrad", 4, 0.0)
    assert attribute(model, x, fixed, baselines=x0).max() < 1e-20


def test_tunnels_may_be_nested():
    model, (x, _) = Power(3), samples()
    inner = a.NoiseTunnel(a.Saliency(abs=False), "smoothgrad", 2, 0.1)
    explainer = Explainer(Request(model, x))
    maps = explainer.attribute(a.NoiseTunnel(inner, "smoothgrad", 3, 0.2))
    assert explainer.engine.counters.forward_rows == N * 6
    ids = tuple(map(str, range(N)))
    copies = [
        3 * (x + 0.2 * noise("tunnel", k, x) + 0.1 * Draws(0, ids, f"/copy{k}").normal("tunnel", j, x)).square()
        for k in range(3)
        for j in range(2)
    ]
    exactly(maps, torch.stack(copies).mean(0))


@pytest.mark.parametrize("rows", [None, 1])
def test_random_baselines_of_a_tunnel_depend_on_the_sample_alone(rows):
    model, (x, _), baselines = Quadratic(D), samples(), numbers(3, D, seed=8)
    tunnel = a.NoiseTunnel(a.GradientShap(2), "smoothgrad", 3, 0.1, draw_baseline_from_distrib=True)
    together = attribute(model, x, tunnel, baselines=baselines, rows=rows)
    alone = attribute(model, x[:1], tunnel, baselines=baselines)
    exactly(alone, together[:1])
    assert not torch.allclose(together, attribute(model, x, tunnel, baselines=baselines[:1]), rtol=1e-2)


@pytest.mark.parametrize("inner", [a.GradientShap(2), a.IntegratedGradients(2)], ids=str)
def test_a_tunnel_refuses_to_draw_from_baselines_that_are_the_samples_own(inner):
    """In a run every sample has one baseline: there is no distribution to draw from, least of all the batch."""
    model, (x, x0) = Quadratic(D), samples()
    tunnel = a.NoiseTunnel(inner, "smoothgrad", 3, 0.1, draw_baseline_from_distrib=True)
    with pytest.raises(ValueError, match="there is no distribution to draw"):
        Explainer(Request(model, x, baselines=x0, own_baselines=True)).attribute(tunnel)


def test_a_tunnel_needs_an_algorithm():
    with pytest.raises(TypeError, match="algorithm: expected an algorithm to smooth, got str"):
        a.NoiseTunnel("saliency")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [a.GradientShap(2, (0.1, 0.2)), a.NoiseTunnel(a.Saliency(), stdevs=(0.1, 0.2))])
def test_one_stdev_per_input(method):
    with pytest.raises(ValueError, match=r"expected one value per input tensor \(1\), got 2"):
        attribute(Quadratic(D), numbers(N, D), method)
