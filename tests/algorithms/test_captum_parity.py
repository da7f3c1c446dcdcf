"""Values against Captum 0.9.0, in float64, on models whose classes have different weights: its primary classes.

Layers and neurons are in test_captum_parity_layers.py. Where the two differ on purpose, docs/captum.md says why and
names the test that shows who is right. A table there names the test of every attribution class of Captum.
"""

from collections.abc import Callable, Iterator
from typing import Any

import captum.attr as c
import numpy as np
import pytest
import torch
from captum._utils.models.linear_model import SkLearnLasso, SkLearnLinearRegression, SkLearnRidge
from captum._utils.models.model import Model as CaptumModel
from captum.attr._core.lime import get_exp_kernel_similarity_function
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import Tensor, nn

from tests.algorithms.test_closed_forms import weights_of
from tests.models_for_tests import ConvNet, ReluNet, TextNet, TwoInputs, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.core.draws import Draws
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request
from xbench.rules.lrp import Composite, Epsilon

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

    def __call__(self, *_: object, **__: object) -> Any:
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


def gradient_shap_draws(count: int, rows: int, *widths: int) -> dict[str, Any]:
    """What `GradientShap(count)` draws for inputs of these widths and as many baselines, as `noise` takes it."""
    one, flat = torch.empty(N, 1, dtype=torch.float64), torch.empty(N, sum(widths), dtype=torch.float64)
    which = ours_drawn(lambda k: draws().uniform("baseline", k, one), count).squeeze(1)
    return {
        "normal": list(ours_drawn(lambda k: draws().normal("noise", k, flat), count).split(widths, 1)),
        "choice": [(which * rows).long().numpy()] * len(widths),
        "uniform": ours_drawn(lambda k: draws().uniform("path", k, one), count).squeeze(1).numpy(),
    }


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
    noise(**gradient_shap_draws(count, 3, 36))
    theirs = c.GradientShap(model, multiply).attribute(x, baselines, count, stdevs, TARGET)
    method = a.GradientShap(count, stdevs, multiply)
    same(attribute(model, x, method, target=TARGET, baselines=baselines, seed=SEED), theirs)


def test_gradient_shap_of_several_inputs(noise):
    model, x, _ = pairs()
    baselines, count, stdevs = (numbers(5, 3, seed=8), numbers(5, 2, 2, seed=9)), 4, (0.25, 0.5)
    noise(**gradient_shap_draws(count, 5, 3, 4))
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


def test_feature_permutation_of_two_samples():
    """Each can only get the other's feature, whatever is drawn."""
    model, x, _ = images()
    groups = torch.arange(36).reshape(1, 1, 6, 6) // 5
    theirs = c.FeaturePermutation(model).attribute(x[:2], torch.tensor([0, 2]), feature_mask=groups)
    same(attribute(model, x[:2], a.FeaturePermutation(3), target=[0, 2], features=groups), theirs, 1e-12)


def test_feature_permutation_with_the_same_donors():
    model, x, _ = pairs()
    groups = torch.tensor([[0, 1, 2]]), torch.tensor([[[2, 3], [0, 0]]])
    method = a.FeaturePermutation(1)
    explainer = Explainer(Request(model, x, TARGET, features=groups, seed=SEED))
    points = list(method.plan(explainer.case(distribution=False), explainer.x).points)[1:]
    left, right = [p[:, :3] for p in points], [p[:, 3:].reshape(N, 2, 2) for p in points]
    # Captum asks for each feature in each input that has it: features 0 and 2 are in both.
    donors = Queue(left[0], right[0], left[1], left[2], right[2], right[3])
    theirs = c.FeaturePermutation(model, donors).attribute(x, torch.tensor(TARGET), feature_mask=groups)
    assert not donors.draws
    same(attribute(model, x, method, target=TARGET, features=groups, seed=SEED), theirs, 1e-12)


# Coalitions


