"""Plans that depend on earlier answers, that read or enter elsewhere, or that concern some of the samples only."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from tests.models_for_tests import ConvNet, numbers, weights
from xbench import algorithms as a
from xbench import attribute_with_notes
from xbench.algorithms.base import Algorithm, Facts
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Answer, Noted, Plan, Steps, Want
from xbench.core.sites import Site
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

N = 5
TARGET = [0, 2, 1, 1, 0]


def setting(**changes: object) -> Request:
    return replace(Request(weights(ConvNet()), numbers(N, 1, 6, 6), target=TARGET), **changes)


@dataclass(frozen=True)
class Climb(Algorithm):
    """Goes along the gradient, each sample until its value has risen by `rise`; reports the steps."""

    rise: float = 1.0
    most: int = 30

    @property
    def facts(self) -> Facts:
        return Facts("Climb", "nobody", needs=(Need.GRADIENT,))

    def plan(self, case: Case, x: Tensor) -> Steps:
        moved, steps = x.clone(), torch.zeros(len(x))
        start = yield Plan([x], 1, Want.VALUE, lambda answers: next(answers).value)
        going = torch.arange(len(x))
        for _ in range(self.most):
            result = yield Plan([moved[going]], 1, Want.GRADIENT, _value_and_slope, samples=going)
            moved[going] += 0.5 * result[:, 1:]
            steps[going] += 1
            going = going[result[:, 0] < start[going] + self.rise]
            if not len(going):
                break
        return Noted(moved - x, {"steps": steps})


def _value_and_slope(answers: Iterator[Answer]) -> Tensor:
    answer = next(answers)
    return torch.cat([answer.value[:, None], answer.slope], 1)


def by_hand(x: Tensor, target: int, rise: float) -> tuple[Tensor, int]:
    model, point = setting().model, x.clone()
    with torch.no_grad():
        start = model(x[None])[0, target]
    steps, value = 0, start
    while value < start + rise and steps < 30:
        steps += 1
        leaf = point.clone().requires_grad_()
        value = model(leaf[None])[0, target]
        point = point + 0.5 * torch.autograd.grad(value, leaf)[0].detach()
    return point - x, steps


@pytest.mark.parametrize("changes", [{}, {"rows": 1}, {"rows": 3}, {"memory": 60_000}])
def test_samples_go_on_alone_until_they_are_done(changes):
    explainer = Explainer(setting(**changes))
    maps = explainer.attribute(Climb())
    x = explainer.setting.inputs
    wanted = [by_hand(x[i], TARGET[i], 1.0) for i in range(N)]
    torch.testing.assert_close(maps, torch.stack([m.flatten() for m, _ in wanted]))
    counters, steps = explainer.engine.counters, [step for _, step in wanted]
    assert len(set(steps)) > 1
    assert counters.notes["steps"].tolist() == steps
    assert (counters.forward_rows, counters.backward_rows) == (N + sum(steps), sum(steps))


def test_progress_counts_up_to_what_was_done():
    seen: list[tuple[int, int]] = []
    explainer = Explainer(setting(progress=lambda done, of: seen.append((done, of))))
    explainer.attribute(Climb())
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert all(done <= of for done, of in seen)
    assert seen[-1] == (explainer.engine.counters.forward_rows,) * 2


def test_notes_reach_the_caller():
    made = setting()
    maps, notes = attribute_with_notes(made.model, made.inputs, Climb(), target=TARGET)
    assert maps.shape == made.inputs.shape
    assert notes["steps"].shape == (N,)


def test_noise_around_an_adaptive_algorithm():
    """The mean over noisy copies, each explained by an adaptive plan of its own."""
    tunnel = a.NoiseTunnel(Climb(), nt_samples=3, stdevs=0.1)
    explainer = Explainer(setting())
    case, x = explainer.case(distribution=False), explainer.x
    copies = [x + 0.1 * case.draws.normal("tunnel", draw, x) for draw in range(3)]
    maps = [Explainer(setting(inputs=copy.reshape(N, 1, 6, 6))).attribute(Climb()) for copy in copies]
    torch.testing.assert_close(explainer.attribute(tunnel), sum(maps) / 3)


@dataclass(frozen=True)
class Swap(Algorithm):
    """The change of the output when the hidden layer gets the values of the sample's mirror image."""

    @property
    def facts(self) -> Facts:
        return Facts("Swap", "nobody", needs=(Need.GRADIENT,), reads_elsewhere=True)

    def plan(self, case: Case, x: Tensor) -> Steps:
        site = Site("hidden")
        hidden = yield Plan([-x], 1, Want.ACTIVATION, lambda answers: next(answers).level, read=site)
        assert hidden.shape == (len(x), case.places.layout(site).width) == (len(x), 5)
        points = [torch.cat([x, hidden], 1)]
        swapped = yield Plan(points, 1, Want.GRADIENT, _value_and_slope, second=site, read=Site("tanh"))
        assert swapped.shape == (len(x), 1 + 5)
        return swapped[:, :1].expand_as(x)


