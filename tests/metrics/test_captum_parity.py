"""Infidelity and sensitivity-max against Captum 0.9.0 on the same perturbations, in float64 to 1e-9.

Captum calls one function for all perturbed copies at once, each sample repeated in a row; ours are replayed
there. Infidelity's I and I / (x - x0) are left to Captum's own decorator, so that our `shift` and `share` are
checked too. Where the two differ on purpose a test named `divergence` shows it and says why.
"""

from collections.abc import Callable

import captum.attr
import captum.metrics
import pytest
import torch
from captum.metrics import infidelity_perturb_func_decorator
from torch import Tensor, nn

import xbench
from tests.metrics.toys import CAPTUM_LEAF, case_of, flat_maps, linear, maps_of, score
from tests.models_for_tests import ConvNet, TwoInputs, numbers, weights
from xbench.algorithms import (
    Algorithm,
    Constant,
    DeepLift,
    FeatureAblation,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    Occlusion,
    Random,
    Saliency,
)
from xbench.metrics import (
    FeatureRemoval,
    GaussianNoise,
    Infidelity,
    Perturbation,
    SensitivityMax,
    SquareRemoval,
)

N = 4
DRAWS = 7
TARGET = torch.tensor([0, 2, 1, 1])
PERTURBATIONS = [GaussianNoise(), GaussianNoise(0.3, relative=False), SquareRemoval(), FeatureRemoval()]
LOCAL = [Saliency(), Saliency(abs=False), IntegratedGradients(n_steps=4, multiply_by_inputs=False)]
GLOBAL = [
    IntegratedGradients(n_steps=4),
    InputXGradient(),
    DeepLift(),
    GradientShap(),
    Occlusion(),
    FeatureAblation(),
    Random(),
]
pytestmark = pytest.mark.filterwarnings(CAPTUM_LEAF)


def _close(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.abs().min() > 1e-8  # or agreement would mean nothing
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=0)


def _perturbed(perturbation: Perturbation, inputs: Tensor | tuple[Tensor, ...], **setting: object) -> Tensor:
    """Our perturbed samples in Captum's order, (n * DRAWS, d)."""
    case, x = case_of(inputs, **setting)
    draws = [perturbation.draw(case, x, index).perturbed for index in range(DRAWS)]
    return torch.stack(draws, dim=1).flatten(0, 1)


def _replay(perturbed: Tensor | tuple[Tensor, ...], *, local: bool) -> Callable[..., object]:
    """A perturbation function for Captum's infidelity that hands out ours."""
    return infidelity_perturb_func_decorator(multiply_by_inputs=not local)(lambda inputs, baselines=None: perturbed)


@pytest.fixture
def model() -> nn.Module:
    return weights(ConvNet())


@pytest.fixture
def images() -> Tensor:
    return numbers(N, 1, 6, 6)


def _infidelity(
    model: nn.Module,
    inputs: Tensor,
    maps: Tensor,
    perturbed: Tensor,
    baselines: Tensor | None,
    *,
    local: bool,
) -> dict[bool, Tensor]:
    """Captum's score of one input tensor by `normalize`."""
    return {
        normalize: captum.metrics.infidelity(
            model,
            _replay(perturbed.unflatten(1, inputs.shape[1:]), local=local),
            inputs,
            maps.unflatten(1, inputs.shape[1:]),
            baselines=baselines,
            target=TARGET,
            n_perturb_samples=DRAWS,
            normalize=normalize,
        )
        for normalize in (False, True)
    }


