"""What every algorithm owes, whatever it computes. A new file in conf/algorithm joins by existing.

Each algorithm meets three sites (the input, an embedding of integer ids, a convolution) and two readouts (a target
per sample, a neuron), in float64; those that need attention meet an embedding with attention behind it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from tests.models_for_tests import AttentionNet, ConvNet, Fuse, TextNet, numbers, weights
from xbench import Speed
from xbench import algorithms as a
from xbench.algorithms.parts.on_features import OnFeatures
from xbench.config.nodes import instantiate
from xbench.core.plan import Plan, Want
from xbench.engine import Counters, OutOfMemory
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

N = 5
# Fewer evaluations than the configs ask for, a tolerance that no sample meets before max_steps, and maps with signs.
QUICK = {"n_steps": 4, "n_samples": 9, "nt_samples": 3, "max_evals": 8, "alpha": 1e-3, "tol": 1e-30, "max_steps": 8}
QUICK |= {"relu_attributions": False}
TARGET = [0, 2, 1, 1, 0]
NEURON = ("hidden", 2)
IDS = tuple(f"sample-{i}" for i in range(N))
LENGTHS = (7, 5, 3, 6, 4)  # real tokens of each text: padding, and a different number of features per sample
FEATURES = {"input": 7, "embedding": 7, "conv": 8}  # the most features of a sample
WINDOWS = {"input": 36, "embedding": 7, "conv": 16}  # positions of the window that Occlusion chooses
SHAPES = {"input": (1, 6, 6), "embedding": (7, 4), "conv": (2, 4, 4), "attention": (7, 4)}
CHANNELS = {"input": 2, "embedding": 6, "conv": 2}  # of the last convolution


def _nodes() -> dict[str, dict[str, Any]]:
    """The config of every algorithm: each file of the group that names a class."""
    folder = Path(__file__).parents[2] / "conf" / "algorithm"
    files = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in sorted(folder.glob("*.yaml"))}
    return {
        name: node
        for name, node in files.items()
        if isinstance(node, dict) and "_target_" in node and "???" not in node.values()  # ???: the user's to fill
    }


NODES = _nodes()


def _shortened(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    return {key: QUICK.get(key, _shortened(value)) for key, value in node.items()}


def algorithm(name: str, *, quick: bool = True) -> a.Algorithm:
    made = instantiate(_shortened(NODES[name]) if quick else NODES[name], name)
    assert isinstance(made, a.Algorithm)
    return made


def setting(site: str, readout: str, algorithm: a.Algorithm, **changes: Any) -> Request:
    """What is explained, on a model of its own."""
    texts = {"embedding": TextNet, "attention": AttentionNet}
    made = _text(texts[site]()) if site in texts else _image(None if site == "input" else "conv2")
    if algorithm.facts.distribution:
        made = replace(made, baselines=_distribution(made))
    # With a neuron the target matters to Conductance alone: the output whose gradient flows through it.
    made = replace(made, ids=IDS, target=TARGET, neuron=NEURON if readout == "neuron" else None)
    # Rewritten models are copies, whose fuse nobody watches; tests/engine/rewrites/test_choice.py is about them.
    return replace(made, **{"speed": Speed(rewrites=False)} | changes)


def _image(layer: str | None) -> Request:
    if layer is None:
        features = torch.arange(36).reshape(1, 1, 6, 6) // 6
        features[..., :2] = -1  # no feature's
        features[..., 0] = 9  # an id far from the others
    else:
        features = torch.arange(8).reshape(1, 2, 4, 1)
    return Request(
        weights(ConvNet()), numbers(N, 1, 6, 6), baselines=numbers(1, 1, 6, 6, seed=2) / 2, features=features,
        layer=layer,
    )  # fmt: skip


def _text(model: nn.Module) -> Request:
    ids = torch.randint(1, 20, (N, 7), generator=torch.Generator().manual_seed(4))
    mask = torch.arange(7) < torch.tensor(LENGTHS)[:, None]
    features = torch.where(mask, torch.arange(7), -1)
    return Request(
        weights(model, scale=2), ids * mask, baselines=torch.zeros(N, 7, dtype=torch.int64), features=features,
        extra=(mask.double(),), layer="embedding",
    )  # fmt: skip


def _distribution(made: Request) -> Tensor:
    """Three baselines for all samples."""
    if made.layer == "embedding":
        return torch.randint(0, 20, (3, 7), generator=torch.Generator().manual_seed(5))
    return numbers(3, 1, 6, 6, seed=2)


def picked(made: Request, rows: list[int]) -> Request:
    """Only these samples, in this order."""
    assert isinstance(made.inputs, Tensor)

    def take(value: Any) -> Any:
        if isinstance(value, Tensor) and len(value) == N:
            return value[rows]
        return [value[i] for i in rows] if isinstance(value, list) else value

    return replace(
        made, inputs=made.inputs[rows], target=take(made.target), baselines=take(made.baselines),
        features=take(made.features), extra=tuple(take(e) for e in made.extra), ids=tuple(IDS[i] for i in rows),
    )  # fmt: skip


@dataclass(frozen=True)
class Result:
    maps: Tensor
    counters: Counters


def explain(made: Request, method: a.Algorithm) -> Result:
    explainer = Explainer(made)
    (maps,) = explainer.shaped(explainer.attribute(method))
    return Result(maps, explainer.engine.counters)


def prepared(made: Request, method: a.Algorithm) -> tuple[Explainer, Callable[[], Tensor]]:
    """The explainer, and the algorithm's own evaluations: baselines are at their site, shapes of layers are known."""
    explainer = Explainer(made)
    assert explainer.missing(method) is None
    case = explainer.case(distribution=method.facts.distribution)
    return explainer, lambda: explainer.run(method.plan, case, explainer.x)


