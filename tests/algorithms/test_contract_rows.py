"""Every algorithm sends the rows that it counts and documents, and survives want of memory."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.algorithms.contract import (
    CHANNELS,
    FEATURES,
    WINDOWS,
    N,
    algorithm,
    close,
    every_readout,
    expected,
    explain,
    fuse_of,
    planned,
    prepared,
    setting,
)
from xbench import algorithms as a
from xbench.core.plan import Plan, Want
from xbench.engine import OutOfMemory
from xbench.explain.explainer import Explainer


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
    fuse_of(made).rows.clear()
    run()
    sent, counted = sum(fuse_of(made).rows), explainer.engine.counters.forward_rows
    plan = method.plan(explainer.case(distribution=method.facts.distribution), explainer.x)
    if isinstance(plan, Plan) and plan.common and explainer.subject.by_points_alone:
        assert counted / 2 < sent < counted  # one row instead of those of a point that all samples have
    elif isinstance(plan, Plan) and plan.n_points and plan.want == Want.VALUE:
        first, *others = plan.points  # of all samples; slices may have fewer points
        repeated = sum(int((point == first).all(1).sum()) for point in others)
        assert counted - repeated <= sent <= N * plan.n_points - repeated
    else:
        assert sent == counted
    assert max(fuse_of(made).rows, default=0) <= 4


@pytest.mark.slow
@every_readout
@planned
def test_running_out_of_memory_costs_repeats_and_nothing_else(name, site, readout):
    method = algorithm(name)
    made = setting(site, readout, method)
    fuse_of(made).max_rows = 2
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
    fuse_of(made).max_rows = 0
    if expected(name, site, "target").counters.forward_rows == 0:
        run()
        return
    with pytest.raises(OutOfMemory, match="single example"):
        run()
