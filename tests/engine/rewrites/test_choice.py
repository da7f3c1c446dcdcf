"""A rewritten model gives the same numbers, or is not used and says why; layers that are looked at stay themselves."""

from __future__ import annotations

import itertools
import re
import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.contract import NODES, algorithm
from tests.models_for_tests import numbers, weights
from xbench import Speed, attribute
from xbench.algorithms import (
    Activation,
    Algorithm,
    Conductance,
    DeepLift,
    IntegratedGradients,
    Saliency,
)
from xbench.core.needs import NotApplicable
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request
from xbench.models.text_cnn import TextCNN

N = 4
ALWAYS, NEVER = Speed(rewrites="always"), Speed(rewrites=False)
X = numbers(N, 2, 6, 6)
IDS = torch.arange(N * 6).reshape(N, 6) % 12


class Normed(nn.Module):
    """Convolutions with batch-norms, a skip connection past the second, a linear layer with a batch-norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        self.relu = nn.ReLU()
        self.late = nn.Conv2d(4, 3, 3)
        self.hidden, self.norm = nn.Linear(48, 6), nn.BatchNorm1d(6, affine=False)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        early = self.stem(x)
        hidden = self.relu(self.body(early) + early)
        return self.head(torch.tanh(self.norm(self.hidden(self.late(hidden).flatten(1)))))


def normed() -> Normed:
    model = weights(Normed())
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm1d)):
            channels = module.num_features
            module.running_mean, module.running_var = numbers(channels, seed=3), numbers(channels, seed=4).exp()
    assert isinstance(model, Normed)
    return model.eval()


def explainer(model: nn.Module, speed: Speed, **changes: Any) -> Explainer:
    return Explainer(replace(Request(model, X, target=[0, 1, 2, 1]), speed=speed, **changes))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Kernel SHAP. n_samples=9 evaluations leave the values of:UserWarning")
@pytest.mark.parametrize("layer", [None, "stem", "body.1:input", "body.0", "late:input"])
@pytest.mark.parametrize("name", sorted(NODES))
def test_no_algorithm_s_maps_change(name: str, layer: str | None) -> None:
    made = algorithm(name)
    plain, fast = (explainer(normed(), speed, layer=layer) for speed in (NEVER, ALWAYS))
    try:
        expected = plain.attribute(made)
    except (NotApplicable, ValueError) as error:  # what does not apply here does not become applicable
        with pytest.raises(type(error), match=re.escape(str(error))):
            fast.attribute(made)
        return
    torch.testing.assert_close(fast.attribute(made), expected, rtol=1e-9, atol=1e-11)


def used(model: nn.Module, method: Algorithm, speed: Speed = ALWAYS, **changes: Any) -> dict[str, str]:
    made = explainer(model, speed, **changes)
    made.attribute(method)
    return made.engine.counters.rewrites


def test_batch_norms_are_folded_and_the_cell_says_so() -> None:
    assert used(normed(), Saliency())["folded"] == "used"
    assert used(normed(), DeepLift())["folded"] == "used"  # two affine steps are one to it
    assert "folded" not in used(normed(), algorithm("lrp"))  # relevance depends on where a step ends
    assert "folded" not in used(normed(), Saliency(), NEVER)


def test_the_user_s_model_stays_as_it_is_and_a_change_of_it_is_seen() -> None:
    model = normed()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = attribute(model, X, Saliency(abs=False), target=0, speed=ALWAYS)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    with torch.no_grad():
        model.stem[0].weight.mul_(2)
    second = attribute(model, X, Saliency(abs=False), target=0, speed=ALWAYS)
    expected = attribute(model, X, Saliency(abs=False), target=0, speed=NEVER)
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    assert not torch.allclose(first, second)
    torch.testing.assert_close(second, expected)


class Reads(Normed):
    """Looks at its own batch-norm, which a folded model no longer has."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.body[1].weight.sum()