@cache
def expected(name: str, site: str, readout: str) -> Result:
    """The maps with the engine's own choice of rows."""
    return explain(setting(site, readout, algorithm(name)), algorithm(name))


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


# What does not suit a toy model, and why. Everything else must work everywhere.
UNFIT: dict[tuple[str, str], str] = {
    ("blur_ig", "embedding"): "needs images",
    **{
        (name, site): "needs an attention layer"
        for name in NODES
        for site in ("input", "embedding", "conv")
        if a.Need.ATTENTION in algorithm(name).facts.needs
    },
}
PAIRS = [
    (name, site)
    for name in NODES
    for site in SHAPES
    if (name, site) not in UNFIT and (site == "attention") == (a.Need.ATTENTION in algorithm(name).facts.needs)
]
everywhere = pytest.mark.parametrize(("name", "site"), PAIRS)
# Code from elsewhere sends rows as it likes.
planned = pytest.mark.parametrize(
    ("name", "site"),
    [(name, site) for name, site in PAIRS if not isinstance(algorithm(name), a.ExternalAlgorithm)],
)
every_readout = pytest.mark.parametrize("readout", ["target", "neuron"])


@pytest.mark.parametrize(("name", "site"), UNFIT)
def test_what_does_not_suit_says_why(name, site):
    method = algorithm(name)
    assert UNFIT[name, site] in (Explainer(setting(site, "target", method)).missing(method) or "")


def test_the_suite_has_found_the_algorithms():
    assert {"saliency", "ig", "deeplift", "kernel_shap", "vargrad", "random"} <= set(NODES)


@every_readout
@everywhere
def test_maps_have_the_shape_of_the_site_and_are_not_constant(name, site, readout):
    maps = expected(name, site, readout).maps
    assert maps.shape == (N, *SHAPES[site])
    assert maps.dtype == torch.float64
    if not algorithm(name).facts.control:
        assert all(len(m.unique()) > 2 for m in maps)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 7])
@every_readout
@everywhere
def test_rows_do_not_change_the_maps(name, site, readout, rows):
    method = algorithm(name)
    result = explain(setting(site, readout, method, rows=rows), method)
    close(result.maps, expected(name, site, readout).maps)


