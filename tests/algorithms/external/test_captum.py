"""Captum's methods through `Captum` give Captum's own numbers."""

import importlib
import importlib.metadata
import random
from typing import Any

import captum.attr as c
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.external.cases import TARGET, WARNINGS, N, exactly, images, on_text
from tests.models_for_tests import ConvNet, ReluNet, TwoInputs, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute, measure
from xbench.algorithms.external.captum_methods import METHODS
from xbench.core.draws import Draws
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request
from xbench.metrics import Completeness, Infidelity

pytestmark = WARNINGS


class Scaled(nn.Module):
    """A network that takes a number per sample beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = weights(ReluNet(), scale=1.5)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.inner(x) * scale[:, None]


ARGUMENTS: dict[str, dict[str, Any]] = {
    "IntegratedGradients": {"n_steps": 5, "method": "riemann_middle"},
    "GradientShap": {"n_samples": 3, "stdevs": 0.1},
    "Saliency": {"abs": False},
    "Occlusion": {"sliding_window_shapes": [2, 3, 3], "strides": [2, 3, 1]},
    "ShapleyValueSampling": {"n_samples": 3},
    "KernelShap": {"n_samples": 12},
    "Lime": {"n_samples": 12},
}


def as_given(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def seeded(seed: int = 0, ids: tuple[str, ...] = ("0",)) -> None:
    """Start the global generators as an external algorithm finds them."""
    number = int(Draws(seed, ids).generator(0, "code from elsewhere").integers(2**31))
    torch.manual_seed(number)
    np.random.seed(number)  # noqa: NPY002
    random.seed(number)


SLOPES = ["IntegratedGradients", "DeepLift", "DeepLiftShap", "GradientShap"]


@pytest.mark.parametrize(
    ("name", "init"), [*((name, {}) for name in METHODS), *((name, {"multiply_by_inputs": False}) for name in SLOPES)]
)
def test_a_method_gives_captums_own_numbers(name, init):
    model, x, scale, target = Scaled(), numbers(N, 2, 6, 6), numbers(N, seed=3).abs(), torch.tensor(TARGET)
    baselines = numbers(3 if METHODS[name].distribution else N, 2, 6, 6, seed=2)
    features = torch.arange(72).reshape(1, 2, 6, 6) // 18
    kwargs = ARGUMENTS.get(name, {})
    method = a.Captum(name, init, kwargs)
    ours = attribute(model, x, method, target=target, baselines=baselines, features=features, extra=(scale,), seed=7)
    seeded(7)
    given: dict[str, Any] = {"target": target, "additional_forward_args": (scale,)}
    if name not in ("Saliency", "InputXGradient", "GuidedBackprop", "Deconvolution", "LRP"):
        given["baselines"] = baselines
    if METHODS[name].grouped:
        given["feature_mask"] = features
    own = {key: as_given(value) for key, value in kwargs.items()}
    theirs = getattr(c, name)(model, **init).attribute(x.clone().requires_grad_(), **given, **own)
    assert theirs.abs().max() > 1e-3
    assert torch.equal(ours, theirs.detach())
    assert method.facts.local == (METHODS[name].local or bool(init))


@pytest.mark.parametrize("name", ["GradientShap", "DeepLiftShap"])
def test_a_baseline_of_each_samples_own_is_its_whole_distribution(name):
    model, x, baselines = weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6), numbers(N, 2, 6, 6, seed=2)
    request = Request(model, x, target=TARGET, baselines=baselines, own_baselines=True)
    maps = Explainer(request).attribute(a.Captum(name))
    seeded()
    if name == "DeepLiftShap":  # the mean over copies of one baseline
        wanted = c.DeepLift(model).attribute(x, baselines, TARGET)
    else:
        wanted = torch.cat(
            [c.GradientShap(model).attribute(x[[i]], baselines[[i]], target=TARGET[i]) for i in range(N)]
        )
    exactly(maps, wanted.detach().flatten(1), 1e-9)


@pytest.mark.parametrize("name", ["IntegratedGradients", "FeatureAblation", "GradientShap"])
def test_a_method_of_captum_on_two_inputs(name):
    model, inputs = weights(TwoInputs()), (numbers(N, 3), numbers(N, 2, 2, seed=2))
    baselines = tuple(numbers(1, *t.shape[1:], seed=5) for t in inputs)
    features = torch.tensor([[0, 1, 1]]), torch.tensor([[[2, 1], [3, 0]]])
    ours = attribute(model, inputs, a.Captum(name), target=TARGET, baselines=baselines, features=features)
    seeded()
    more = {"feature_mask": features} if name == "FeatureAblation" else {}
    theirs = getattr(c, name)(model).attribute(inputs, baselines, target=TARGET, **more)
    assert all(torch.equal(one, other.detach()) for one, other in zip(ours, theirs, strict=True))


def test_a_method_of_captum_at_an_embedding_is_its_layer_method():
    asked = on_text()
    model, ids, extra = asked["model"], asked["inputs"], asked["extra"]
    method = a.Captum("IntegratedGradients", kwargs={"n_steps": 6})
    ours = attribute(model, ids, method, target=TARGET, extra=extra, layer="embedding")
    theirs = c.LayerIntegratedGradients(model, model.embedding).attribute(ids, 0 * ids, TARGET, extra, n_steps=6)
    exactly(ours, theirs.detach(), 1e-9)


@pytest.mark.parametrize("name", ["FeatureAblation", "ShapleyValues"])
def test_elements_of_no_feature_keep_their_values(name):
    """Where ours and Captum's compute the same number."""
    model, x, x0 = mlp(5, 4, 3), numbers(N, 5), numbers(1, 5, seed=2)
    features = torch.tensor([[0, 0, -1, 1, 2], [-1, 0, 0, 0, -1], [0, 1, 2, 3, 2], [1, 0, -1, 2, 1]])
    asked = {"target": TARGET, "baselines": x0, "features": features}
    maps = attribute(model, x, a.Captum(name), **asked)
    exactly(maps, attribute(model, x, getattr(a, name)(), **asked).to(maps.dtype), 1e-5)
    assert maps[features < 0].abs().max() == 0


