"""Activations, a tolerance for paths, and maps that can be differentiated, against loops from their definitions."""

from math import inf

import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.paths import TARGET, D, N, Single, by_hook, exactly, gradient, halves, samples
from tests.models_for_tests import ConvNet, Quadratic, TextNet, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute, attribute_with_notes
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

pytestmark = pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning")


@pytest.mark.parametrize("how", ["layer", "read"])
@pytest.mark.parametrize("layer", ["conv1", "norm", "conv2", "hidden", "embedding"])
def test_activations_are_what_a_hook_sees(layer, how):
    text = layer == "embedding"
    model = weights(TextNet() if text else ConvNet())
    inputs = torch.arange(N * 7).reshape(N, 7) % 20 if text else numbers(N, 1, 6, 6)
    extra = (torch.ones(N, 7, dtype=torch.float64),) if text else ()
    level, slope = by_hook(model, layer, torch.tensor(TARGET), inputs, *extra)
    asked = {"target": TARGET, "extra": extra, how: layer}
    exactly(attribute(model, inputs, a.Activation(), **asked), level)
    exactly(attribute(model, inputs, a.GradientXActivation(), **asked), level * slope)
    exactly(attribute(model, inputs, a.GradientXActivation(multiply_by_inputs=False), **asked), slope)


def test_activations_at_the_input_are_the_sample():
    model, (x, _) = Quadratic(D), samples()
    assert torch.equal(attribute(model, x, a.Activation()), x)
    exactly(attribute(model, x, a.GradientXActivation()), x * model.gradient(x))
    assert not a.GradientXActivation().facts.local
    assert a.GradientXActivation(multiply_by_inputs=False).facts.local


def test_an_activation_depends_on_neither_target_nor_neuron():
    model, (x, _) = mlp(D, 5, 3), samples()
    places = [{}, {"target": 0}, {"target": 2}, {"neuron": ("0", 1)}, {"target": 1, "output": "probability"}]
    maps = [attribute(model, x, a.Activation(), read="1", **asked) for asked in places]
    assert all(torch.equal(each, model[:2](x).detach()) for each in maps)


# A stopping tolerance


def hard() -> tuple[nn.Module, Tensor, Tensor]:
    """Samples that need more and more nodes."""
    return Single(), numbers(N, D) * torch.tensor([0.1, 1.0, 4.0, 12.0])[:, None], numbers(1, D, seed=2) / 10


def doubled(model: nn.Module, x: Tensor, x0: Tensor, method: a.IntegratedGradients) -> tuple[Tensor, list[int], Tensor]:
    """One sample (1, d): its best map, the nodes tried, and the best map's nodes and error."""
    assert method.tol is not None
    tried: list[int] = []
    best, note = torch.zeros_like(x), torch.tensor([0.0, inf]).double()
    n = method.n_steps
    while n <= method.max_steps and note[1] > method.tol:
        made = attribute(model, x, a.IntegratedGradients(n, method.method, method.multiply_by_inputs), baselines=x0)
        shares = made if method.multiply_by_inputs else made * (x - x0)
        error = (shares.sum() - (model(x) - model(x0)).detach()).abs()
        if error < note[1]:
            best, note = made, torch.stack([torch.tensor(n).double(), error[0]])
        tried.append(n)
        n *= 2
    return best, tried, note


@pytest.mark.parametrize("changes", [{}, {"rows": 3}, {"memory": 3000}])
@pytest.mark.parametrize(
    "method",
    [
        a.IntegratedGradients(2, tol=1e-6, max_steps=1000),
        a.IntegratedGradients(4, "riemann_middle", tol=1e-3, max_steps=100),
        a.IntegratedGradients(4, "riemann_trapezoid", multiply_by_inputs=False, tol=1e-2, max_steps=16),
    ],
    ids=["met", "met or not", "slopes"],
)
def test_each_sample_gets_the_nodes_that_it_needs(method, changes):
    model, x, x0 = hard()
    explainer = Explainer(Request(model, x, baselines=x0, **changes))
    maps, counters = explainer.attribute(method), explainer.engine.counters
    rows = [doubled(model, x[[i]], x0, method) for i in range(N)]
    tried = [t for _, t, _ in rows]
    assert len({len(t) for t in tried}) > 2, "the samples are to differ"
    exactly(maps, torch.cat([made for made, _, _ in rows]))
    used, error = counters.notes["n_steps"], counters.notes["completeness_error"]
    assert used.tolist() == [float(note[0]) for _, _, note in rows]
    exactly(error, torch.stack([note[1] for _, _, note in rows]), 1e-10)
    for last, reached in zip((t[-1] for t in tried), error.tolist(), strict=True):
        assert reached <= method.tol or 2 * last > method.max_steps
    nodes = sum(map(sum, tried))
    assert (counters.forward_rows, counters.backward_rows) == (2 * N + nodes, nodes)