@pytest.mark.slow
@every_readout
@everywhere
def test_batch_mates_and_order_do_not_change_the_maps(name, site, readout):
    method = algorithm(name)
    maps = expected(name, site, readout).maps
    # What takes other samples in needs them all; their order is left.
    alone = [] if a.Need.SAMPLES in method.facts.needs else [[2]]
    for rows in (*alone, [4, 1, 3, 0, 2]):
        close(explain(picked(setting(site, readout, method), rows), method).maps, maps[rows])


@pytest.mark.slow
@everywhere
def test_the_seed_decides_what_is_drawn(name, site):
    method = algorithm(name)
    once, again, other = (
        explain(setting(site, "target", method, seed=seed, rows=7), method).maps for seed in (0, 0, 1)
    )
    assert torch.equal(once, again)
    assert torch.equal(once, other) != method.facts.stochastic


def rows_per_sample(method: a.Algorithm, site: str) -> tuple[int, int] | None:
    """Forward and backward rows per sample as the classes document them; None for a class that is not listed."""
    if isinstance(method, a.NoiseTunnel):
        inner = rows_per_sample(method.algorithm, site)
        return inner and (inner[0] * method.nt_samples, inner[1] * method.nt_samples)
    table: dict[type[a.Algorithm], Callable[[Any], tuple[int, int]]] = {
        a.Saliency: lambda m: (1, 1),
        a.LRP: lambda m: (1, 1),
        a.InputXGradient: lambda m: (1, 1),
        a.IntegratedGradients: lambda m: (m.n_steps, m.n_steps) if m.tol is None else (2 + 12, 12),  # 4 + 8 nodes
        a.Deconvolution: lambda m: (1, 1),
        a.DeepLift: lambda m: (2, 2),
        a.DeepLiftShap: lambda m: (6, 6),
        a.GradientShap: lambda m: (m.n_samples, m.n_samples),
        a.GuidedBackprop: lambda m: (1, 1),
        a.Occlusion: lambda m: (1 + WINDOWS[site], 0),
        a.FeatureAblation: lambda m: (1 + FEATURES[site], 0),
        a.KernelShap: lambda m: (min(2 ** FEATURES[site], m.n_samples), 0),
        a.Activation: lambda m: (1, 0),
        a.GradientXActivation: lambda m: (1, 1),
        a.InternalInfluence: lambda m: (m.n_steps, m.n_steps),
        a.Conductance: lambda m: (m.n_steps + 1, m.n_steps + 1),
        a.GuidedIG: lambda m: (m.n_steps, m.n_steps),
        a.BlurIG: lambda m: (m.n_steps + 1, m.n_steps + 1),
        a.IDGI: lambda m: (m.n_steps + 1, m.n_steps + 1),
        a.FeaturePermutation: lambda m: (1 + m.n_samples * FEATURES[site], 0),
        a.ShapleyValueSampling: lambda m: (2 + m.n_samples * (FEATURES[site] - 1), 0),
        a.ShapleyValues: lambda m: (2 ** FEATURES[site], 0),
        a.Lime: lambda m: (m.n_samples, 0),
        a.Rise: lambda m: (m.n_samples, 0),
        a.PartitionShap: lambda m: (m.max_evals, 0),
        **dict.fromkeys((a.GradCam, a.GradCamPlusPlus, a.HiResCam, a.LayerCam), lambda m: (1, 1)),
        **dict.fromkeys((a.ScoreCam, a.AblationCam), lambda m: (1 + CHANNELS[site], 0)),
        a.GuidedGradCam: lambda m: (2, 2),
        a.AttentionRollout: lambda m: (1, 0),
        a.AttentionGradientRollout: lambda m: (1, 1),
        a.Random: lambda m: (0, 0),
        a.Constant: lambda m: (0, 0),
    }
    return table[type(method)](method) if type(method) in table else None


