"""Values against Captum 0.9.0, in float64, on models whose classes have different weights.

Where Captum is right, ours equal its. Known divergences, each shown in test_captum_divergences.py, with who is right:

- Integrated Gradients, riemann_trapezoid: Captum's weights sum to (n - 1) / n.
- DeepLIFT: Captum's softmax mixes the batch; two neighbouring nonlinearities share one hook; overlapping max-pool
  windows lose contributions; functions and products pass plain gradients; a module used twice is refused.
- VarGrad: Captum's E[a^2] - E[a]^2 cancels when the mean is large.
- Feature ablation: an infinite baseline of one feature poisons Captum's maps of all.
- Kernel SHAP: Captum weighs the two ends by 1e6 and fits in float32; ours constrains them. With fewer coalitions than
  features ours is the solution that treats alike what the coalitions do not tell apart.
- Gradient SHAP at a layer: Captum's random points lie between the inputs and its noise is on the input; ours, like
  Integrated Gradients at a layer, are between the layer's values. They agree where the part before is affine.
- Gradient SHAP of several inputs: Captum draws their baselines independently, ours are rows of one distribution.
- Gradients of an unused input: Captum raises, ours are 0. Extra arguments that are no batch: Captum repeats them.
- Occlusion and Kernel SHAP answer in float32 there, in the model's type here.
"""

from collections.abc import Callable, Iterator
from typing import Any

import captum.attr as c
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models_for_tests import ConvNet, ReluNet, TextNet, TwoInputs, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.draws import Draws
from xbench.explain import Explainer
from xbench.setting import Setting

pytestmark = [
    pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks and attributes:UserWarning"),
    pytest.mark.filterwarnings("ignore:(?s).*You are providing multiple inputs for Lime:UserWarning"),
]

N = 4
TARGET = [0, 2, 1, 2]
SEED = 5


def same(ours: Any, theirs: Any, tolerance: float = 1e-6) -> None:
    """Equal up to `tolerance` of the largest value; neither all zero."""
    if isinstance(ours, tuple):
        assert isinstance(theirs, tuple)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other, tolerance)
        return
    scale = float(ours.abs().max())
    assert scale > 1e-3
    torch.testing.assert_close(ours, theirs.detach().double(), rtol=tolerance, atol=tolerance * scale)


def images() -> tuple[nn.Module, Tensor, Tensor]:
    """A convolutional network, its samples and one baseline each."""
    return weights(ConvNet(), scale=1.5), numbers(N, 1, 6, 6), numbers(N, 1, 6, 6, seed=2) / 2


def texts() -> tuple[nn.Module, Tensor, Tensor, tuple[Tensor]]:
    """A network on token ids, its samples, one baseline of ids, and the mask it takes beside them."""
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(1, 20, (N, 7), generator=generator)
    mask = (torch.arange(7) < torch.tensor([7, 5, 3, 6])[:, None]).double()
    return weights(TextNet(), scale=2), ids, torch.zeros(1, 7, dtype=torch.int64), (mask,)


