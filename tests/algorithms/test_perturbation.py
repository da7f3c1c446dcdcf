"""Algorithms that switch features, against slow loops straight from their definitions."""

from collections import Counter
from itertools import permutations
from math import exp, factorial, floor

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso, LinearRegression, Ridge
from torch import Tensor, nn

from tests.models_for_tests import Quadratic, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.core.draws import Draws
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

N, D = 3, 6
# Ids with gaps, several elements to a feature, elements of none, another number of features in every sample.
FEATURES = torch.tensor([[7, 2, 2, -1, 40, 7], [0, 1, 2, 3, 4, 5], [3, 3, 9, -1, -1, 3]])
NUMBERED = torch.tensor([[1, 0, 0, -1, 2, 1], [0, 1, 2, 3, 4, 5], [0, 0, 1, -1, -1, 0]])
COUNTS = (3, 6, 2)


class Game(nn.Module):
    """Not additive, not symmetric. Takes one tensor, or several as if they were one vector."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.inner = mlp(d, 9, 1)

    def forward(self, *parts: Tensor) -> Tensor:
        x = torch.cat([part.reshape(len(part), -1) for part in parts], 1)
        return (self.inner(2 * x).squeeze(1) + x.prod(1)) * 3


class Linear(nn.Module):
    """f(x) = w . x + 3, for samples of any shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.w = nn.Parameter(numbers(*shape, seed=5))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.w).flatten(1).sum(1) + 3