@pytest.mark.slow
@pytest.mark.parametrize("given", ["no baselines", "one baseline", "a baseline per sample"])
@pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=repr)
@pytest.mark.parametrize("algorithm", [*LOCAL, *GLOBAL], ids=repr)
def test_infidelity(model: nn.Module, images: Tensor, algorithm: Algorithm, perturbation: Perturbation, given: str):
    rows = {"no baselines": 0, "one baseline": 1, "a baseline per sample": N}[given]
    baselines = numbers(rows, 1, 6, 6, seed=5) if rows else None
    setting = {"target": TARGET, "baselines": baselines}
    maps = flat_maps(model, images, algorithm, **setting)
    assert maps.local == (algorithm in LOCAL)
    ours = score(model, images, Infidelity(DRAWS, perturbation), maps, **setting)
    theirs = _infidelity(
        model, images, maps.values, _perturbed(perturbation, images, **setting), baselines, local=maps.local
    )
    _close(ours["infidelity"], theirs[False])
    _close(ours["infidelity_scaled"], theirs[True])


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("perturbation", [GaussianNoise(), FeatureRemoval()], ids=repr)
def test_infidelity_of_several_inputs(perturbation: Perturbation, local: bool):
    model, inputs = weights(TwoInputs()), (numbers(N, 3), numbers(N, 2, 2, seed=2))
    baselines = (numbers(1, 3, seed=3), numbers(1, 2, 2, seed=4))
    setting = {"target": TARGET, "baselines": baselines}
    algorithm = IntegratedGradients(n_steps=4, multiply_by_inputs=not local)
    ours = score(model, inputs, Infidelity(DRAWS, perturbation), algorithm, **setting)
    perturbed = _perturbed(perturbation, inputs, **setting).split([3, 4], dim=1)
    replay = _replay((perturbed[0], perturbed[1].unflatten(1, (2, 2))), local=local)
    maps = xbench.attribute(model, inputs, algorithm, **setting)
    for column, normalize in {"infidelity": False, "infidelity_scaled": True}.items():
        theirs = captum.metrics.infidelity(
            model,
            replay,
            inputs,
            maps,
            baselines,
            target=TARGET,
            n_perturb_samples=DRAWS,
            normalize=normalize,
        )
        _close(ours[column], theirs)


@pytest.mark.parametrize("local", [True, False])
def test_infidelity_of_a_zero_map(model: nn.Module, images: Tensor, local: bool):
    zero = maps_of(torch.zeros(N, 36, dtype=torch.float64), local=local)
    ours = score(model, images, Infidelity(DRAWS), zero, target=TARGET)
    theirs = _infidelity(model, images, zero.values, _perturbed(SquareRemoval(), images), None, local=local)
    _close(ours["infidelity"], theirs[False])
    _close(ours["infidelity_scaled"], theirs[True])


