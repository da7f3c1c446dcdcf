"""What all algorithms that switch features owe, whatever they compute from the outputs."""

import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.games import (
    COUNTS,
    FEATURES,
    NUMBERED,
    D,
    Game,
    Linear,
    N,
    alike,
    exactly,
    mapped,
    samples,
    shapley,
)
from tests.models_for_tests import mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

METHODS = [
    a.FeatureAblation(),
    a.FeaturePermutation(3),
    a.KernelShap(20),
    a.Lime(30, similarity=alike),
    a.Rise(30),
    a.PartitionShap(),
    a.ShapleyValues(),
    a.ShapleyValueSampling(4),
    a.Occlusion((1,)),
]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
on_features = pytest.mark.parametrize("method", METHODS[:-1], ids=lambda m: type(m).__name__)


@pytest.mark.parametrize(
    ("odd", "even"), [(torch.inf, 1e3), (-torch.inf, -1e3), (torch.nan, 0.5)], ids=["inf", "-inf", "nan"]
)
@every_method
def test_features_are_selected_not_multiplied(method, odd, even):
    """An infinite or NaN value that the model can bear harms no other feature: it acts as the number it stands for."""
    game, (x, x0) = Game(D), samples()
    x[0, 4], x0[:, 1] = odd, odd

    def model(x: Tensor) -> Tensor:
        return game(torch.tanh(torch.nan_to_num(x, nan=0.5, posinf=1e3, neginf=-1e3)))

    maps = attribute(model, x, method, baselines=x0)
    stand_in = [torch.where(torch.isfinite(t), t, even) for t in (x, x0)]
    exactly(maps, attribute(model, stand_in[0], method, baselines=stand_in[1]))


@pytest.mark.parametrize("shape", [(D,), (1, 2, 3)], ids=["vector", "image"])
@on_features
def test_baselines_outside_any_feature_are_never_read(method, shape):
    model, (x, x0) = Game(D), samples()
    if isinstance(method, a.Lime):
        method = a.Lime(30)  # its distance does not read them either
    holes = torch.where(FEATURES < 0, torch.nan, x0)
    x, x0, holes, features = (t.reshape(N, *shape) for t in (x, x0, holes, FEATURES))
    maps = attribute(model, x, method, baselines=holes, features=features)
    exactly(maps, attribute(model, x, method, baselines=x0, features=features))
    assert torch.equal(maps[features < 0], torch.zeros(3, dtype=torch.float64))


@every_method
def test_a_float32_model_has_float32_maps(method):
    (x, x0), single = samples(), Game(D).float()
    maps = attribute(single, x.float(), method, baselines=x0.float())
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps.double(), attribute(Game(D), x, method, baselines=x0), rtol=1e-4, atol=1e-4)


