"""What every metric owes, whatever it measures. A new file in conf/metric joins by existing."""

import json
import random
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.metrics.toys import PARTNERS, known, linear, with_hidden
from tests.metrics.toys import score as score_logits
from tests.models_for_tests import ConvNet, numbers, weights
from xbench.algorithms import (
    Algorithm,
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    NoiseTunnel,
    Random,
    Saliency,
)
from xbench.config.compose import component
from xbench.config.nodes import CONF, identity
from xbench.core.needs import Need
from xbench.engine.speed import Speed
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request
from xbench.explain.score import Explanation, gather, score_maps
from xbench.metrics import Focus, Infidelity, Metric, Ranked, Symmetry
from xbench.metrics.robustness.reexplained import NearbyMetric
from xbench.metrics.robustness.relative_stability import RelativeStability

N = 9
IDS = tuple(f"sample-{i}" for i in range(N))
TARGET = torch.tensor([0, 2, 1, 1, 0, 2, 2, 1, 0])
PATCHES = (torch.arange(36) // 9).reshape(1, 1, 6, 6)  # four features
MOSAIC = (torch.arange(6)[:, None] // 3 * 2 + torch.arange(6) // 3).reshape(1, 1, 6, 6)
ALGORITHMS = [
    IntegratedGradients(n_steps=3),
    Saliency(),
    NoiseTunnel(Saliency(abs=False), nt_samples=2, stdevs=0.1),
    KernelShap(n_samples=9),
    FeatureAblation(),
    Random(),
]
# The columns without a value where a sample equals its baseline and its map is zero. What is left is defined:
# the raw and scaled infidelity of a map that predicts no change where there is none are 0.
UNDEFINED = {
    "infidelity": {"infidelity_relative"},
    "sensitivity_max": {"sensitivity_max", "sensitivity_max_floor"},
    "completeness": {"completeness"},
    # At the baseline the map is zero: ranks tie, and there is no relevance of which a share could lie in the mask.
    "pointing_game": set(),
    "top_k_intersection": set(),
    "relevance_mass": {"relevance_mass"},
    "relevance_rank": set(),
    "grid_pointing_game": {"grid_pointing_game"},
    "localisation_auc": set(),
    "rationale": set(),
    "sensitivity_avg": {"sensitivity_avg", "sensitivity_avg_floor"},
    "local_lipschitz": set(),
    "relative_input_stability": {"relative_input_stability", "relative_input_stability_elements"},
    "relative_output_stability": {"relative_output_stability", "relative_output_stability_elements"},
    "relative_representation_stability": {
        "relative_representation_stability",
        "relative_representation_stability_elements",
    },
    "continuity": set(),
    # No neighbour has a zero map too.
    "consistency": {"consistency"},
    "local_sufficiency": {"local_sufficiency"},
    # A zero map has no shares of which few could be large, and no order that could agree with anything.
    "sparseness": {"sparseness"},
    "non_sensitivity": set(),  # no feature has relevance, and none has an effect
    "monotonicity_correlation": {"monotonicity_correlation"},
    "sensitivity_n": {"sensitivity_n", "sensitivity_n_20", "sensitivity_n_50", "sensitivity_n_80"},
    "mprt": {"mprt", "mprt_full"},
    "mprt_bottom_up": {"mprt_bottom_up"},
    "smooth_mprt": set(),  # noisy copies are not at the baseline
    "efficient_mprt": {"efficient_mprt"},
    "input_invariance": {"input_invariance"},
    "random_logit": {"random_logit"},
    # All points are the baseline: nothing drops.
    "deletion_auc": set(),
    "insertion_auc": set(),
    "pixel_flipping": set(),
    "fidelity_plus": set(),
    "fidelity_minus": set(),
    "characterisation": set(),
    "unfaithfulness": set(),
    "srg": set(),
    "abpc": set(),
    "region_perturbation": set(),
    "selectivity": set(),
    "comprehensiveness": set(),
    "sufficiency": set(),
    "monotonicity": set(),
    "road": set(),
    "auc_tp": set(),
    "log_odds": set(),
    "prediction_gap": set(),
    # Of an output that is no positive number, or no probability, there are no shares.
    "irof": set(),
    "average_drop": set(),
    "naopc": {"naopc", "naopc_sufficiency"},  # all orders are the same
}  # fmt: skip
_OWN_NAME = """entropy effective_complexity total_variation dummy symmetry linearity mu_fidelity lds focus
faithfulness_correlation faithfulness_estimate attribution_localisation localisation_iou"""
UNDEFINED |= {name: {name} for name in _OWN_NAME.split()}
# The metrics whose numbers depend on the seed, with a method that does not draw.
DRAWS = {
    "infidelity", "faithfulness_correlation", "mu_fidelity", "lds", "sensitivity_n",
    "sensitivity_max", "sensitivity_avg", "mprt", "random_logit", "local_lipschitz",
    "relative_input_stability", "relative_output_stability", "relative_representation_stability",
    "mprt_bottom_up", "smooth_mprt", "efficient_mprt", "consistency", "local_sufficiency", "prediction_gap", "road",
}  # fmt: skip
# Those that look at the order of a few features, which noise may guess.
ORDER = {"monotonicity_correlation", "mu_fidelity", "lds"}
# The metrics of probabilities: other outputs have no shares.
PROBABILITIES = {"irof", "average_drop"}
# The metrics of an order that is not the map's own: of sums over squares or segments, of sizes, or of values.
OTHER_ORDER = {"region_perturbation", "selectivity", "irof", "pgi", "average_drop"}
# Said of the perfect map of a linear model, which noise may match or beat: it is as dense as the weights are, and not
# another one where a class's weights happen to resemble another's. Noise never has the same map again, nor one like it.
# The random control never sees the model: no shift of its bias and no change of its weights moves it.
NO_TEST_OF_TRUTH = {
    "sparseness", "random_logit", "mprt", "mprt_bottom_up", "smooth_mprt", "efficient_mprt", "input_invariance",
    "consistency", "local_sufficiency",
    # Of whole predictions, of noise on either side of a sample, and of the sample faded by its map.
    "road", "auc_tp", "monotonicity", "prediction_gap", "average_drop", "irof", "log_odds",
}  # fmt: skip
# Of probabilities, what serves the logit is not all: the other classes' logits move too. tests/metrics/test_graph.py
# has a model whose answer is known.
NO_TEST_OF_TRUTH |= {"fidelity_plus", "fidelity_minus", "characterisation", "unfaithfulness"}
# Nor has a dense model a feature without effect, or one that does what another does, or its weights in one cell.
NO_TEST_OF_TRUTH |= {"entropy", "effective_complexity", "total_variation", "non_sensitivity", "dummy", "symmetry"}
NO_TEST_OF_TRUTH |= {"focus"}


def _names() -> list[str]:
    paths = sorted((Path(CONF) / "metric").glob("*.yaml"))
    return [path.stem for path in paths if "_target_:" in path.read_text()]


@lru_cache
def _metric(name: str) -> Metric:
    metric = component("metric", name)
    few: dict[str, float] = {"n_perturb_samples": 4, "beam": 1, "max_features": 36}
    quick = {field.name: few[field.name] for field in fields(metric) if field.name in few}
    if isinstance(metric, RelativeStability):  # where a draw must keep the class: one sample lies between two
        quick["perturb_radius"] = 0.001
    return replace(metric, **quick)


def score(model: nn.Module, x: Tensor, metric: Metric, explanation: object, **setting: object) -> dict[str, Tensor]:
    """Every column, of the output that the metric is for."""
    output = {"output": "probability"} if metric.main in PROBABILITIES else {}
    return score_logits(model, x, metric, explanation, **output, **setting)


TRUTHFUL = sorted(set(_names()) - NO_TEST_OF_TRUTH)


@pytest.fixture(params=_names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def metric(name: str) -> Metric:
    return _metric(name)


@pytest.fixture
def model() -> nn.Module:
    return known(weights(ConvNet()))


@lru_cache
def _masks(metric: Metric) -> Tensor:
    """Where the evidence for the targets lies in `linear()`: its five largest weights, (9, 1, 6, 6)."""
    if isinstance(metric, Focus):  # a cell of a mosaic
        return (TARGET.reshape(N, 1, 1, 1) == MOSAIC).reshape(N, 1, 6, 6)
    weight = linear()[1].weight.detach()
    most = weight >= weight.topk(5, dim=1).values[:, -1:]
    return most[TARGET].reshape(N, 1, 6, 6)


def _plain(name: str) -> nn.Module:
    """A linear model, with a hidden layer for the metric that asks for one."""
    return known(with_hidden(linear()) if name == "relative_representation_stability" else linear())


def _setting(metric: Metric, chosen: list[int], **other: object) -> dict[str, object]:
    """Samples `chosen` of the nine, each with its own id, baseline and target."""
    baselines = numbers(N, 1, 6, 6, seed=5) / 3
    if isinstance(metric, Symmetry):  # where one of a product is 0, both do the same
        baselines.flatten(1)[:, PARTNERS.flatten()] = 0
    return {
        "masks": _masks(metric)[chosen],
        "ids": tuple(IDS[i] for i in chosen),
        "target": TARGET[chosen],
        "baselines": baselines[chosen],
        "features": PATCHES,
        **other,
    }


def _samples() -> Tensor:
    return numbers(N, 1, 6, 6)


def test_there_are_metrics():
    assert {"infidelity", "sensitivity_max", "completeness"} <= set(_names())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_columns_are_those_declared_in_double_precision(metric: Metric, dtype: torch.dtype):
    every = list(range(N))
    columns = score(
        known(weights(ConvNet())).to(dtype),
        _samples().to(dtype),
        metric,
        IntegratedGradients(n_steps=3),
        **_setting(metric, every),
    )
    assert list(columns) == list(metric.facts.columns)
    assert metric.main == next(iter(columns))
    for column in columns.values():
        assert column.shape == (N,)
        assert column.dtype == torch.float64
        assert torch.isfinite(column).all()
    assert all(column.direction in ("lower", "higher", "none") for column in metric.facts.columns.values())
    assert metric.facts.columns[metric.main].direction != "none"
    assert metric.facts.label
    assert metric.facts.citation


@pytest.mark.parametrize("truthful", TRUTHFUL)
def test_a_perfect_map_beats_noise(truthful: str):
    metric = _metric(truthful)
    setting = _setting(metric, list(range(N)))
    # Of a linear model the shares are exact in one step, and its slopes the same everywhere.
    shares = metric.facts.family in ("faithfulness", "axiomatic")
    right = IntegratedGradients(n_steps=1) if shares else Saliency(abs=False)
    perfect = score(_plain(truthful), _samples(), metric, right, **setting)[metric.main]
    noise = score(_plain(truthful), _samples(), metric, Random(), **setting)[metric.main]
    better = perfect < noise if metric.facts.columns[metric.main].direction == "lower" else perfect > noise
    # Noise may hit a pixel of the mask, or the order of a few features.
    ordered = any(isinstance(each, Ranked) for each in metric.evidence) or truthful in ORDER
    if Need.TRUTH in metric.facts.needs or ordered:
        assert (better | torch.isclose(perfect, noise, rtol=1e-9)).all()
        assert better.sum() > N / 2
    else:
        assert better.all()


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 7, None])
def test_undefined_is_nan_and_only_there(name: str, metric: Metric, model: nn.Module, rows: int | None):
    assert name in UNDEFINED, f"say in UNDEFINED which columns of {name} have no value at the baseline"
    setting = _setting(metric, list(range(N)), rows=rows)
    x = _samples()
    x[4] = setting["baselines"][4]
    columns = score(model, x, metric, IntegratedGradients(n_steps=3), **setting)
    for column, values in columns.items():
        expected = [i == 4 and column in UNDEFINED[name] for i in range(N)]
        assert values.isnan().tolist() == expected, column


def test_a_map_with_nan_scores_nan(name: str, metric: Metric):
    # A failure must not become a number: as comparisons with NaN are false, it once passed for a zero map.
    def broken(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        return torch.where(x == x.amax(), torch.nan, x)

    columns = score(_plain(name), _samples()[:1], metric, broken, target=TARGET[:1], masks=_masks(metric)[:1])
    assert all(values.isnan().all() for values in columns.values())


def _with_algorithms() -> list[tuple[str, Algorithm]]:
    """Each metric with every kind of algorithm if it explains again, else with maps of two kinds."""
    explains = {name: any(each.explains for each in _metric(name).evidence) for name in _names()}
    return [(name, each) for name, again in explains.items() for each in (ALGORITHMS if again else ALGORITHMS[2:4])]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("named", "algorithm"), _with_algorithms(), ids=lambda a: a if isinstance(a, str) else type(a).__name__
)
def test_rows_mates_and_order_change_nothing(named: str, model: nn.Module, algorithm: Algorithm):
    metric, x = _metric(named), _samples()
    whole = score(model, x, metric, algorithm, rows=1, **_setting(metric, list(range(N))))
    for chosen, rows in [
        (list(range(N)), 7),
        (list(range(N)), None),
        ([3], 1),
        ([5, 0, 8], 2),
        ([8, 7, 6, 5, 4, 3, 2, 1, 0], 4),
    ]:
        part = score(model, x[chosen], metric, algorithm, rows=rows, **_setting(metric, chosen))
        for column, values in whole.items():
            torch.testing.assert_close(part[column], values[chosen], rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.slow
def test_the_same_call_gives_the_same_bits_and_leaves_global_randomness_alone(metric: Metric, model: nn.Module):
    setting = _setting(metric, list(range(N)), rows=4)
    states = []
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002  (the global state is what must not be read)
        random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
        results.append(score(model, _samples(), metric, ALGORITHMS[2], **setting))
        after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
        states.append(torch.equal(before[0], after[0]) and (before[1] == after[1]).all() and before[2] == after[2])
    assert all(states)
    for column, values in results[0].items():
        torch.testing.assert_close(values, results[1][column], rtol=0, atol=0, equal_nan=True)


class Recorder(nn.Module):
    """Keeps every row that enters the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        return self.model(x)


@pytest.mark.slow
def test_what_is_shared_is_evaluated_alike_for_every_algorithm(metric: Metric, model: nn.Module):
    # Both evaluate the point they are given and no other, so what enters the model is what the metric drew. What the
    # map orders differs, and another model or target is evaluated at the same points.
    seen = []
    for algorithm in (Saliency(), InputXGradient()):
        recorder = known(Recorder(model))
        score(recorder, _samples(), metric, algorithm, rows=5, **_setting(metric, list(range(N))))
        seen.append(torch.cat(recorder.seen))
    assert (len(seen[0]) > N) == bool(metric.evidence)  # a metric of the map alone sends nothing
    ranked = any(isinstance(each, Ranked) for each in metric.evidence)
    assert (len(seen[0]) == len(seen[1]) and torch.equal(*seen)) != ranked


def test_the_scale_of_a_map_does_not_change_its_order(metric: Metric, model: nn.Module):
    # Of a monotone change of the map, metrics that look at its order alone say the same.
    if metric.main in OTHER_ORDER or not any(isinstance(each, Ranked) for each in metric.evidence):
        return
    x, every = _samples(), list(range(N))
    setting = {**_setting(metric, every), "features": None}
    phi = numbers(N, 1, 6, 6, seed=8)
    found = [score(model, x, metric, change(phi), **setting)[metric.main] for change in (torch.clone, torch.arcsinh)]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)
    if metric.main != "monotonicity":  # which is 0 for either
        assert not torch.allclose(found[0], score(model, x, metric, -phi, **setting)[metric.main])


@pytest.mark.slow
def test_another_seed_draws_anew_where_the_metric_draws(name: str, metric: Metric, model: nn.Module):
    setting = {"target": 0, "masks": _masks(metric)}
    every = [score(model, _samples(), metric, Saliency(), seed=seed, **setting)[metric.main] for seed in (0, 0, 1)]
    torch.testing.assert_close(every[0], every[1], rtol=1e-9, atol=1e-12)  # rounding follows the rows
    assert torch.allclose(every[0], every[2], rtol=1e-9, atol=1e-12) == (name not in DRAWS)


@pytest.mark.slow
def test_evidence_gathered_before_serves_as_if_gathered_now(metric: Metric, model: nn.Module):
    recorder = known(Recorder(model))
    output = "probability" if metric.main in PROBABILITIES else "logit"
    setting = _setting(metric, list(range(N)), rows=4, output=output)
    explainer = Explainer(Request(recorder, _samples(), speed=Speed(rewrites=False), **setting))
    for algorithm in (IntegratedGradients(n_steps=3), FeatureAblation()):
        explanation = Explanation.of(algorithm, explainer)
        fresh = score_maps(explainer, metric, explanation)
        found = [gather(explainer, each, explanation) for each in metric.evidence]
        assert all(outputs.shape[0] == N and outputs.dim() == 2 for outputs in found)
        recorder.seen.clear()
        again = score_maps(explainer, metric, explanation, found)
        assert not recorder.seen
        for column, values in fresh.items():
            torch.testing.assert_close(again[column], values, rtol=1e-9, atol=1e-12, equal_nan=True)


def test_evidence_has_an_identity(metric: Metric):
    # The store keeps it under this, so it must tell settings apart, and equal ones must be equal.
    for each in metric.evidence:
        assert json.loads(json.dumps(identity(each))) == identity(each)
        assert identity(replace(each)) == identity(each)


@pytest.mark.slow
def test_metrics_of_one_question_share_their_evidence():
    assert identity(_metric("deletion_auc").evidence[0]) == identity(_metric("pixel_flipping").evidence[0])
    assert identity(_metric("sensitivity_max").evidence[0]) == identity(_metric("sensitivity_avg").evidence[0])
    every = [component("metric", name) for name in _names()]
    assert len({metric.evidence[0] for metric in every if isinstance(metric, NearbyMetric)}) == 1
    assert identity(_metric("infidelity").evidence[0]) != identity(Infidelity(5).evidence[0])


def test_columns_say_what_they_mean(metric: Metric):
    assert metric.facts.family != "own"
    for column in metric.facts.columns.values():
        assert column.label
        assert column.meaning.endswith(".")


def _state(model: nn.Module) -> list[object]:
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), m.training) for m in model.modules()
    ]
    grads = [(p.requires_grad, p.grad is None) for p in model.parameters()]
    return [hooks, grads, sorted(vars(model)), {k: v.tolist() for k, v in model.state_dict().items()}]


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(metric: Metric, model: nn.Module, fails: bool):
    model.train()
    model.norm.eval()  # a mixture of modes and of flags, as in fine-tuning
    model.conv1.weight.requires_grad_(False)
    model.fuse.fail_at = 3 if fails else None
    before, x = _state(model), _samples()
    kept = x.clone()
    if fails:
        with pytest.raises(RuntimeError, match="fuse"):
            score(model, x, metric, Saliency(), target=0, rows=4, masks=_masks(metric))
    else:
        score(model, x, metric, Saliency(), target=0, rows=4, masks=_masks(metric))
    assert _state(model) == before
    assert torch.equal(x, kept)