@pytest.mark.slow
@every_readout
@planned
def test_rows_are_counted_as_documented(name, site, readout):
    method, counters = algorithm(name), expected(name, site, readout).counters
    explainer = Explainer(setting(site, readout, method))
    plan = method.plan(explainer.case(distribution=method.facts.distribution), explainer.x)
    documented = rows_per_sample(method, site)
    if isinstance(plan, Plan):
        assert counters.forward_rows == N * plan.n_points
        assert counters.backward_rows == (counters.forward_rows if method.facts.gradient else 0)
    else:
        assert documented is not None, "an adaptive plan's rows are known from its documentation only"
    assert counters.repeated_rows == 0
    if documented is not None:
        assert (counters.forward_rows, counters.backward_rows) == (N * documented[0], N * documented[1])


@pytest.mark.slow
@planned
def test_the_rows_counted_are_the_rows_sent(name, site):
    method = algorithm(name)
    made = setting(site, "target", method, rows=4)
    explainer, run = prepared(made, method)
    _fuse(made).rows.clear()
    run()
    sent, counted = sum(_fuse(made).rows), explainer.engine.counters.forward_rows
    plan = method.plan(explainer.case(distribution=method.facts.distribution), explainer.x)
    if isinstance(plan, Plan) and plan.shared is not None and explainer.subject.by_points_alone:
        assert counted / 2 < sent < counted  # one row instead of those of a point that all samples have
    elif isinstance(plan, Plan) and plan.n_points and plan.want == Want.VALUE:
        first, *others = plan.points  # of all samples; slices may have fewer points
        repeated = sum(int((point == first).all(1).sum()) for point in others)
        assert counted - repeated <= sent <= N * plan.n_points - repeated
    else:
        assert sent == counted
    assert max(_fuse(made).rows, default=0) <= 4


def _fuse(made: Request) -> Fuse:
    fuse = made.model.get_submodule("fuse")
    assert isinstance(fuse, Fuse)
    return fuse