class Tokens(nn.Module):
    """Ids (n, D) through an embedding of 3 dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 3)
        self.game = Game(3 * D)
        weights(self)

    def forward(self, ids: Tensor) -> Tensor:
        return self.game(torch.tanh(self.embedding(ids)))


@every_method
def test_integers_without_a_site_are_as_good_as_their_embeddings(method):
    ids = torch.randint(1, 9, (N, D), generator=torch.Generator().manual_seed(3))
    embedded = attribute(Tokens(), ids, method, layer="embedding", features=torch.arange(D).unsqueeze(0))
    maps = attribute(Tokens(), ids, method)
    assert maps.dtype == torch.float32  # integers have no type of their own for a map
    torch.testing.assert_close(maps.double(), embedded[..., 0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(embedded[..., 0], embedded[..., 2])


def test_integer_samples_by_brute_force():
    ids = torch.randint(1, 9, (N, D), generator=torch.Generator().manual_seed(3))
    maps = attribute(Tokens(), ids, a.ShapleyValues(), features=FEATURES)
    wanted = mapped(lambda value, _: shapley(value), Tokens(), ids, torch.zeros_like(ids), NUMBERED)
    torch.testing.assert_close(maps.double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [None, 4, 1000])
@every_method
def test_every_row_keeps_its_samples_target(method, rows):
    """As if each sample were explained by a model with its output alone."""
    (x, x0), net, target = samples(), mlp(D, 8, 4), [2, 0, 3]
    maps = attribute(net, x, method, baselines=x0, target=target, rows=rows)
    for row, column in enumerate(target):
        alone = attribute(lambda x, column=column: net(x)[:, column], x, method, baselines=x0)
        exactly(maps[row], alone[row])


@pytest.mark.parametrize("method", [a.Lime(30), a.PartitionShap()], ids=["Lime", "PartitionShap"])
def test_maps_made_outside_of_torch_are_not_differentiated(method):
    with pytest.raises(ValueError, match=f"create_graph: {method.facts.label} computes outside of torch"):
        attribute(Game(D), numbers(N, D), method, create_graph=True)


@pytest.mark.parametrize(
    "method",
    [
        a.ShapleyValues(),
        a.ShapleyValueSampling(1),
        a.PartitionShap(),
        a.Lime(40, "linear"),
        a.Lime(40, "linear", similarity="euclidean", kernel_width=3.0),
        a.Lime(40, "lasso", alpha=0),
    ],
    ids=str,
)
def test_a_linear_model_is_shared_by_the_weights_of_each_feature(method):
    model, (x, x0) = Linear(D), samples()
    share = (model.w * (x - x0)).detach()
    wanted = torch.zeros_like(x)
    for row in range(N):
        for group in range(COUNTS[row]):
            inside = NUMBERED[row] == group
            wanted[row, inside] = share[row, inside].sum()
    exactly(attribute(model, x, method, baselines=x0, features=FEATURES), wanted)


# Densities and parameters


@on_features
def test_the_density_divides_a_feature_among_its_elements(method):
    explainer = Explainer(Request(Game(D), numbers(N, D), features=FEATURES))
    maps = explainer.attribute(method)
    density = method.density(explainer.case(distribution=False), maps)
    for row, groups in enumerate(NUMBERED):
        for group in range(COUNTS[row]):
            inside = groups == group
            exactly(density[row, inside], maps[row, inside] / int(inside.sum()))


def test_the_density_of_rise_on_images_is_its_map():
    x, features = numbers(N, 1, 2, 3), FEATURES.reshape(N, 1, 2, 3)
    explainer = Explainer(Request(Game(D), x, features=features))
    maps = explainer.attribute(a.Rise(5))
    assert torch.equal(a.Rise(5).density(explainer.case(distribution=False), maps), maps)


@pytest.mark.parametrize("method", [a.Lime(return_input_shape=False), a.KernelShap(return_input_shape=False)], ids=str)
def test_values_of_features_have_no_density(method):
    explainer = Explainer(Request(Game(D), numbers(N, D), features=FEATURES))
    with pytest.raises(ValueError, match="return_input_shape=False gives values of features"):
        method.density(explainer.case(distribution=False), explainer.attribute(method))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: a.FeaturePermutation(0), "n_samples: expected at least 1, got 0"),
        (lambda: a.ShapleyValues(0), "max_features: expected at least 1, got 0"),
        (lambda: a.ShapleyValueSampling(0), "n_samples: expected at least 1, got 0"),
        (lambda: a.Lime(0), "n_samples: expected at least 1, got 0"),
        (lambda: a.Lime(alpha=-0.1), "alpha: expected at least 0, got -0.1"),
        (lambda: a.Lime(kernel_width=0.0), "kernel_width: expected a positive number, got 0.0"),
        (lambda: a.Lime(interpretable_model="tree"), "interpretable_model: expected lasso, ridge, linear, got 'tree'"),
        (lambda: a.Lime(similarity="l1"), "similarity: expected cosine or euclidean, got 'l1'"),
        (lambda: a.Rise(0), "n_samples: expected at least 1, got 0"),
        (lambda: a.Rise(cells=0), "cells: expected at least 1, got 0"),
        (lambda: a.Rise(p=1.0), "p: expected a probability between 0 and 1, got 1.0"),
        (lambda: a.PartitionShap(1), "max_evals: expected at least 2, got 1"),
    ],
)
def test_impossible_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
