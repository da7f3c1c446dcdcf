"""What every metric owes, whatever it measures. A new file in conf/metric joins by existing."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.metrics.contract import (
    TARGET,
    N,
    masks,
    names,
    parameterised,
    plain,
    samples,
    score,
    setting_of,
)
from tests.metrics.toys import known
from tests.models_for_tests import ConvNet, numbers, weights
from xbench.algorithms import (
    Algorithm,
    FeatureAblation,
    IntegratedGradients,
    KernelShap,
    NoiseTunnel,
    Random,
    Saliency,
)
from xbench.core.needs import Need
from xbench.metrics import Metric, Ranked

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


TRUTHFUL = sorted(set(names()) - NO_TEST_OF_TRUTH)


def test_there_are_metrics():
    assert {"infidelity", "sensitivity_max", "completeness"} <= set(names())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_columns_are_those_declared_in_double_precision(metric: Metric, dtype: torch.dtype):
    every = list(range(N))
    columns = score(
        known(weights(ConvNet())).to(dtype),
        samples().to(dtype),
        metric,
        IntegratedGradients(n_steps=3),
        **setting_of(metric, every),
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
    metric = parameterised(truthful)
    setting = setting_of(metric, list(range(N)))
    # Of a linear model the shares are exact in one step, and its slopes the same everywhere.
    shares = metric.facts.family in ("faithfulness", "axiomatic")
    right = IntegratedGradients(n_steps=1) if shares else Saliency(abs=False)
    perfect = score(plain(truthful), samples(), metric, right, **setting)[metric.main]
    noise = score(plain(truthful), samples(), metric, Random(), **setting)[metric.main]
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
    setting = setting_of(metric, list(range(N)), rows=rows)
    x = samples()
    x[4] = setting["baselines"][4]
    columns = score(model, x, metric, IntegratedGradients(n_steps=3), **setting)
    for column, values in columns.items():
        expected = [i == 4 and column in UNDEFINED[name] for i in range(N)]
        assert values.isnan().tolist() == expected, column


def test_a_map_with_nan_scores_nan(name: str, metric: Metric):
    # A failure must not become a number: as comparisons with NaN are false, it once passed for a zero map.
    def broken(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        return torch.where(x == x.amax(), torch.nan, x)

    columns = score(plain(name), samples()[:1], metric, broken, target=TARGET[:1], masks=masks(metric)[:1])
    assert all(values.isnan().all() for values in columns.values())


def _with_algorithms() -> list[tuple[str, Algorithm]]:
    """Each metric with every kind of algorithm if it explains again, else with maps of two kinds."""
    explains = {name: any(each.explains for each in parameterised(name).evidence) for name in names()}
    return [(name, each) for name, again in explains.items() for each in (ALGORITHMS if again else ALGORITHMS[2:4])]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("named", "algorithm"), _with_algorithms(), ids=lambda a: a if isinstance(a, str) else type(a).__name__
)
def test_rows_mates_and_order_change_nothing(named: str, model: nn.Module, algorithm: Algorithm):
    metric, x = parameterised(named), samples()
    whole = score(model, x, metric, algorithm, rows=1, **setting_of(metric, list(range(N))))
    for chosen, rows in [
        (list(range(N)), 7),
        (list(range(N)), None),
        ([3], 1),
        ([5, 0, 8], 2),
        ([8, 7, 6, 5, 4, 3, 2, 1, 0], 4),
    ]:
        part = score(model, x[chosen], metric, algorithm, rows=rows, **setting_of(metric, chosen))
        for column, values in whole.items():
            torch.testing.assert_close(part[column], values[chosen], rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.slow
def test_the_same_call_gives_the_same_bits_and_leaves_global_randomness_alone(metric: Metric, model: nn.Module):
    setting = setting_of(metric, list(range(N)), rows=4)
    states = []
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002  (the global state is what must not be read)
        random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
        results.append(score(model, samples(), metric, ALGORITHMS[2], **setting))
        after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
        states.append(torch.equal(before[0], after[0]) and (before[1] == after[1]).all() and before[2] == after[2])
    assert all(states)
    for column, values in results[0].items():
        torch.testing.assert_close(values, results[1][column], rtol=0, atol=0, equal_nan=True)


def test_the_scale_of_a_map_does_not_change_its_order(metric: Metric, model: nn.Module):
    # Of a monotone change of the map, metrics that look at its order alone say the same.
    if metric.main in OTHER_ORDER or not any(isinstance(each, Ranked) for each in metric.evidence):
        return
    x, every = samples(), list(range(N))
    setting = {**setting_of(metric, every), "features": None}
    phi = numbers(N, 1, 6, 6, seed=8)
    found = [score(model, x, metric, change(phi), **setting)[metric.main] for change in (torch.clone, torch.arcsinh)]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)
    if metric.main != "monotonicity":  # which is 0 for either
        assert not torch.allclose(found[0], score(model, x, metric, -phi, **setting)[metric.main])


@pytest.mark.slow
def test_another_seed_draws_anew_where_the_metric_draws(name: str, metric: Metric, model: nn.Module):
    setting = {"target": 0, "masks": masks(metric)}
    every = [score(model, samples(), metric, Saliency(), seed=seed, **setting)[metric.main] for seed in (0, 0, 1)]
    torch.testing.assert_close(every[0], every[1], rtol=1e-9, atol=1e-12)  # rounding follows the rows
    assert torch.allclose(every[0], every[2], rtol=1e-9, atol=1e-12) == (name not in DRAWS)


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
    before, x = _state(model), samples()
    kept = x.clone()
    if fails:
        with pytest.raises(RuntimeError, match="fuse"):
            score(model, x, metric, Saliency(), target=0, rows=4, masks=masks(metric))
    else:
        score(model, x, metric, Saliency(), target=0, rows=4, masks=masks(metric))
    assert _state(model) == before
    assert torch.equal(x, kept)