class Differs(Normed):
    """Gives other numbers where its batch-norm is gone."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (2 if isinstance(self.body[1], nn.Identity) else 1)


@pytest.mark.parametrize(("kind", "note"), [(Reads, "dropped: AttributeError"), (Differs, "dropped: results differ")])
def test_a_rewrite_that_changes_outputs_is_dropped_with_a_note(kind: type[Normed], note: str) -> None:
    torch.manual_seed(0)
    model = kind().double().eval()
    assert used(model, Saliency())["folded"].startswith(note)
    exact = attribute(model, X, IntegratedGradients(5), target=0, speed=NEVER)
    torch.testing.assert_close(attribute(model, X, IntegratedGradients(5), target=0, speed=ALWAYS), exact)


class Switches(Normed):
    """Gives other gradients, and the same outputs, where its batch-norm is gone: in so many elements, by so much."""

    def __init__(self, elements: int, by: float) -> None:
        super().__init__()
        self.elements, self.by = elements, by

    def forward(self, x: Tensor) -> Tensor:
        some = x.flatten(1)[:, : self.elements]
        other = self.by * (some - some.detach()).sum(1, keepdim=True)
        return super().forward(x) + (other if isinstance(self.body[1], nn.Identity) else 0)


@pytest.mark.parametrize(
    ("elements", "by", "note"),
    [
        (1, 1e-6, "used"),  # a unit at its kink
        (1, 1e-1, "dropped: results differ"),  # more than that
        (72, 1e-6, "dropped: results differ"),  # everywhere: no kink
    ],
)
def test_gradients_may_differ_where_a_unit_switches_at_its_kink(elements: int, by: float, note: str) -> None:
    model = weights(Switches(elements, by)).double().eval()
    scale = float(attribute(model, X, Saliency(), target=0, speed=NEVER).norm())  # type: ignore[union-attr]
    model.by = by * scale
    assert used(model, Saliency())["folded"].startswith(note)


def test_exact_leaves_out_what_switches_a_unit_in_any_sample_tried() -> None:
    model = weights(Switches(1, 1e-6)).double().eval()
    model.by = 1e-6 * float(attribute(model, X, Saliency(), target=0, speed=NEVER).norm())  # type: ignore[union-attr]
    assert used(model, IntegratedGradients(6), Speed())["folded"] == "used"
    assert used(model, IntegratedGradients(6), Speed(rewrites="exact"))["folded"].startswith("dropped: results differ")
    assert used(normed(), IntegratedGradients(6), Speed(rewrites="exact"))["folded"] == "used"


@pytest.mark.parametrize("pace", [0.0, 100.0])
def test_neither_the_clock_nor_an_earlier_call_decides(pace: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: pace * next(now))
    model = normed()
    assert used(model, Saliency(), Speed()) == {}  # fewer rows than a trial is worth
    assert used(model, IntegratedGradients(6), Speed()) == {"folded": "used"}
    assert used(model, Saliency(), Speed()) == {}


def test_a_trial_takes_the_first_samples_before_any_row_of_the_plan() -> None:
    model, many, seen = normed().float(), numbers(20, 2, 6, 6, seed=7).float(), list[Tensor]()
    made = explainer(model, ALWAYS, inputs=many, target=0, rows=20)
    with model.stem[0].register_forward_pre_hook(lambda _module, args: seen.append(args[0].detach().clone())):
        made.attribute(IntegratedGradients(4))
    assert [len(batch) for batch in seen] == [4, 4, 4, 4, *[20] * 4]  # as it is, in channels-last order, then the plan
    assert torch.equal(torch.cat(seen[:2]), many[:8])
    assert made.engine.counters.rewrites["folded"] == "dropped: NoTwin: the model has hooks"


def test_the_front_is_left_out_where_points_enter_behind_it() -> None:
    notes = used(normed(), IntegratedGradients(6), layer="late:input")
    assert notes["front left out"] == "used"
    # A skip connection passes the layer: what lies before it still matters.
    notes = used(normed(), IntegratedGradients(6), layer="body.1")
    assert notes["front left out"].startswith("dropped")
    assert "front left out" not in used(normed(), IntegratedGradients(6))
    assert "front left out" not in used(normed(), Conductance(), read="late")
    assert "front left out" not in used(weights(TextCNN(12, 3)), Saliency(), inputs=IDS, layer="embedding")  # a lookup


def test_little_work_is_done_without_trials_unless_always() -> None:
    assert used(normed(), Activation(), Speed(), layer=None, read="late") == {}
    assert "folded" not in used(normed(), Saliency(), Speed())


def test_bf16_is_near_and_not_under_a_backward_rule() -> None:
    model = normed().float()
    x = X.float()
    exact = attribute(model, x, Saliency(), target=0)
    rounded = attribute(model, x, Saliency(), target=0, speed=Speed(precision="bf16"))
    assert isinstance(exact, Tensor)
    assert isinstance(rounded, Tensor)
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).abs().max()) < 0.05 * float(exact.abs().max())
    torch.testing.assert_close(
        attribute(model, x, DeepLift(), target=0, speed=Speed(precision="bf16")),
        attribute(model, x, DeepLift(), target=0),
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"precision": "fp16"}, "precision must be fp32 or bf16, got 'fp16'"),
        ({"compile": "fast"}, "compile must be null or a mode of torch.compile"),
        ({"rewrites": "never"}, "rewrites must be true, false, exact or always"),
    ],
)
def test_what_is_no_setting_is_named(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Speed(**arguments)