def exactly(one: Tensor, other: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(one, other.detach(), rtol=tolerance, atol=tolerance)


def samples(n: int = N, d: int = D) -> tuple[Tensor, Tensor]:
    return numbers(n, d), numbers(n, d, seed=2)


def draws(n: int = N, seed: int = 0) -> Draws:
    return Draws(seed, tuple(map(str, range(n))))


class Coalitions:
    """What the model says of one sample of which only some features are present."""

    def __init__(self, model: nn.Module, x: Tensor, x0: Tensor, groups: Tensor) -> None:
        self.k = int(groups.max()) + 1
        self._parts, self._known = (model, x, x0, groups), dict[frozenset, float]()

    def point(self, members) -> Tensor:
        _, x, x0, groups = self._parts
        kept = [group < 0 or group in members for group in groups.tolist()]
        return torch.stack([x[i] if keep else x0[i] for i, keep in enumerate(kept)])

    def __call__(self, members) -> float:
        key = frozenset(members)
        if key not in self._known:
            with torch.no_grad():
                self._known[key] = float(self._parts[0](self.point(key).unsqueeze(0)))
        return self._known[key]


def gains(value: Coalitions, order) -> np.ndarray:
    """What each feature adds when they join in this order, (K,)."""
    phi = np.zeros(value.k)
    for place, feature in enumerate(order):
        phi[feature] = value(order[: place + 1]) - value(order[:place])
    return phi


def shapley(value: Coalitions) -> np.ndarray:
    """The definition: the mean gain over all orders."""
    return sum(gains(value, order) for order in permutations(range(value.k))) / factorial(value.k)


def mapped(reference, model: nn.Module, x: Tensor, x0: Tensor, groups: Tensor) -> Tensor:
    """The map of a slow reference, a function of a sample's coalitions and its row, that gives K values."""
    x0, groups = x0.expand_as(x), groups.expand(x.shape)
    maps = torch.zeros(x.shape, dtype=torch.float64)
    for row in range(len(x)):
        phi = reference(Coalitions(model, x[row], x0[row], groups[row]), row)
        for i, group in enumerate(groups[row].tolist()):
            if group >= 0:
                maps[row, i] = float(phi[group])
    return maps


def close_on_average(maps: Tensor, wanted: Tensor) -> None:
    """Maps (n, ...) with draws of their own have this mean, to within their standard error."""
    error = maps.std(0) / len(maps) ** 0.5
    assert error.min() > 1e-5
    assert ((maps.mean(0) - wanted).abs() / error).max() < 4.5


# What holds for all


def alike(x: Tensor, _point: Tensor, _present: Tensor) -> Tensor:
    return torch.ones(len(x))


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


# Feature permutation


def donors(ids: tuple[str, ...], row: int, feature: int, n_samples: int) -> list[int]:
    """Positions of the samples whose values a sample takes: any but itself, counted in the order of their ids.

    A draw has one number per feature.
    """
    others = [i for i in sorted(range(len(ids)), key=lambda i: ids[i]) if i != row]
    numbers = Draws(0, ids)
    return [
        others[floor(numbers.generator(row, "donors", draw).random(feature + 1)[feature] * len(others))]
        for draw in range(n_samples)
    ]


def test_feature_permutation_against_a_loop_over_donors():
    ids, n_samples = ("m", "b", "z", "a", "k"), 6
    model, x = Game(D), numbers(5, D)
    rows = [0, 1, 2, 1, 0]
    explainer = Explainer(Request(model, x, features=FEATURES[rows], ids=ids))
    maps = explainer.attribute(a.FeaturePermutation(n_samples))
    wanted = torch.zeros_like(x)
    for row, groups in enumerate(NUMBERED[rows]):
        for group in range(COUNTS[rows[row]]):
            losses = [
                model(x[[row]]) - model(torch.where(groups == group, x[[donor]], x[[row]]))
                for donor in donors(ids, row, group, n_samples)
            ]
            wanted[row, groups == group] = (sum(losses) / n_samples).item()
    exactly(maps, wanted)


def test_feature_permutation_of_a_linear_model_takes_the_difference_from_the_donor():
    model, x = Linear(D), numbers(4, D)
    ids = tuple(map(str, range(4)))
    maps = attribute(model, x, a.FeaturePermutation(5))
    for row in range(4):
        for k in range(D):
            difference = x[row, k] - torch.stack([x[donor, k] for donor in donors(ids, row, k, 5)]).mean()
            exactly(maps[row, k], model.w[k] * difference)


def test_of_two_samples_each_is_the_others_donor():
    model, x = Linear(D), numbers(2, D)
    exactly(attribute(model, x, a.FeaturePermutation(1)), model.w * (x - x.flip(0)))


def test_every_other_sample_is_a_donor_as_often():
    model, x = Linear(1), numbers(4, 1)
    maps = attribute(model, x, a.FeaturePermutation(4000)).squeeze(1)
    for row in range(4):
        losses = model.w.detach() * (x[row] - torch.cat([x[:row], x[row + 1 :]]).squeeze(1))
        assert (maps[row] - losses.mean()).abs() < 4.5 * losses.std(unbiased=False) / 4000**0.5


def test_feature_permutation_needs_another_sample():
    with pytest.raises(a.NotApplicable, match="Feature Permutation needs at least two samples: there is only one"):
        attribute(Game(D), numbers(1, D), a.FeaturePermutation())


# Exact Shapley values


@pytest.mark.parametrize("rows", [None, 1])
def test_shapley_values_by_brute_force(rows):
    model, (x, x0) = Game(D), samples()
    maps = attribute(model, x, a.ShapleyValues(), baselines=x0, features=FEATURES, rows=rows)
    exactly(maps, mapped(lambda value, _: shapley(value), model, x, x0, NUMBERED))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_shapley_values_of_single_elements_by_brute_force(k):
    model, (x, x0) = Game(k), samples(N, k)
    maps = attribute(model, x, a.ShapleyValues(), baselines=x0[:1])
    exactly(maps, mapped(lambda value, _: shapley(value), model, x, x0[:1], torch.arange(k)))


@pytest.mark.parametrize("method", [a.ShapleyValues(), a.KernelShap(2**4)], ids=str)
def test_shapley_values_do_not_depend_on_how_features_lie_in_tensors(method):
    """Features that span two tensors: renumbered, with the tensors swapped, and in one tensor."""
    model, x, y = Game(7), numbers(N, 3), numbers(N, 2, 2, seed=6)
    x0, y0 = numbers(1, 3, seed=2), numbers(1, 2, 2, seed=7)
    left, right = torch.tensor([[0, 1, 1]]), torch.tensor([[[2, 0], [3, 1]]])

    def joint(one: Tensor, two: Tensor) -> Tensor:
        return torch.cat([one, two.flatten(1)], 1)

    wanted = mapped(lambda value, _: shapley(value), model, joint(x, y), joint(x0, y0), joint(left, right))
    exactly(joint(*attribute(model, (x, y), method, baselines=(x0, y0), features=(left, right))), wanted)
    other = torch.tensor([11, 5, 0, 8])
    maps = attribute(model, (x, y), method, baselines=(x0, y0), features=(other[left], other[right]))
    exactly(joint(*maps), wanted)
    swapped = attribute(
        lambda y, x: model(x, y), (y, x), method, baselines=(y0, x0), features=(other[right], other[left])
    )
    exactly(joint(*swapped[::-1]), wanted)
    one = attribute(model, joint(x, y), method, baselines=joint(x0, y0), features=joint(left, right))
    exactly(one, wanted)


def test_too_many_features_are_refused():
    model, (x, x0) = Game(D), samples()
    with pytest.raises(
        a.NotApplicable,
        match=r"Shapley values needs at most 5 features: a sample has 6, which takes 2\^6 evaluations; group them, "
        "sample them .shapley_sampling, kernel_shap., or raise `max_features`",
    ):
        attribute(model, x, a.ShapleyValues(max_features=5), baselines=x0, features=FEATURES)
    maps = attribute(model, x, a.ShapleyValues(max_features=6), baselines=x0, features=FEATURES)
    exactly(maps, mapped(lambda value, _: shapley(value), model, x, x0, NUMBERED))


# Shapley values by sampling


def places(explainer: Explainer, method: a.ShapleyValueSampling) -> list[Tensor]:
    """When the feature of each element joins, from 0, (n, d) for every permutation: read off the points."""
    case, x = explainer.case(distribution=False), explainer.x
    absent = torch.stack([(p != x) & (case.features >= 0) for p in method.plan(case, x).points])
    assert not absent[0].any()
    assert torch.equal(absent[1], (case.features >= 0).expand_as(x))
    walks = absent[2:].unflatten(0, (method.n_samples, -1))
    size = torch.arange(1, walks.shape[1] + 1)[:, None, None]
    found = [walk.sum(0) for walk in walks]
    for walk, place in zip(walks, found, strict=True):
        assert torch.equal(walk, (place >= size) & (case.features >= 0))
    return found


def order_of(place: Tensor, groups: Tensor) -> list[int]:
    """Features in the order in which they join; each takes a place of its own, together with its elements."""
    pairs = sorted({(p, group) for p, group in zip(place.tolist(), groups.tolist(), strict=True) if group >= 0})
    assert [p for p, _ in pairs] == list(range(int(groups.max()) + 1))
    return [group for _, group in pairs]


@pytest.mark.parametrize("n_samples", [1, 2, 5])
@pytest.mark.parametrize("antithetic", [True, False])
def test_shapley_sampling_against_a_loop_over_its_orders(antithetic, n_samples):
    (model, (x, x0)), method = (Game(D), samples()), a.ShapleyValueSampling(n_samples, antithetic)
    explainer = Explainer(Request(model, x, baselines=x0, features=FEATURES, seed=4))
    drawn = places(explainer, method)

    def sampled(value: Coalitions, row: int) -> np.ndarray:
        orders = [order_of(place[row], NUMBERED[row]) for place in drawn]
        if antithetic:
            assert all(one[::-1] == two for one, two in zip(orders[::2], orders[1::2], strict=False))
        return sum(gains(value, order) for order in orders) / n_samples

    exactly(explainer.attribute(method), mapped(sampled, model, x, x0, NUMBERED))


@pytest.mark.parametrize("antithetic", [True, False])
def test_every_order_is_as_likely_as_another(antithetic):
    n, k = 1200, 4
    explainer = Explainer(Request(Game(k), numbers(1, k).expand(n, k), baselines=numbers(1, k, seed=2)))
    for place in places(explainer, a.ShapleyValueSampling(5, antithetic))[::2]:
        found = Counter(map(tuple, place.tolist()))
        assert set(found) == set(permutations(range(k)))
        chi = sum((times - n / 24) ** 2 / (n / 24) for times in found.values())
        assert chi < 55  # 23 degrees of freedom: one in five thousand


@pytest.mark.parametrize("method", [a.ShapleyValueSampling(3), a.ShapleyValueSampling(3, antithetic=False)], ids=str)
def test_shapley_sampling_is_right_on_average(method):
    n, (x, x0) = 400, samples(1)
    maps = attribute(Game(D), x.expand(n, D), method, baselines=x0)
    close_on_average(maps, mapped(lambda value, _: shapley(value), Game(D), x, x0, torch.arange(D))[0])


def test_an_order_and_its_reverse_are_exact_on_a_quadratic():
    """Of two features that interact each comes first once."""
    model, (x, x0) = Quadratic(D), samples()
    exact = model.gradient((x + x0) / 2) * (x - x0)  # half of every product to each of its factors
    for n_samples in (2, 6):
        exactly(attribute(model, x, a.ShapleyValueSampling(n_samples), baselines=x0), exact)
    for method in (a.ShapleyValueSampling(3), a.ShapleyValueSampling(6, antithetic=False)):
        assert not torch.allclose(attribute(model, x, method, baselines=x0), exact, rtol=1e-2)


# LIME


def neighbours(value: Coalitions, row: int, method: a.Lime, x: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Presences (S, K), outputs (S,) and weights (S,) of one sample."""
    z, y, w = [], [], []
    for draw in range(method.n_samples):
        present = draws().generator(row, "lime", draw).random(value.k) < 0.5
        members = np.flatnonzero(present).tolist()
        point = value.point(members)
        if method.similarity == "cosine":
            distance = 1 - float(point @ x[row] / (point.norm() * x[row].norm()))
        else:
            distance = float((point - x[row]).norm())
        z.append(present.astype(float))
        y.append(value(members))
        w.append(exp(-(distance**2) / (2 * method.kernel_width**2)))
    return np.stack(z), np.array(y), np.array(w)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    ("kind", "fitted"),
    [("lasso", Lasso(0.1, tol=1e-12)), ("ridge", Ridge(0.1)), ("linear", LinearRegression())],
    ids=["lasso", "ridge", "linear"],
)
def test_lime_is_the_fit_of_its_neighbours(kind, fitted, similarity):
    model, (x, x0) = Game(D), samples()
    method = a.Lime(40, kind, 0.1, similarity, 0.7)

    def slowly(value: Coalitions, row: int) -> np.ndarray:
        z, y, w = neighbours(value, row, method, x)
        return fitted.fit(z, y, sample_weight=w).coef_

    maps = attribute(model, x, method, baselines=x0, features=FEATURES)
    exactly(maps, mapped(slowly, model, x, x0, NUMBERED), 1e-6 if kind == "lasso" else 1e-10)


@pytest.mark.parametrize("kind", ["lasso", "ridge", "linear"])
def test_lime_minimises_its_errors_and_its_penalty(kind):
    """At the minimum the derivative of the errors in each coefficient is that of the penalty, negative."""
    model, (x, x0), alpha = Game(D), samples(1), 0.2
    method = a.Lime(60, kind, alpha, return_input_shape=False)
    c = attribute(model, x, method, baselines=x0)[0].numpy()
    z, y, w = neighbours(Coalitions(model, x[0], x0[0], torch.arange(D)), 0, method, x)
    intercept = np.average(y - z @ c, weights=w)
    slope = (w * (y - intercept - z @ c)) @ z  # minus half the derivative of the weighted sum of squared errors
    if kind == "lasso":
        kept = c != 0
        assert 0 < kept.sum() < D
        assert slope[kept] / w.sum() == pytest.approx(alpha * np.sign(c[kept]), abs=1e-6)
        assert np.abs(slope[~kept] / w.sum()).max() < alpha
    else:
        assert slope == pytest.approx(alpha * c if kind == "ridge" else np.zeros(D), abs=1e-10)


def test_lime_with_functions_of_the_user():
    """One feature present at a time, weighed by the sample's first element, summed up."""
    model, (x, x0), seen = Game(D), samples(), []

    def similarity(x: Tensor, point: Tensor, present: Tensor) -> Tensor:
        seen.append((x, point, present))
        return x[:, 0].abs() + present.sum(1)

    method = a.Lime(
        20, lambda z, y, w: (w * y) @ z, similarity=similarity, perturb_func=lambda rng, k: rng.permutation(k) == 0
    )
    maps = attribute(model, x, method, baselines=x0, features=FEATURES)

    def slowly(value: Coalitions, row: int) -> np.ndarray:
        total = np.zeros(value.k)
        for draw in range(20):
            chosen = int(draws().generator(row, "lime", draw).permutation(value.k).argmin())
            total[chosen] += (float(x[row, 0].abs()) + 1) * value([chosen])
        return total

    exactly(maps, mapped(slowly, model, x, x0, NUMBERED))
    assert len(seen) == 20
    for of, point, present in seen:
        assert torch.equal(of, x)
        assert torch.equal(present.sum(1), torch.ones(N, dtype=torch.int64))
        inside = present.gather(1, NUMBERED.clamp(min=0)) | (NUMBERED < 0)
        assert torch.equal(point, torch.where(inside, x, x0))


@pytest.mark.parametrize("rows", [None, 1])
def test_lime_gives_one_value_per_feature_on_request(rows):
    model, (x, x0) = Game(D), samples()
    maps = attribute(model, x, a.Lime(40, "ridge"), baselines=x0, features=FEATURES)
    method = a.Lime(40, "ridge", return_input_shape=False)
    values = attribute(model, x, method, baselines=x0, features=FEATURES, rows=rows)
    assert values.shape == (N, max(COUNTS))
    spread = values.gather(1, NUMBERED.clamp(min=0)).masked_fill(NUMBERED < 0, 0)
    exactly(spread, maps)
    for row, k in enumerate(COUNTS):
        assert torch.equal(values[row, k:], torch.zeros(D - k, dtype=torch.float64))


@pytest.mark.parametrize(("baseline", "similarity", "total"), [(torch.inf, "cosine", "nan"), (1e6, "euclidean", "0.0")])
def test_lime_without_weights_says_so(baseline, similarity, total):
    model, x = Game(D), numbers(N, D)
    method = a.Lime(25, similarity=similarity, perturb_func=lambda _, k: np.arange(k) > 0)
    with pytest.raises(ValueError, match=f"similarity: expected weights with a positive sum, got {total} for sample 0"):
        attribute(lambda x: model(x.clamp(-9, 9)), x, method, baselines=baseline)


# RISE


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_rise_on_features_against_a_loop_over_masks(p):
    model, (x, x0), n_samples = Game(D), samples(), 25

    def slowly(value: Coalitions, row: int) -> np.ndarray:
        total = np.zeros(value.k)
        for draw in range(n_samples):
            kept = draws().generator(row, "kept", draw).random(value.k) < p
            total += value(np.flatnonzero(kept).tolist()) * kept
        return total / n_samples / p

    maps = attribute(model, x, a.Rise(n_samples, p=p), baselines=x0, features=FEATURES)
    exactly(maps, mapped(slowly, model, x, x0, NUMBERED))


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_rise_of_a_linear_model_on_average(p):
    """E[m_i m_k] is p^2, or p where i = k: a feature carries what is expected, and (1 - p) of its own share more."""
    n, model, (x, x0) = 300, Linear(D), samples(1)
    maps = attribute(model, x.expand(n, D), a.Rise(60, p=p), baselines=x0)
    share = (model.w * (x - x0)).detach()
    close_on_average(maps, (model(x0) + p * share.sum() + (1 - p) * share[0]).detach())


def stretched(places: int, cells: int, side: int, shift: int) -> np.ndarray:
    """How much of each of cells + 1 cells, `side` long, lies at each place after the shift, (places, cells + 1)."""
    parts = np.zeros((places, cells + 1))
    for place in range(places):
        centre = max((place + shift + 0.5) / side - 0.5, 0)  # in cells, from the middle of the first
        first = floor(centre)
        parts[place, first] += 1 - (centre - first)
        parts[place, min(first + 1, cells)] += centre - first
    return parts


def grid_mask(row: int, draw: int, cells: int, p: float, height: int, width: int) -> Tensor:
    """A coarse grid, one cell longer than the image along each side, enlarged bilinearly and shifted, (H, W)."""
    generator = draws().generator(row, "grid", draw)
    grid = generator.random((cells + 1, cells + 1)) < p
    sides = -(-height // cells), -(-width // cells)
    down, right = (int(generator.integers(side)) for side in sides)
    rows, columns = stretched(height, cells, sides[0], down), stretched(width, cells, sides[1], right)
    return torch.from_numpy(rows @ grid @ columns.T)


@pytest.mark.parametrize(("cells", "p"), [(3, 0.5), (1, 0.5), (2, 0.2), (9, 0.8)])
def test_rise_on_images_against_a_loop_over_masks(cells, p):
    """Two images of other sizes beside each other; some places belong to no feature and stay."""
    shapes, n_samples = ((2, 4, 5), (1, 3, 2)), 12
    model, x, x0 = Game(46), *(tuple(numbers(N, *s, seed=seed + len(s)) for s in shapes) for seed in (1, 2))
    features = torch.ones(1, 1, 4, 5, dtype=torch.int64), torch.ones(1, 1, 3, 2, dtype=torch.int64)
    features[0][..., :2, 1], features[1][..., 2, :] = -1, -1
    maps = attribute(model, x, a.Rise(n_samples, cells, p), baselines=x0, features=features)
    for row in range(N):
        total = [torch.zeros(s, dtype=torch.float64) for s in shapes]
        for draw in range(n_samples):
            masks = [grid_mask(row, draw, cells, p, *s[1:]) for s in shapes]
            masks = [torch.where(f[0] < 0, 1.0, m) for m, f in zip(masks, features, strict=True)]
            inputs = [(i[row] * m + b[row] * (1 - m))[None] for i, b, m in zip(x, x0, masks, strict=True)]
            for t, m in zip(total, masks, strict=True):
                t += float(model(*inputs).detach()) * m
        for found, t, f in zip(maps, total, features, strict=True):
            exactly(found[row], torch.where(f[0] < 0, 0.0, t / n_samples / p))


def test_rise_of_a_linear_model_of_images_on_average():
    """Places that share a cell go together: E[m_i m_k] = p^2 + p (1 - p) sum over cells of their parts at i and k."""
    n, p, cells, side = 400, 0.4, 2, 2
    model, x, x0 = Linear(1, 4, 4), numbers(1, 1, 4, 4), numbers(1, 1, 4, 4, seed=2)
    maps = attribute(model, x.expand(n, 1, 4, 4), a.Rise(40, cells, p), baselines=x0)
    parts = [stretched(4, cells, side, shift) for shift in range(side)]
    together = torch.from_numpy(sum(part @ part.T for part in parts) / side)
    share = (model.w * (x - x0)).detach()
    wanted = model(x0) + p * share.sum() + (1 - p) * (together @ share[0, 0] @ together)
    close_on_average(maps[:, 0], wanted.detach())


# Partition SHAP


def orders(tree) -> list[list[int]]:
    """All orders in which the members of every group follow each other."""
    if isinstance(tree, int):
        return [[tree]]
    left, right = map(orders, tree)
    return [[*one, *two] for a in left for b in right for one, two in ((a, b), (b, a))]


def owen(value: Coalitions, tree) -> np.ndarray:
    """The mean gain over these orders."""
    return sum(gains(value, order) for order in orders(tree)) / len(orders(tree))


LINE = {
    1: 0,
    2: (0, 1),
    4: ((0, 1), (2, 3)),
    5: (((0, 1), 2), (3, 4)),
    8: (((0, 1), (2, 3)), ((4, 5), (6, 7))),
}


@pytest.mark.parametrize("k", LINE)
def test_partition_shap_is_the_owen_value_of_its_tree(k):
    model, (x, x0) = Game(k), samples(N, k)
    maps = attribute(model, x, a.PartitionShap(), baselines=x0)
    exactly(maps, mapped(lambda value, _: owen(value, LINE[k]), model, x, x0, torch.arange(k)))
    same = torch.allclose(maps, attribute(model, x, a.ShapleyValues(), baselines=x0))
    assert same == (k <= 2)


@pytest.mark.parametrize(
    ("shapes", "ids", "tree"),
    [
        ([(5,)], [4, 2, 0, 1, 3], (((4, 2), 0), (1, 3))),
        ([(6,)], [9, -1, 5, 7, 9, 5], ((2, 1), 0)),  # their middles are 3.5, 3 and 2
        ([(4, 2)], [0, 0, 1, 1, 2, 2, 3, 3], ((0, 1), (2, 3))),
        ([(2, 2, 4)], [*range(8), *range(8)], (((0, 1), (4, 5)), ((2, 3), (6, 7)))),
        ([(1, 4, 1)], [3, 2, 1, 0], ((3, 2), (1, 0))),
        ([(2,), (3,)], [1, 3, 0, 2, 4], (((1, 3), 0), (2, 4))),
        ([(), ()], [0, 1], (0, 1)),
    ],
    ids=["shuffled", "groups", "tokens", "image", "column", "two tensors", "two numbers"],
)
def test_the_tree_of_partition_shap_keeps_neighbours_together(shapes, ids, tree):
    d, sizes = len(ids), [torch.Size(shape).numel() for shape in shapes]
    model, (x, x0) = Game(d), samples(N, d)
    groups = torch.unique(torch.tensor(ids), return_inverse=True)[1] - int(-1 in ids)

    def parts(t: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.reshape(-1, *s) for part, s in zip(t.split(sizes, 1), shapes, strict=True))

    maps = attribute(model, parts(x), a.PartitionShap(), baselines=parts(x0), features=parts(torch.tensor([ids])))
    wanted = mapped(lambda value, _: owen(value, tree), model, x, x0, groups)
    exactly(torch.cat([m.reshape(N, -1) for m in maps], 1), wanted)


def partition(value: Coalitions, max_evals: int) -> np.ndarray:
    """Cut the groups with the largest shares, up to eight at a time, and divide the others equally."""
    groups = [(tuple(range(value.k)), (), 1.0)]  # members, what is present besides, weight of this context

    def share(group) -> float:
        members, context, weight = group
        return weight * (value((*context, *members)) - value(context))

    left = (max_evals - 2) // 2
    while left and any(len(members) > 1 for members, _, _ in groups):
        largest = sorted((g for g in groups if len(g[0]) > 1), key=lambda g: -abs(share(g)))[: min(8, left)]
        left -= len(largest)
        groups = [g for g in groups if g not in largest]
        for members, context, weight in largest:
            half = (len(members) + 1) // 2
            one, two = members[:half], members[half:]
            for own, other in ((one, two), (two, one)):
                groups += [(own, context, weight / 2), (own, (*context, *other), weight / 2)]
    phi = np.zeros(value.k)
    for group in groups:
        phi[list(group[0])] += share(group) / len(group[0])
    return phi


@pytest.mark.parametrize("max_evals", [2, 3, 4, 7, 12, 21, 30, 42, 61, 107, 108, 109])
def test_partition_shap_at_any_budget(max_evals):
    """Halves of 6, 3, 2 and 1 feature take 1 + 4 + 16 + 32 cuts."""
    model, (x, x0) = Game(12), samples(N, 12)
    explainer = Explainer(Request(model, x, baselines=x0))
    maps = explainer.attribute(a.PartitionShap(max_evals))
    exactly(maps, mapped(lambda value, _: partition(value, max_evals), model, x, x0, torch.arange(12)))
    exactly(maps.sum(1), model(x) - model(x0))
    assert explainer.engine.counters.forward_rows == N * min(max_evals // 2 * 2, 2 + 2 * 53)


@pytest.mark.parametrize("max_evals", [2, 8, 14, 100])
def test_partition_shap_of_samples_with_different_numbers_of_features(max_evals):
    """Their features lie in the order of their ids along the line, but for the first sample's."""
    model, (x, x0) = Game(D), samples()
    order = torch.tensor([5, 3, 1, 0, 2, 4])  # places of the features of that sample: 2, -1, 0, 1, 0, 1
    x[0], x0[0], groups, ids = x[0, order], x0[0, order], NUMBERED.clone(), FEATURES.clone()
    groups[0], ids[0] = torch.tensor([0, -1, 0, 1, 2, 1]), torch.tensor([2, -1, 2, 7, 40, 7])
    maps = attribute(model, x, a.PartitionShap(max_evals), baselines=x0, features=ids)
    exactly(maps, mapped(lambda value, _: partition(value, max_evals), model, x, x0, groups))


def test_a_cut_gives_each_half_its_sum_where_features_add_up():
    """Whatever the budget, once there is a cut."""
    model, (x, x0) = Linear(8), samples(N, 8)
    share = model.w * (x - x0)
    for max_evals in (4, 9, 20):
        maps = attribute(model, x, a.PartitionShap(max_evals), baselines=x0)
        exactly(maps[:, :4].sum(1), share[:, :4].sum(1))
        exactly(maps[:, 4:].sum(1), share[:, 4:].sum(1))


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
