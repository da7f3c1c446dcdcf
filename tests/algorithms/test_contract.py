"""What every algorithm owes, whatever it computes. A new file in conf/algorithm joins by existing.

Each algorithm meets three sites (the input, an embedding of integer ids, a convolution) and two readouts (a target
per sample, a neuron), in float64; those that need attention meet an embedding with attention behind it.
"""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.contract import (
    NODES,
    PAIRS,
    SHAPES,
    UNFIT,
    N,
    algorithm,
    close,
    every_readout,
    everywhere,
    expected,
    explain,
    explained,
    fuse_of,
    picked,
    prepared,
    setting,
)
from xbench import algorithms as a
from xbench.algorithms.parts.on_features import OnFeatures
from xbench.explain.explainer import Explainer


@pytest.mark.parametrize(("name", "site"), UNFIT)
def test_what_does_not_suit_says_why(name, site):
    method = algorithm(name)
    assert UNFIT[name, site] in (Explainer(setting(site, "target", method)).missing(method) or "")


def test_the_suite_has_found_the_algorithms():
    assert {"saliency", "ig", "deeplift", "kernel_shap", "vargrad", "random"} <= set(NODES)


@pytest.mark.slow
@every_readout
@everywhere
def test_maps_have_the_shape_of_the_site_and_are_not_constant(name, site, readout):
    maps = expected(name, site, readout).maps
    assert maps.shape == (N, *SHAPES[site])
    assert maps.dtype == torch.float64
    if not algorithm(name).facts.control:
        assert all(len(m.unique()) > 2 for m in maps)


@pytest.mark.slow
@pytest.mark.parametrize(("readout", "rows"), [("target", 1), ("neuron", 7)])
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
    before, fuse = state(made.model), fuse_of(made)
    _, run = prepared(made, method)
    said, most = "", 0
    for fail_at in (2, 1):  # at the first evaluation where there is no second one
        fuse.calls, fuse.fail_at = 0, fail_at
        try:
            run()
        except RuntimeError as error:
            said = str(error)
            break
        most = max(most, fuse.calls)
    assert "fuse has blown" in said or most == 0  # a control evaluates nothing
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


@pytest.mark.slow
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
    difference = explained(made, x) - sum(explained(made, row.expand_as(x)) for row in rows) / len(rows)
    assert difference.abs().min() > 1e-3
    explainer = Explainer(made)
    case = explainer.case(distribution=method.facts.distribution)
    total = method.density(case, explainer.attribute(method)).sum(1)
    tolerance = getattr(method, "tol", None) or 1e-9
    torch.testing.assert_close(total, difference, rtol=1e-6, atol=tolerance)