def pairs() -> tuple[nn.Module, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A network of two inputs, its samples and baselines."""
    inputs = numbers(N, 3), numbers(N, 2, 2, seed=2)
    return weights(TwoInputs(), scale=2), inputs, (numbers(1, 3, seed=6), numbers(1, 2, 2, seed=7))


class Queue:
    """Stands in for a random function: hands out prepared draws in order, and knows whether all were used."""

    def __init__(self, *draws: Any) -> None:
        self.draws = list(draws)

    def __call__(self, *_: object) -> Any:
        return self.draws.pop(0)

    def scaled(self, _mean: float, stdev: Tensor) -> Tensor:
        return self().reshape(stdev.shape) * stdev.double()


def ours_drawn(draw: Callable[[int], Tensor], count: int) -> Tensor:
    """`count` draws (n, d) in Captum's order: all copies of a sample, then the next sample: (n x count, d)."""
    return torch.stack([draw(k) for k in range(count)], 1).flatten(0, 1)


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes Captum draw what ours draws; `noise(normal=[...])` per input tensor, `choice`, `uniform` for baselines."""
    queues: list[Queue] = []

    def inject(*, normal: list[Tensor], choice: list[np.ndarray] | None = None, uniform: Any = None) -> None:
        queues.extend([Queue(*normal), Queue(*(choice or [])), Queue(*([] if uniform is None else [uniform]))])
        monkeypatch.setattr(torch, "normal", queues[-3].scaled)
        monkeypatch.setattr(np.random, "choice", queues[-2])
        monkeypatch.setattr(np.random, "uniform", queues[-1])

    yield inject
    assert queues
    assert not any(queue.draws for queue in queues)


def draws(n: int = N) -> Draws:
    return Draws(SEED, tuple(map(str, range(n))))


# Gradients


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("target", [1, TARGET, torch.tensor(TARGET), (2,), [(i,) for i in TARGET]])
def test_saliency(absolute, target):
    model, x, _ = images()
    theirs = c.Saliency(model).attribute(x.clone(), target=target, abs=absolute)
    same(attribute(model, x, a.Saliency(abs=absolute), target=target), theirs, 1e-12)


def test_saliency_of_several_inputs_and_target_dimensions():
    class Grid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = weights(TwoInputs(), scale=2)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            out = self.inner(left, right)
            return out.unsqueeze(2) * out.unsqueeze(1)

    _, inputs, _ = pairs()
    model = Grid()
    for target in ((0, 2), [(0, 2), (1, 1), (2, 0), (2, 1)]):
        theirs = c.Saliency(model).attribute(tuple(t.clone() for t in inputs), target=target)
        same(attribute(model, inputs, a.Saliency(), target=target), theirs, 1e-12)


def test_saliency_without_target():
    model, x = mlp(5, 6, 1), numbers(N, 5)
    same(attribute(model, x, a.Saliency()), c.Saliency(model).attribute(x.clone()), 1e-12)


@pytest.mark.parametrize("make", [images, pairs])
def test_input_x_gradient(make):
    model, x, _ = make()
    theirs = c.InputXGradient(model).attribute(x, target=TARGET)
    same(attribute(model, x, a.InputXGradient(), target=TARGET), theirs, 1e-12)


@pytest.mark.parametrize("method", ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle"])
@pytest.mark.parametrize("n_steps", [2, 7])
def test_integrated_gradients(method, n_steps):
    model, x, x0 = images()
    ours = attribute(model, x, a.IntegratedGradients(n_steps, method), target=TARGET, baselines=x0)
    theirs = c.IntegratedGradients(model).attribute(x, x0, TARGET, n_steps=n_steps, method=method)
    same(ours, theirs)


def test_integrated_gradients_by_trapezoid_is_captums_with_weights_that_sum_to_one():
    model, x, x0 = images()
    ours = attribute(model, x, a.IntegratedGradients(9, "riemann_trapezoid"), target=TARGET, baselines=x0)
    theirs = c.IntegratedGradients(model).attribute(x, x0, TARGET, n_steps=9, method="riemann_trapezoid")
    same(ours, theirs * 9 / 8)


@pytest.mark.parametrize("baselines", [None, 0.5, numbers(1, 1, 6, 6, seed=9)])
@pytest.mark.parametrize("multiply", [True, False])
def test_integrated_gradients_options(baselines, multiply):
    model, x, _ = images()
    method = a.IntegratedGradients(5, multiply_by_inputs=multiply)
    theirs = c.IntegratedGradients(model, multiply_by_inputs=multiply)
    same(
        attribute(model, x, method, target=TARGET, baselines=baselines),
        theirs.attribute(x, baselines, TARGET, n_steps=5),
    )


def test_integrated_gradients_of_several_inputs():
    model, x, x0 = pairs()
    theirs = c.IntegratedGradients(model).attribute(x, x0, TARGET, n_steps=6)
    same(attribute(model, x, a.IntegratedGradients(6), target=TARGET, baselines=x0), theirs)
    theirs = c.IntegratedGradients(model).attribute(x, (0.25, x0[1]), TARGET, n_steps=6)
    same(attribute(model, x, a.IntegratedGradients(6), target=TARGET, baselines=(0.25, x0[1])), theirs)


@pytest.mark.parametrize("multiply", [True, False])
def test_deeplift_on_relu_convolutions(multiply):
    model, x, x0 = weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6), numbers(N, 2, 6, 6, seed=2) / 2
    ours = attribute(model, x, a.DeepLift(multiply), target=TARGET, baselines=x0)
    same(ours, c.DeepLift(model, multiply).attribute(x, x0, TARGET), 1e-10)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus])
def test_deeplift_on_every_activation_that_captum_has(activation):
    model, x, x0 = mlp(6, 8, 7, 3, activation=activation), numbers(N, 6), numbers(1, 6, seed=2) / 2
    ours = attribute(model, x, a.DeepLift(), target=TARGET, baselines=x0)
    same(ours, c.DeepLift(model).attribute(x, x0, TARGET), 1e-10)


def test_deeplift_through_max_pooling_without_overlap():
    model = weights(
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3))
    )
    x, x0 = numbers(N, 1, 6, 6), numbers(N, 1, 6, 6, seed=2)
    ours = attribute(model, x, a.DeepLift(), target=TARGET, baselines=x0)
    same(ours, c.DeepLift(model).attribute(x, x0, TARGET), 1e-10)


# Noise


@pytest.mark.parametrize("stdevs", [0.0, 0.25])
@pytest.mark.parametrize("multiply", [True, False])
def test_gradient_shap(noise, stdevs, multiply):
    model, x, _ = images()
    baselines, count = numbers(3, 1, 6, 6, seed=8), 6
    one = torch.empty(N, 1, dtype=torch.float64)
    which = ours_drawn(lambda k: draws().uniform("baseline", k, one), count)
    noise(
        normal=[ours_drawn(lambda k: draws().normal("noise", k, x), count)],
        choice=[(which.squeeze(1) * 3).long().numpy()],
        uniform=ours_drawn(lambda k: draws().uniform("path", k, one), count).squeeze(1).numpy(),
    )
    theirs = c.GradientShap(model, multiply).attribute(x, baselines, count, stdevs, TARGET)
    method = a.GradientShap(count, stdevs, multiply)
    same(attribute(model, x, method, target=TARGET, baselines=baselines, seed=SEED), theirs)


def test_gradient_shap_of_several_inputs(noise):
    model, x, _ = pairs()
    baselines, count, stdevs = (numbers(5, 3, seed=8), numbers(5, 2, 2, seed=9)), 4, (0.25, 0.5)
    one, flat = torch.empty(N, 1, dtype=torch.float64), torch.empty(N, 7, dtype=torch.float64)
    which = (ours_drawn(lambda k: draws().uniform("baseline", k, one), count).squeeze(1) * 5).long().numpy()
    normal = ours_drawn(lambda k: draws().normal("noise", k, flat), count)
    noise(
        normal=[normal[:, :3], normal[:, 3:]],
        choice=[which, which],
        uniform=ours_drawn(lambda k: draws().uniform("path", k, one), count).squeeze(1).numpy(),
    )
    theirs = c.GradientShap(model).attribute(x, baselines, count, stdevs, TARGET)
    ours = attribute(model, x, a.GradientShap(count, stdevs), target=TARGET, baselines=baselines, seed=SEED)
    same(ours, theirs)


@pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
@pytest.mark.parametrize("inner", ["saliency", "ig", "occlusion"])
def test_noise_tunnel(noise, nt_type, inner):
    model, x, x0 = images()
    count = 6
    noise(normal=[ours_drawn(lambda k: draws().normal("tunnel", k, x), count)])
    method, theirs, options = {
        "saliency": (a.Saliency(), c.Saliency(model), {}),
        "ig": (a.IntegratedGradients(5), c.IntegratedGradients(model), {"n_steps": 5, "baselines": x0}),
        "occlusion": (
            a.Occlusion((1, 3, 3), 3),
            c.Occlusion(model),
            {"sliding_window_shapes": (1, 3, 3), "strides": 3, "baselines": x0},
        ),
    }[inner]
    wanted = c.NoiseTunnel(theirs).attribute(
        x, nt_type=nt_type, nt_samples=count, stdevs=0.5, target=torch.tensor(TARGET), **options
    )
    tunnel = a.NoiseTunnel(method, nt_type, count, 0.5)
    same(attribute(model, x, tunnel, target=TARGET, baselines=x0, seed=SEED), wanted, 5e-6)


def test_noise_tunnel_of_several_inputs(noise):
    model, x, _ = pairs()
    flat = torch.empty(N, 7, dtype=torch.float64)
    normal = ours_drawn(lambda k: draws().normal("tunnel", k, flat), 4)
    noise(normal=[normal[:, :3], normal[:, 3:]])
    wanted = c.NoiseTunnel(c.InputXGradient(model)).attribute(
        x, nt_type="smoothgrad", nt_samples=4, stdevs=(0.25, 0.5), target=torch.tensor(TARGET)
    )
    tunnel = a.NoiseTunnel(a.InputXGradient(), "smoothgrad", 4, (0.25, 0.5))
    same(attribute(model, x, tunnel, target=TARGET, seed=SEED), wanted)


def test_noise_tunnel_with_random_baselines(noise):
    model, x, _ = images()
    baselines, count = numbers(3, 1, 6, 6, seed=8), 4
    one = torch.empty(N, 1, dtype=torch.float64)
    which = ours_drawn(lambda k: draws().uniform("baseline", k, one), count)
    noise(
        normal=[ours_drawn(lambda k: draws().normal("tunnel", k, x), count)],
        choice=[(which.squeeze(1) * 3).long().numpy()],
    )
    wanted = c.NoiseTunnel(c.IntegratedGradients(model)).attribute(
        x, nt_type="smoothgrad", nt_samples=count, stdevs=0.5, draw_baseline_from_distrib=True, baselines=baselines,
        target=torch.tensor(TARGET), n_steps=5,
    )  # fmt: skip
    tunnel = a.NoiseTunnel(a.IntegratedGradients(5), "smoothgrad", count, 0.5, draw_baseline_from_distrib=True)
    same(attribute(model, x, tunnel, target=TARGET, baselines=baselines, seed=SEED), wanted)


# Perturbations


@pytest.mark.parametrize(
    ("window", "strides"),
    [
        ((1, 1, 1), None),
        ((1, 3, 3), None),
        ((1, 2, 3), (1, 2, 3)),
        ((1, 3, 3), (1, 2, 2)),  # the last window hangs over the border
        ((1, 4, 5), (1, 3, 4)),
        ((1, 6, 6), 1),
        ((1, 4, 4), 1),
    ],
)
def test_occlusion(window, strides):
    model, x, x0 = images()
    ours = attribute(model, x, a.Occlusion(window, strides), target=TARGET, baselines=x0)
    theirs = c.Occlusion(model).attribute(x, window, strides, x0, torch.tensor(TARGET), perturbations_per_eval=3)
    assert theirs.dtype == torch.float32
    same(ours, theirs)


def test_occlusion_of_several_inputs():
    model, x, x0 = pairs()
    ours = attribute(model, x, a.Occlusion(((2,), (1, 2)), ((1,), (1, 1))), target=TARGET, baselines=x0)
    theirs = c.Occlusion(model).attribute(x, ((2,), (1, 2)), ((1,), (1, 1)), x0, torch.tensor(TARGET))
    same(ours, theirs)


def test_feature_ablation_of_every_element():
    model, x, x0 = images()
    theirs = c.FeatureAblation(model).attribute(x, x0, torch.tensor(TARGET))
    same(attribute(model, x, a.FeatureAblation(), target=TARGET, baselines=x0), theirs, 1e-12)


def test_feature_ablation_of_groups_with_a_number_as_baseline():
    model, x, _ = images()
    groups = (torch.arange(36).reshape(1, 1, 6, 6) // 5) * 3  # ids with gaps
    theirs = c.FeatureAblation(model).attribute(x, 0.75, torch.tensor(TARGET), feature_mask=groups)
    same(attribute(model, x, a.FeatureAblation(), target=TARGET, baselines=0.75, features=groups), theirs, 1e-12)


def test_feature_ablation_of_each_samples_own_groups():
    model, x, x0 = images()
    groups = torch.stack([torch.arange(36).reshape(1, 6, 6) // (4 + i) for i in range(N)])
    theirs = c.FeatureAblation(model).attribute(x, x0, torch.tensor(TARGET), feature_mask=groups)
    same(attribute(model, x, a.FeatureAblation(), target=TARGET, baselines=x0, features=groups), theirs, 1e-12)


def test_feature_ablation_of_groups_that_span_two_inputs():
    model, x, x0 = pairs()
    groups = torch.tensor([[0, 1, 2]]), torch.tensor([[[2, 3], [0, 0]]])
    theirs = c.FeatureAblation(model).attribute(x, x0, torch.tensor(TARGET), feature_mask=groups)
    same(attribute(model, x, a.FeatureAblation(), target=TARGET, baselines=x0, features=groups), theirs, 1e-12)


def coalitions(model: nn.Module, x: Tensor, x0: Tensor, method: a.KernelShap, target: int) -> Tensor:
    """The coalitions (S, K) that ours evaluates for one sample whose elements are its features."""
    explainer = Explainer(Setting(model, x, target, x0, seed=SEED))
    case = explainer.case(distribution=False)
    points = torch.cat(list(method.plan(case, explainer.x).points))
    return (points == explainer.x).long()


@pytest.mark.parametrize("paired", [True, False])
def test_kernel_shap_on_the_same_coalitions(paired):
    model, x, x0 = mlp(12, 8, 3), numbers(1, 12), numbers(1, 12, seed=2)
    method = a.KernelShap(60, paired)
    chosen = coalitions(model, x, x0, method, 1)
    assert chosen[0].all()  # Captum's two ends
    assert not chosen[1].any()
    assert len(chosen) == 60

    def replay(*_: object, **__: object) -> Iterator[Tensor]:
        yield from chosen.split(1)

    kernel = c.KernelShap(model)
    kernel.perturb_func = replay
    theirs = kernel.attribute(x, x0, 1, n_samples=60)
    assert theirs.dtype == torch.float32
    same(attribute(model, x, method, target=1, baselines=x0, seed=SEED), theirs, 2e-4)


def test_kernel_shap_of_groups_on_the_same_coalitions():
    model, x, x0 = images()
    x, x0 = x[:1], x0[:1]
    groups = torch.arange(36).reshape(1, 1, 6, 6) // 4
    method = a.KernelShap(40)
    explainer = Explainer(Setting(model, x, 1, x0, features=groups, seed=SEED))
    points = torch.cat(list(method.plan(explainer.case(distribution=False), explainer.x).points))
    chosen = (points == explainer.x)[:, ::4].long()  # the first element of every group

    def replay(*_: object, **__: object) -> Iterator[Tensor]:
        yield from chosen.split(1)

    kernel = c.KernelShap(model)
    kernel.perturb_func = replay
    theirs = kernel.attribute(x, x0, 1, n_samples=40, feature_mask=groups)
    same(attribute(model, x, method, target=1, baselines=x0, features=groups, seed=SEED), theirs, 2e-4)


# Layers


@pytest.mark.parametrize("method", ["gausslegendre", "riemann_middle"])
def test_layer_integrated_gradients(method):
    model, x, x0 = images()
    ours = attribute(model, x, a.IntegratedGradients(6, method), target=TARGET, baselines=x0, layer="conv2")
    theirs = c.LayerIntegratedGradients(model, model.conv2)
    same(ours, theirs.attribute(x, x0, torch.tensor(TARGET), n_steps=6, method=method))


def test_layer_integrated_gradients_at_a_layers_input():
    model, x, x0 = images()
    ours = attribute(model, x, a.IntegratedGradients(6), target=TARGET, baselines=x0, layer="conv2:input")
    theirs = c.LayerIntegratedGradients(model, model.conv2)
    same(ours, theirs.attribute(x, x0, torch.tensor(TARGET), n_steps=6, attribute_to_layer_input=True))


def test_layer_integrated_gradients_at_an_embedding():
    model, ids, pad, extra = texts()
    ours = attribute(
        model, ids, a.IntegratedGradients(6), target=TARGET, baselines=pad, extra=extra, layer=model.embedding
    )
    theirs = c.LayerIntegratedGradients(model, model.embedding)
    same(ours, theirs.attribute(ids, pad, torch.tensor(TARGET), extra, n_steps=6))


@pytest.mark.parametrize("layer", ["embedding", "hidden"])
def test_layer_gradient_x_activation_of_texts(layer):
    model, ids, _, extra = texts()
    ours = attribute(model, ids, a.InputXGradient(), target=TARGET, extra=extra, layer=layer)
    theirs = c.LayerGradientXActivation(model, model.get_submodule(layer))
    same(ours, theirs.attribute(ids, torch.tensor(TARGET), extra), 1e-12)


@pytest.mark.parametrize("layer", ["conv1", "norm", "conv2", "hidden"])  # norm: an in-place function follows
@pytest.mark.parametrize("how", ["layer", "read"])
def test_layer_gradient_x_activation(layer, how):
    model, x, _ = images()
    ours = attribute(model, x, a.InputXGradient(), target=TARGET, **{how: layer})
    theirs = c.LayerGradientXActivation(model, model.get_submodule(layer))
    if layer == "norm":  # Captum sees the values that the in-place function has left there
        model.smooth1.inplace = False
    same(ours, theirs.attribute(x, torch.tensor(TARGET)), 1e-12)


@pytest.mark.parametrize("layer", ["conv1", "pool", "conv2", "hidden"])
def test_layer_deeplift(layer):
    model, x, x0 = weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6), numbers(N, 2, 6, 6, seed=2) / 2
    ours = attribute(model, x, a.DeepLift(), target=TARGET, baselines=x0, layer=layer)
    theirs = c.LayerDeepLift(model, model.get_submodule(layer))
    same(ours, theirs.attribute(x, x0, torch.tensor(TARGET)), 1e-10)


def test_layer_gradient_shap(noise):
    """Behind an affine part, where a straight path at the input (Captum's) is a straight path at the layer (ours)."""
    model, x, _ = images()
    baselines, count = numbers(3, 1, 6, 6, seed=8), 4
    one = torch.empty(N, 1, dtype=torch.float64)
    which = ours_drawn(lambda k: draws().uniform("baseline", k, one), count)
    noise(
        normal=[torch.zeros(N * count, 36, dtype=torch.float64)],
        choice=[(which.squeeze(1) * 3).long().numpy()],
        uniform=ours_drawn(lambda k: draws().uniform("path", k, one), count).squeeze(1).numpy(),
    )
    model.smooth1.inplace = False  # Captum's layer values are what the in-place function has left there
    theirs = c.LayerGradientShap(model, model.norm).attribute(x, baselines, count, 0.0, torch.tensor(TARGET))
    method = a.GradientShap(count)
    same(attribute(model, x, method, target=TARGET, baselines=baselines, seed=SEED, layer="norm"), theirs)


def test_layer_feature_ablation():
    model, x, x0 = images()
    groups = torch.arange(8).reshape(1, 2, 4, 1).expand(1, 2, 4, 4)
    with torch.no_grad():
        at_layer = model.conv2(model.smooth1(model.norm(model.conv1(x0))))
    theirs = c.LayerFeatureAblation(model, model.conv2)
    wanted = theirs.attribute(x, at_layer, torch.tensor(TARGET), layer_mask=groups)
    ours = attribute(model, x, a.FeatureAblation(), target=TARGET, baselines=x0, features=groups, layer="conv2")
    same(ours, wanted, 1e-12)


# Neurons


@pytest.mark.parametrize(
    ("layer", "index"), [("hidden", 2), ("hidden", (3,)), ("conv2", (1, 2, 0)), ("conv2", (0, slice(1, 3), 2))]
)
def test_neuron_gradient(layer, index):
    model, x, _ = images()
    theirs = c.NeuronGradient(model, model.get_submodule(layer)).attribute(x, index)
    same(attribute(model, x, a.Saliency(abs=False), neuron=(layer, index)), theirs, 1e-12)


def test_neuron_gradient_of_several_inputs():
    model, x, _ = pairs()
    theirs = c.NeuronGradient(model, model.out).attribute(x, 1)
    same(attribute(model, x, a.Saliency(abs=False), neuron=(model.out, 1)), theirs, 1e-12)


def test_neuron_integrated_gradients():
    model, x, x0 = images()
    theirs = c.NeuronIntegratedGradients(model, model.hidden).attribute(x, 2, x0, n_steps=6)
    same(attribute(model, x, a.IntegratedGradients(6), baselines=x0, neuron=("hidden", 2)), theirs)


def test_neuron_deeplift():
    model, x, x0 = weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6), numbers(N, 2, 6, 6, seed=2) / 2
    theirs = c.NeuronDeepLift(model, model.hidden).attribute(x, 2, x0)
    same(attribute(model, x, a.DeepLift(), baselines=x0, neuron=("hidden", 2)), theirs, 1e-10)


def test_neuron_feature_ablation():
    model, x, x0 = images()
    groups = torch.arange(36).reshape(1, 1, 6, 6) // 4
    theirs = c.NeuronFeatureAblation(model, model.hidden).attribute(x, 2, x0, feature_mask=groups)
    ours = attribute(model, x, a.FeatureAblation(), baselines=x0, features=groups, neuron=("hidden", 2))
    same(ours, theirs, 1e-12)