def state(model: nn.Module) -> dict[str, Any]:
    """Everything that an explanation must leave as it was."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "modes": (torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()),
        "gradients on": torch.is_grad_enabled(),
        "hooks": {(n, k): len(getattr(m, k)) for n, m in model.named_modules() for k in kinds},
        "attributes": {n: set(vars(m)) for n, m in model.named_modules()},
        "training": {n: m.training for n, m in model.named_modules()},
        "requires_grad": {n: p.requires_grad for n, p in model.named_parameters()},
        "gradients": {n: p.grad for n, p in model.named_parameters()},
        "values": {n: t.tolist() for n, t in model.state_dict().items()},
        "classes": {n: type(m) for n, m in model.named_modules()},
    }


def _mixed(model: nn.Module) -> None:
    """Training mode but for one layer, one parameter frozen."""
    model.train()
    model.get_submodule("hidden").eval()
    next(model.parameters()).requires_grad_(False)


@pytest.mark.slow
@everywhere
def test_the_model_is_left_as_it_was(name, site):
    method = algorithm(name)
    made = setting(site, "target", method)
    _mixed(made.model)
    before = state(made.model)
    maps = explain(made, method).maps
    assert state(made.model) == before
    close(maps, expected(name, site, "target").maps)  # explained in evaluation mode nevertheless


@pytest.mark.slow
@every_readout
@everywhere
def test_the_model_is_left_as_it_was_after_an_error(name, site, readout):
    method = algorithm(name)
    made = setting(site, readout, method, rows=1)
    _mixed(made.model)
    before, fuse = state(made.model), _fuse(made)
    _, run = prepared(made, method)
    run()
    fuse.calls = 0
    run()
    if fuse.calls:
        fuse.calls, fuse.fail_at = 0, min(2, fuse.calls)
        with pytest.raises(RuntimeError, match="fuse has blown"):
            run()
        assert fuse.calls == fuse.fail_at
    assert state(made.model) == before


@pytest.mark.slow
@everywhere
def test_the_device_does_not_change_the_maps(name, site):
    """On a machine without a GPU this is the CPU once more, with an explainer of its own."""
    method, device = algorithm(name), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    made = setting(site, "target", method)
    moved = replace(made, model=made.model.to(device), inputs=made.inputs.to(device))  # the rest follows
    maps = explain(moved, method).maps
    assert maps.device.type == device.type
    torch.testing.assert_close(maps.cpu(), expected(name, site, "target").maps, rtol=1e-8, atol=1e-8)


@pytest.mark.slow
@everywhere
def test_the_samples_are_left_as_they_were(name, site):
    method = algorithm(name)
    made = setting(site, "target", method)
    tensors = [made.inputs, made.baselines, made.features, *made.extra]
    before = [t.clone() for t in tensors if isinstance(t, Tensor)]
    explain(made, method)
    assert all(torch.equal(t, b) for t, b in zip(tensors, before, strict=True))
    assert not made.inputs.requires_grad


@pytest.mark.slow
@everywhere
def test_global_random_states_are_neither_read_nor_changed(name, site):
    method = algorithm(name)
    made = setting(site, "target", method)
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002  (the global state is what is tested)
    random.seed(11)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    maps = explain(made, method).maps
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]  # noqa: NPY002
    close(maps, expected(name, site, "target").maps)


@every_readout
@pytest.mark.parametrize(("name", "site"), [(name, site) for name, site in PAIRS if algorithm(name).facts.complete])
def test_complete_maps_sum_to_the_difference_from_the_baseline(name, site, readout):
    method = algorithm(name, quick=False)
    made = setting(site, readout, method)
    x, x0 = made.inputs, made.baselines
    assert isinstance(x, Tensor)
    assert isinstance(x0, Tensor)
    if isinstance(method, OnFeatures) and site == "input":  # what belongs to no feature stays as it is
        assert isinstance(made.features, Tensor)
        x0 = torch.where(made.features < 0, x, x0)
    rows = x0.split(1) if method.facts.distribution else [x0]
    difference = _explained(made, x) - sum(_explained(made, row.expand_as(x)) for row in rows) / len(rows)
    assert difference.abs().min() > 1e-3
    explainer = Explainer(made)
    case = explainer.case(distribution=method.facts.distribution)
    total = method.density(case, explainer.attribute(method)).sum(1)
    tolerance = getattr(method, "tol", None) or 1e-9
    torch.testing.assert_close(total, difference, rtol=1e-6, atol=tolerance)


def _explained(made: Request, x: Tensor) -> Tensor:
    """The explained scalar, by hand."""
    seen: list[Tensor] = []
    with torch.no_grad():
        handle = made.model.get_submodule("hidden").register_forward_hook(lambda _m, _a, out: seen.append(out))
        output = made.model(x, *made.extra)
        handle.remove()
    if made.neuron is not None:
        return seen[0][:, 2]
    return output[torch.arange(N), torch.tensor(TARGET)]


@pytest.mark.slow
@every_readout
@planned
def test_running_out_of_memory_costs_repeats_and_nothing_else(name, site, readout):
    method = algorithm(name)
    made = setting(site, readout, method)
    _fuse(made).max_rows = 2
    result = explain(made, method)
    wanted = expected(name, site, readout)
    close(result.maps, wanted.maps)
    assert result.counters.forward_rows == wanted.counters.forward_rows
    assert result.counters.backward_rows == wanted.counters.backward_rows
    assert (result.counters.repeated_rows > 0) == (wanted.counters.forward_rows > 0)


@pytest.mark.slow
@planned
def test_one_row_that_does_not_fit_is_an_error(name, site):
    method = algorithm(name)
    made = setting(site, "target", method)
    _, run = prepared(made, method)
    _fuse(made).max_rows = 0
    if expected(name, site, "target").counters.forward_rows == 0:
        run()
        return
    with pytest.raises(OutOfMemory, match="single example"):
        run()