@pytest.mark.parametrize("rows", [1, 3, None])
def test_points_can_enter_at_a_second_place(rows):
    explainer = Explainer(setting(rows=rows))
    maps = explainer.attribute(Swap())
    model, x = explainer.setting.model, explainer.setting.inputs
    with torch.no_grad():
        wanted = model(-x)[torch.arange(N), TARGET]  # all that the output sees is the hidden layer
    torch.testing.assert_close(maps, wanted[:, None].expand(N, 36))


@pytest.mark.parametrize(("neuron", "weight"), [(("hidden", 2), [2]), (("hidden", slice(1, 4)), [1, 2, 3])])
def test_the_gradient_through_a_neuron_is_its_share(neuron, weight):
    """df/dy_k dy_k/dx, and all shares together are the whole gradient: nothing passes by this layer."""

    @dataclass(frozen=True)
    class Through(Algorithm):
        @property
        def facts(self) -> Facts:
            return Facts("Through", "nobody", needs=(Need.GRADIENT,))

        def plan(self, case: Case, x: Tensor) -> Plan:
            assert case.neuron
            return Plan([x], 1, Want.GRADIENT | Want.THROUGH, _value_and_slope)

    made = setting(neuron=neuron)
    explainer = Explainer(made)
    result = explainer.run(Through().plan, explainer.case(distribution=False), explainer.x)  # no map: one column more
    leaf = made.inputs.clone().requires_grad_()
    hidden: list[Tensor] = []
    handle = made.model.hidden.register_forward_hook(lambda _m, _a, out: hidden.append(out))
    value = made.model(leaf)[torch.arange(N), TARGET]
    handle.remove()
    slope = torch.autograd.grad(value.sum(), hidden[0], retain_graph=True)[0]
    chosen = (slope[:, weight].detach() * hidden[0][:, weight]).sum()
    torch.testing.assert_close(result[:, 0], value.detach())
    torch.testing.assert_close(result[:, 1:], torch.autograd.grad(chosen, leaf)[0].flatten(1))


def test_another_sample_stands_in_whatever_the_order_and_the_slices():
    x = numbers(N, 1, 6, 6)
    ids = tuple("abcde")
    explainer = Explainer(setting(ids=ids))
    case = explainer.case(distribution=False)
    drawn = torch.stack(list(case.donors("mates", 0, 40)))
    own = x.flatten(1)
    for i in range(N):
        found = {next(j for j in range(N) if torch.equal(row, own[j])) for row in drawn[:, i]}
        assert found == set(range(N)) - {i}
    torch.testing.assert_close(next(case.part(slice(2, 4)).donors("mates", 0, 1)), drawn[0, 2:4])
    order = [3, 0, 4, 2, 1]
    mixed = Explainer(setting(inputs=x[order], ids=tuple(ids[i] for i in order), target=[TARGET[i] for i in order]))
    torch.testing.assert_close(next(mixed.case(distribution=False).donors("mates", 0, 1)), drawn[0, order])