@pytest.mark.parametrize("name", [name for name, known in METHODS.items() if known.complete])
def test_a_complete_method_of_captum_is_complete(name):
    model, x, x0 = weights(ConvNet()), numbers(N, 1, 6, 6), numbers(1, 1, 6, 6, seed=2)
    features = torch.arange(36).reshape(1, 1, 6, 6) // 9
    error = measure(model, x, a.Captum(name), Completeness(), target=TARGET, baselines=x0, features=features)
    assert error.max() < 1e-5
    assert a.Captum(name).facts.complete


@pytest.mark.parametrize(("window", "strides"), [((1, 2, 3), (1, 2, 2)), ((1, 3, 3), None), ((1, 4, 1), 1)])
def test_scores_of_captums_occlusion_are_ours(window, strides):
    model, x = images()
    theirs = a.Captum("Occlusion", kwargs={"sliding_window_shapes": list(window), "strides": strides})
    for metric in (Infidelity(4), Completeness()):
        exactly(measure(model, x, theirs, metric, target=TARGET),
                measure(model, x, a.Occlusion(window, strides), metric, target=TARGET), 1e-4)  # fmt: skip


def test_one_target_in_a_list_holds_for_all_samples():
    model, x = images()
    exactly(
        attribute(model, x, a.Captum("InputXGradient"), target=[2]), attribute(model, x, a.InputXGradient(), target=2)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: a.Captum("DeepLIFT"), "method: expected one of IntegratedGradients, DeepLift, .* got 'DeepLIFT'"),
        (lambda: a.Captum("Occlusion"), "kwargs: Occlusion needs sliding_window_shapes, see Captum's documentation"),
        (lambda: a.Captum(kwargs={"steps": 3}), "kwargs: Captum's has no 'steps'; it takes inputs, .* n_steps, "),
        (lambda: a.Captum("LRP", init={"eps": 1}), "init: Captum's has no 'eps'; it takes model"),
    ],
)
def test_what_captum_does_not_have_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_captum_need_not_be_installed(monkeypatch):
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(ImportError, match=r"Captum is not installed, .*: pip install 'xbench\[captum\]'"):
        a.Captum()


def test_captums_walk_through_all_orders_is_refused_where_it_never_ends():
    method = a.Captum("ShapleyValues")
    explainer = Explainer(Request(mlp(9, 4, 2), numbers(2, 9), target=1))
    assert "needs at most 8 features: one has 9" in str(explainer.missing(method))