def test_divergence_infidelity_counts_a_group_once(images: Tensor):
    # Captum multiplies the whole feature's value by every one of its elements, so that even the exact map of
    # a linear model fails; here the value is shared out over the feature's elements.
    features = (torch.arange(36) // 9).reshape(1, 1, 6, 6)
    model, setting = linear(), {"target": TARGET, "features": features}
    maps = flat_maps(model, images, FeatureAblation(), **setting)
    ours = score(model, images, Infidelity(DRAWS, FeatureRemoval()), maps, **setting)["infidelity"]
    perturbed = _perturbed(FeatureRemoval(), images, features=features)
    theirs = _infidelity(model, images, maps.values, perturbed, None, local=False)[False]
    assert ours.max() < 1e-14  # the sums cancel up to rounding
    assert theirs.min() > 1
    shared = _infidelity(model, images, maps.density, perturbed, None, local=False)[False]
    torch.testing.assert_close(ours, shared, rtol=0, atol=1e-14)


def test_divergence_infidelity_removes_what_already_equals_its_baseline(model: nn.Module, images: Tensor):
    # A global map says what a region is worth against the baseline, and a removed region is removed even
    # where it looked like the baseline before: I / (x - x0) is 1 there. Captum divides 0 by 1 and does not
    # count it, so a map that gives such elements a value is not charged. With x - x0 as a factor both agree.
    images[:, :, :3] = 0
    perturbed = _perturbed(SquareRemoval(), images)
    for algorithm, agrees in [(IntegratedGradients(n_steps=4), True), (Constant(), False)]:
        maps = flat_maps(model, images, algorithm, target=TARGET)
        ours = score(model, images, Infidelity(DRAWS), maps, target=TARGET)["infidelity"]
        theirs = _infidelity(model, images, maps.values, perturbed, None, local=False)[False]
        assert torch.allclose(ours, theirs, rtol=1e-9) == agrees


def _sensitivity(metric: SensitivityMax, explain: Callable[..., object], inputs: Tensor, **setting: object) -> Tensor:
    """Captum's score on our perturbed samples."""
    case, x = case_of(inputs, **setting)
    count, versions = metric.evidence[0].versions(case, x, maps_of(x, local=True))
    perturbed = torch.stack([version for _, version in versions], dim=1).flatten(0, 1)
    order = metric.norm_ord if metric.norm_ord == "fro" else float(metric.norm_ord)
    return captum.metrics.sensitivity_max(
        explain,
        inputs,
        perturb_func=lambda _: perturbed.unflatten(1, inputs.shape[1:]),
        n_perturb_samples=count,
        norm_ord=order,
        target=TARGET,
    )


@pytest.mark.parametrize("norm_ord", ["fro", "inf", 1, 3.0])
@pytest.mark.parametrize("relative", [True, False])
def test_sensitivity_max_of_saliency(model: nn.Module, images: Tensor, norm_ord: float | str, relative: bool):
    metric = SensitivityMax(0.1, DRAWS, norm_ord, relative)
    ours = score(model, images, metric, Saliency(), target=TARGET)["sensitivity_max"]
    _close(ours, _sensitivity(metric, captum.attr.Saliency(model).attribute, images))


@pytest.mark.parametrize("norm_ord", ["fro", "inf", 1])
@pytest.mark.parametrize("relative", [True, False])
def test_sensitivity_max_of_integrated_gradients(
    model: nn.Module, images: Tensor, norm_ord: float | str, relative: bool
):
    # Captum's Gauss-Legendre weights are rounded to float32; those of four Riemann steps are exact in it.
    metric, explain = SensitivityMax(0.1, DRAWS, norm_ord, relative), captum.attr.IntegratedGradients(model)
    algorithm = IntegratedGradients(n_steps=4, method="riemann_right")
    ours = score(model, images, metric, algorithm, target=TARGET)["sensitivity_max"]

    def attribute(inputs: Tensor, target: Tensor) -> Tensor:
        return explain.attribute(inputs, target=target, n_steps=4, method="riemann_right")

    _close(ours, _sensitivity(metric, attribute, images))


@pytest.mark.parametrize("algorithm", [IntegratedGradients(n_steps=5), InputXGradient(), DeepLift(), Occlusion()])
def test_sensitivity_max_given_our_algorithms(model: nn.Module, images: Tensor, algorithm: Algorithm):
    metric = SensitivityMax(0.1, DRAWS)
    ours = score(model, images, metric, algorithm, target=TARGET)["sensitivity_max"]

    def attribute(inputs: Tensor | tuple[Tensor, ...], target: Tensor) -> Tensor | tuple[Tensor, ...]:
        with torch.enable_grad():  # Captum switches gradients off around the explanation
            return xbench.attribute(model, inputs, algorithm, target=target)

    _close(ours, _sensitivity(metric, attribute, images))


def test_divergence_sensitivity_max_of_a_zero_map_is_undefined(model: nn.Module, images: Tensor):
    # Captum divides by 1 where the norm is 0: the map that says nothing gets the best score there is.
    metric = SensitivityMax(n_perturb_samples=DRAWS)
    ours = score(model, images, metric, Constant(0.0), target=TARGET)["sensitivity_max"]
    theirs = _sensitivity(metric, lambda inputs, target: _like(inputs), images)
    assert ours.isnan().all()
    assert (theirs == 0).all()


def _like(inputs: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    return tuple(map(torch.zeros_like, inputs)) if isinstance(inputs, tuple) else torch.zeros_like(inputs)


def test_divergence_default_radius_follows_the_sample_s_range(model: nn.Module, images: Tensor):
    # Captum's 0.02 is absolute, so the score of the same picture in 0..255 would be another one. A model that
    # takes the scale away again has the same maps, up to that scale.
    scaled = nn.Sequential(_Divide(255.0), model)
    for relative, same in [(True, True), (False, False)]:
        metric = SensitivityMax(n_perturb_samples=DRAWS, relative=relative)
        ours = score(model, images, metric, Saliency(), target=TARGET)["sensitivity_max"]
        larger = score(scaled, images * 255, metric, Saliency(), target=TARGET)["sensitivity_max"]
        assert torch.allclose(ours, larger, rtol=1e-9) == same


class _Divide(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x / self.by