def coalitions(setting: Request, method: a.Algorithm) -> Tensor:
    """Which features are present in the points that ours evaluates, (n, S, K)."""
    explainer = Explainer(setting)
    case = explainer.case(distribution=False)
    first = [int((case.features[0] == k).nonzero()[0]) for k in range(int(case.counts[0]))]
    points = torch.stack(list(method.plan(case, explainer.x).points), 1)
    return (points == explainer.x.unsqueeze(1))[:, :, first].long()


def grouped() -> Request:
    """Images of nine features, all samples with a baseline of their own."""
    model, x, x0 = images()
    return Request(model, x, TARGET, x0, features=torch.arange(36).reshape(1, 1, 6, 6) // 4, seed=SEED)


def maps_of(setting: Request, method: a.Algorithm) -> Tensor:
    """Ours."""
    explainer = Explainer(setting)
    return explainer.shaped(explainer.attribute(method))[0]


def one_by_one(setting: Request, explain: Callable[..., Tensor]) -> Tensor:
    """Captum's maps of the samples, each by itself; `explain` takes its number and the arguments of `attribute`."""
    each = zip(setting.inputs.split(1), setting.baselines.split(1), TARGET, strict=True)
    return torch.cat(
        [explain(i, x, x0, target, feature_mask=setting.features) for i, (x, x0, target) in enumerate(each)]
    )


class InDouble(CaptumModel):
    """Captum's least squares, in double precision and with the two ends weighed by 1e12 instead of 1e6."""

    def fit(self, train_data: Any) -> None:
        z, y, w = (torch.cat(parts).double() for parts in zip(*train_data, strict=True))
        w = torch.where(w > 1, 1e12, w).sqrt()[:, None]
        rows = torch.cat([z, torch.ones(len(z), 1)], 1) * w
        self.found = torch.linalg.lstsq(rows, y[:, None] * w, driver="gelsd").solution[:-1, 0]

    def representation(self) -> Tensor:
        return self.found

    def __call__(self, x: Tensor) -> Tensor:
        raise AssertionError("Captum's interface asks for it, and never calls it")


@pytest.mark.parametrize("paired", [True, False])
def test_kernel_shap_on_the_same_coalitions(paired):
    setting, method = grouped(), a.KernelShap(60, paired)
    chosen = coalitions(setting, method)
    assert chosen[:, 0].all()  # Captum's two ends
    assert not chosen[:, 1].any()
    assert chosen.shape == (N, 60, 9)

    def theirs(i: int, *args: Any, **options: Any) -> Tensor:
        kernel = c.KernelShap(setting.model)
        kernel.perturb_func, kernel.interpretable_model = Queue(*chosen[i].split(1)), InDouble()
        kernel.similarity_func = Queue(1e6, 1e6, *weights_of(chosen[i, 2:].numpy(), 58).tolist())
        return kernel.attribute(*args, n_samples=60, **options)

    maps = one_by_one(setting, theirs)
    assert maps.dtype == torch.float32
    same(maps_of(setting, method), maps)


# Captum's own Lasso stops earlier, see test_captum_divergences.py.
LINEAR = {
    "lasso": SkLearnLasso(alpha=0.02, tol=1e-6),
    "ridge": SkLearnRidge(alpha=0.02),
    "linear": SkLearnLinearRegression(),
}


@pytest.mark.slow
@pytest.mark.parametrize("fit", LINEAR)
@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_lime_on_the_same_subsets(fit, similarity):
    setting, method = grouped(), a.Lime(60, fit, 0.02, similarity, 2.0)
    chosen = coalitions(setting, method)
    kernel = get_exp_kernel_similarity_function(similarity, 2.0)

    def theirs(i: int, *args: Any, **options: Any) -> Tensor:
        lime = c.Lime(setting.model, LINEAR[fit], kernel, Queue(*chosen[i].split(1)))
        return lime.attribute(*args, n_samples=60, **options)

    same(maps_of(setting, method), one_by_one(setting, theirs))


class Means(CaptumModel):
    """The mean output with a feature minus the one without it, for Captum and for ours."""

    def fit(self, train_data: Any) -> None:
        z, y, w = (torch.cat(parts).double().numpy() for parts in zip(*train_data, strict=True))
        self.found = torch.from_numpy(self.of(z, y, w))

    def representation(self) -> Tensor:
        return self.found

    def __call__(self, x: Tensor) -> Tensor:
        raise AssertionError("Captum's interface asks for it, and never calls it")

    @staticmethod
    def of(z: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
        return (w * y) @ z / (w @ z) - (w * y) @ (1 - z) / (w @ (1 - z))


def test_lime_base_with_ones_own_functions():
    """Fit, similarity and draws; LimeBase explains one sample and gives one value for each feature."""
    model, x, x0 = mlp(6, 8, 3), numbers(1, 6), numbers(1, 6, seed=2)
    method = a.Lime(
        80, Means.of, similarity=lambda _x, _point, present: present.double().mean(1) + 0.25,
        perturb_func=lambda generator, k: generator.random(k) < 0.3, return_input_shape=False,
    )  # fmt: skip
    chosen = coalitions(Request(model, x, 1, x0, seed=SEED), method)
    theirs = c.LimeBase(
        model, Means(), lambda _x, _point, present, **_: present.double().mean(1) + 0.25, Queue(*chosen[0].split(1)),
        True, lambda present, sample, **_: torch.where(present.bool(), sample, x0), None,
    )  # fmt: skip
    values = attribute(model, x, method, target=1, baselines=x0, seed=SEED)
    same(values[0], theirs.attribute(x, 1, n_samples=80))


@pytest.mark.parametrize("antithetic", [True, False])
def test_shapley_value_sampling_of_the_same_permutations(antithetic):
    setting, method = grouped(), a.ShapleyValueSampling(6, antithetic)
    sizes = coalitions(setting, method)[:, 2:].unflatten(1, (6, 8)).sum(2)  # of how many coalitions each is a member
    orders = sizes.argsort(2, descending=True)

    def theirs(i: int, *args: Any, **options: Any) -> Tensor:
        sampling = c.ShapleyValueSampling(setting.model)
        sampling.permutation_generator = lambda _features, _samples: iter(orders[i].tolist())
        return sampling.attribute(*args, n_samples=6, **options)

    same(maps_of(setting, method), one_by_one(setting, theirs))


def test_shapley_values():
    model, x, x0 = images()
    groups = torch.arange(36).reshape(1, 1, 6, 6) // 8
    theirs = c.ShapleyValues(model).attribute(x, x0, torch.tensor(TARGET), feature_mask=groups)
    same(attribute(model, x, a.ShapleyValues(), target=TARGET, baselines=x0, features=groups), theirs)


def test_shapley_values_of_features_that_span_two_inputs():
    model, x, x0 = pairs()
    groups = torch.tensor([[0, 1, 2]]), torch.tensor([[[2, 3], [0, 0]]])
    theirs = c.ShapleyValues(model).attribute(x, x0, torch.tensor(TARGET), feature_mask=groups)
    same(attribute(model, x, a.ShapleyValues(), target=TARGET, baselines=x0, features=groups), theirs)


# Relevance


@pytest.mark.parametrize("epsilon", [1e-9, 0.25])
def test_lrp_by_the_epsilon_rule(epsilon):
    """On samples and weights of both signs, with biases. Other rules are in tests/rules/test_lrp.py."""
    model, x = weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6)
    for layer in (model.conv1, model.conv2, model.hidden, model.out):
        layer.rule = EpsilonRule(epsilon)
    composite = Composite(convolution=Epsilon(epsilon), dense=Epsilon(epsilon), stabilizer=1e-9)
    theirs = c.LRP(model).attribute(x.clone(), torch.tensor(TARGET))
    same(attribute(model, x, a.LRP(composite), target=TARGET), theirs, 1e-10)
