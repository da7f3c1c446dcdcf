"""Values against Captum 0.9.0 of its classes that switch features, in float64."""

from typing import Any

import captum.attr as c
import numpy as np
import pytest
import torch
from captum._utils.models.linear_model import SkLearnLasso, SkLearnLinearRegression, SkLearnRidge
from captum._utils.models.model import Model as CaptumModel
from captum.attr._core.lime import get_exp_kernel_similarity_function
from torch import Tensor

from tests.algorithms.captum_pairs import (
    SEED,
    TARGET,
    N,
    Queue,
    coalitions,
    grouped,
    images,
    maps_of,
    one_by_one,
    pairs,
    same,
)
from tests.algorithms.test_kernel_shap import weights_of
from tests.models_for_tests import mlp, numbers
from xbench import algorithms as a
from xbench import attribute
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

pytestmark = [
    pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks and attributes:UserWarning"),
    pytest.mark.filterwarnings("ignore:(?s).*You are providing multiple inputs for Lime:UserWarning"),
]


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
    explainer = Explainer(Request(model, x, target=TARGET, features=groups, seed=SEED))
    points = list(method.plan(explainer.case(distribution=False), explainer.x).points)[1:]
    left, right = [p[:, :3] for p in points], [p[:, 3:].reshape(N, 2, 2) for p in points]
    # Captum asks for each feature in each input that has it: features 0 and 2 are in both.
    donors = Queue(left[0], right[0], left[1], left[2], right[2], right[3])
    theirs = c.FeaturePermutation(model, donors).attribute(x, torch.tensor(TARGET), feature_mask=groups)
    assert not donors.draws
    same(attribute(model, x, method, target=TARGET, features=groups, seed=SEED), theirs, 1e-12)


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
    chosen = coalitions(Request(model, x, target=1, baselines=x0, seed=SEED), method)
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