def test_the_best_map_is_kept_when_no_nodes_are_enough():
    """df/dx = 1 + (cos(32 pi x) - cos(8 pi x)) / 20 + x / 50: on the left, 8 and 16 nodes meet one wave only."""

    def waves(x: Tensor) -> Tensor:
        fast, slow = 32 * torch.pi, 8 * torch.pi
        return (x + ((fast * x).sin() / fast - (slow * x).sin() / slow) / 20 + x.square() / 100).sum(1)

    x = torch.ones(2, 1).double()
    method = a.IntegratedGradients(4, "riemann_left", tol=1e-6, max_steps=31)
    maps, notes = attribute_with_notes(waves, x, method)
    exactly(maps, torch.full_like(x, 1.0075))
    exactly(notes["n_steps"], torch.full_like(x[:, 0], 4))
    exactly(notes["completeness_error"], torch.full_like(x[:, 0], 0.0025))
    _, notes = attribute_with_notes(waves, x, a.IntegratedGradients(4, "riemann_left", tol=1e-3, max_steps=32))
    exactly(notes["completeness_error"], torch.full_like(x[:, 0], 0.01 / 32))  # 32 nodes meet neither


def test_a_tolerance_at_a_layer_and_for_a_neuron():
    (model, part, rest), (x, x0) = halves(), samples()
    method = a.IntegratedGradients(1, tol=1e-5, max_steps=64)
    maps, notes = attribute_with_notes(model, x, method, target=TARGET, baselines=x0, layer="1")
    exactly((maps.sum(1) - rest(part(x)) + rest(part(x0))).abs(), notes["completeness_error"], 1e-9)
    assert notes["completeness_error"].max() <= 1e-5
    maps, notes = attribute_with_notes(model, x, method, baselines=x0, neuron=("0", 1))  # a linear unit: one node
    assert notes["n_steps"].tolist() == [1] * N
    exactly(maps, model[0].weight[1] * (x - x0))


# All of them


@pytest.mark.parametrize(
    "method",
    [a.IntegratedGradients(3), a.IntegratedGradients(3, tol=1e-3), a.GuidedIG(3), a.IDGI(3), a.BlurIG(3)],
    ids=lambda method: f"{type(method).__name__}{'' if getattr(method, 'tol', None) is None else ' tol'}",
)
def test_a_layer_that_looks_like_the_input_is_still_elsewhere(method):
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.conv(x)).flatten(1).sum(1)

    with pytest.raises(a.NotApplicable, match="takes no `read`: .* multiplies gradients by differences at the same"):
        attribute(weights(Same()), numbers(N, 1, 6, 6), method, read="conv")


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        (a.GradientXActivation(), {"read": "conv2"}),
        (a.Conductance(4), {"read": "conv2"}),
        (a.Conductance(4), {"neuron": ("hidden", 2)}),
        (a.InternalInfluence(4), {"read": "conv2"}),
        (a.GuidedIG(4, max_dist=0.3), {}),
        (a.IDGI(4), {}),
        (a.BlurIG(4), {}),
        (a.IntegratedGradients(2, tol=1e-9, max_steps=8), {}),
    ],
    ids=str,
)
def test_maps_can_be_differentiated(method, asked):
    """Against central differences of the maps themselves."""
    model, x, step = weights(ConvNet()), numbers(N, 1, 6, 6), 1e-5
    along = numbers(N, 1, 6, 6, seed=6)

    def total(points: Tensor, create_graph: bool = False) -> Tensor:
        maps = attribute(model, points, method, target=TARGET, create_graph=create_graph, **asked)
        return (maps * numbers(*maps.shape, seed=5)).sum()

    found = (gradient(lambda points: total(points, True), x) * along).sum()
    wanted = (total(x + step * along) - total(x - step * along)) / (2 * step)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: a.Conductance(0), "n_steps: expected at least 1, got 0"),
        (
            lambda: a.Conductance(5, "gausslegendre"),
            "method: expected one of riemann_trapezoid, riemann_left, riemann_right",
        ),
        (lambda: a.InternalInfluence(0), "n_steps: expected at least 1 for gausslegendre, got 0"),
        (lambda: a.InternalInfluence(3, "simpson"), "method: expected one of gausslegendre, .* got 'simpson'"),
        (lambda: a.GuidedIG(0), "n_steps: expected at least 1, got 0"),
        (lambda: a.GuidedIG(fraction=0.0), "fraction: expected a share above 0 and up to 1, got 0.0"),
        (lambda: a.GuidedIG(fraction=1.1), "fraction: expected a share above 0 and up to 1, got 1.1"),
        (lambda: a.GuidedIG(max_dist=-0.1), "max_dist: expected a share between 0 and 1, got -0.1"),
        (lambda: a.BlurIG(0), "n_steps: expected at least 1, got 0"),
        (lambda: a.BlurIG(max_sigma=0.0), "max_sigma: expected a positive number of pixels, got 0.0"),
        (lambda: a.IDGI(0), "n_steps: expected at least 1, got 0"),
        (lambda: a.IntegratedGradients(tol=0.0), "tol: expected a positive error in units of the output, .* got 0.0"),
        (lambda: a.IntegratedGradients(tol=float("nan")), "tol: expected a positive error"),
        (lambda: a.IntegratedGradients(50, tol=0.1, max_steps=49), "max_steps: expected at least 50, got 49"),
    ],
)
def test_impossible_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
