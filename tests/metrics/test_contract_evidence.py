"""What every metric owes of its evidence: shared where it is equal, gathered once, told apart by its identity."""

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.metrics.contract import (
    PROBABILITIES,
    N,
    names,
    parameterised,
    samples,
    score,
    setting_of,
)
from tests.metrics.toys import known
from xbench.algorithms import (
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    Saliency,
)
from xbench.config.compose import component
from xbench.config.nodes import identity
from xbench.engine.speed import Speed
from xbench.explain.evidence import gather
from xbench.explain.explainer import Explainer
from xbench.explain.explanation import Explanation
from xbench.explain.request import Request
from xbench.explain.score import score_maps
from xbench.metrics import Infidelity, Metric, Ranked
from xbench.metrics.robustness.reexplained import NearbyMetric


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
        score(recorder, samples(), metric, algorithm, rows=5, **setting_of(metric, list(range(N))))
        seen.append(torch.cat(recorder.seen))
    assert (len(seen[0]) > N) == bool(metric.evidence)  # a metric of the map alone sends nothing
    ranked = any(isinstance(each, Ranked) for each in metric.evidence)
    assert (len(seen[0]) == len(seen[1]) and torch.equal(*seen)) != ranked


@pytest.mark.slow
def test_evidence_gathered_before_serves_as_if_gathered_now(metric: Metric, model: nn.Module):
    recorder = known(Recorder(model))
    output = "probability" if metric.main in PROBABILITIES else "logit"
    setting = setting_of(metric, list(range(N)), rows=4, output=output)
    explainer = Explainer(Request(recorder, samples(), speed=Speed(rewrites=False), **setting))
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
    assert identity(parameterised("deletion_auc").evidence[0]) == identity(parameterised("pixel_flipping").evidence[0])
    assert identity(parameterised("sensitivity_max").evidence[0]) == identity(
        parameterised("sensitivity_avg").evidence[0]
    )
    every = [component("metric", name) for name in names()]
    assert len({metric.evidence[0] for metric in every if isinstance(metric, NearbyMetric)}) == 1
    assert identity(parameterised("infidelity").evidence[0]) != identity(Infidelity(5).evidence[0])
