"""The engine on plans made for the test: order, laziness, slicing, groups, failures, progress, what is remembered."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.models_for_tests import numbers
from xbench.core.case import Case
from xbench.core.plan import Answer, Plan, Want
from xbench.engine import Counters, NonFiniteError, OutOfMemory
from xbench.engine.passes import _LEARNT
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

D = 3


class Watched(nn.Module):
    """f(x) = sum of x^2. Remembers the batches it saw; `fail` is asked before each one."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Tensor] = []
        self.fail: Any = lambda rows: None

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(x.detach().clone())
        self.fail(len(x))
        return x.square().sum(1)

    @property
    def rows(self) -> list[int]:
        return [len(batch) for batch in self.batches]


@dataclass
class Bench:
    """A watched model, its explainer and a plan that returns every answer."""

    model: Watched
    explainer: Explainer

    def run(self, plan: Any) -> Tensor:
        return self.explainer.run(plan, self.explainer.case(distribution=False), self.explainer.x)

    @property
    def counters(self) -> Counters:
        return self.explainer.engine.counters


def bench(n: int, **options: Any) -> Bench:
    model = Watched()
    return Bench(model, Explainer(Request(model, numbers(n, D), **options)))


def spread(k: int, x: Tensor) -> list[Tensor]:
    """k points per sample, all different."""
    return [x + 10 * i for i in range(k)]


def values_and_gradients(k: int, group: int = 1) -> Any:
    """A plan of k points: their values, then the sum of their gradients' columns, (n, 2k)."""

    def reduce(answers: Iterator[Answer]) -> Tensor:
        kept = list(answers)
        return torch.stack([a.value for a in kept] + [a.slope.sum(1) for a in kept], 1)

    return lambda case, x: Plan(spread(k, x), k, Want.GRADIENT, reduce, group=group)


@pytest.mark.parametrize("group", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7, 64, None])
@pytest.mark.parametrize("n", [1, 4, 11])
def test_every_answer_belongs_to_its_point_and_sample(n, rows, group):
    k = 6
    found = bench(n, rows=rows).run(values_and_gradients(k, group))
    points = torch.stack(spread(k, numbers(n, D)), 1)
    wanted = torch.cat([points.square().sum(2), 2 * points.sum(2)], 1)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 3, 5, 64])
def test_no_batch_is_larger_than_the_rows_allowed(rows):
    made = bench(7, rows=rows)
    made.run(values_and_gradients(6))
    assert max(made.model.rows) <= rows
    assert sum(made.model.rows) == 42


@pytest.mark.parametrize(("n", "rows"), [(5, 4), (5, 16), (3, 64), (1, 4)])
def test_members_of_a_group_pass_together_in_two_halves(n, rows):
    """What a rule that compares inputs with references relies on."""
    made = bench(n, rows=rows)
    made.run(values_and_gradients(6, group=2))
    for batch in made.model.batches:
        first, second = batch.chunk(2)
        torch.testing.assert_close(second, first + 10)


def test_pieces_of_a_wide_point_are_of_equal_size():
    made = bench(10, rows=4)
    explainer = made.explainer
    explainer.engine._passes.limits(values_and_gradients(1)(None, explainer.x)).fixed = None  # slices of all samples
    made.run(values_and_gradients(1))
    assert made.model.rows == [4, 3, 3]


@pytest.mark.parametrize("rows", [4, 8])
def test_points_are_made_when_they_are_needed(rows):
    made, n, k = bench(2, rows=rows), 2, 20
    ahead: list[int] = []

    def plan(case: Case, x: Tensor) -> Plan:
        count = 0

        def points() -> Iterator[Tensor]:
            nonlocal count
            for point in spread(k, x):
                count += 1
                yield point

        def reduce(answers: Iterator[Answer]) -> Tensor:
            total = torch.zeros(len(x), 1, dtype=x.dtype)
            for used, answer in enumerate(answers):
                ahead.append(count - used)
                total += answer.value[:, None]
            return total

        return Plan(points(), k, Want.VALUE, reduce)

    made.run(plan)
    assert len(ahead) == k
    assert max(ahead) == rows // n


def test_a_reduction_that_stops_early_costs_only_what_it_asked_for():
    made = bench(2, rows=2)

    def plan(case: Case, x: Tensor) -> Plan:
        return Plan(iter(spread(50, x)), 50, Want.VALUE, lambda answers: [next(answers) for _ in range(3)][2].value)

    found = made.run(plan)
    torch.testing.assert_close(found, (numbers(2, D) + 20).square().sum(1))
    assert made.counters.forward_rows == 6


def test_samples_are_sliced_with_their_own_baselines_features_and_names():
    n = 7
    baselines, features = numbers(n, D, seed=2), torch.arange(n * D).reshape(n, D) % 4
    made = bench(n, rows=3, baselines=baselines, features=features, ids=tuple("abcdefg"))
    whole = made.explainer.case(distribution=False)
    seen: list[Case] = []

    def plan(case: Case, x: Tensor) -> Plan:
        seen.append(case)
        return Plan([x], 1, Want.VALUE, lambda answers: next(answers).value)

    made.run(plan)
    parts = [case for case in seen if len(case) <= 3]
    assert [case.span for case in parts] == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert torch.equal(torch.cat([case.baselines for case in parts]), baselines)
    assert torch.equal(torch.cat([case.features for case in parts]), whole.features)
    assert sum((case.draws.ids for case in parts), ()) == tuple("abcdefg")


def test_a_distribution_of_baselines_is_never_sliced():
    n = 5
    made = bench(n, rows=2, baselines=numbers(n, D, seed=2))  # as many as samples, by chance
    case = made.explainer.case(distribution=True)
    assert len(case.part(slice(1, 3)).baselines) == n
    assert len(made.explainer.case(distribution=False).part(slice(1, 3)).baselines) == 2


def test_a_slice_of_a_slice_keeps_its_place():
    case = bench(9).explainer.case(distribution=False)
    assert case.part(slice(2, 8)).part(slice(3, 5)).span == slice(5, 7)
    assert case.part(slice(2, 8)).part(slice(3, 5)).draws.ids == ("5", "6")


# Memory


def test_the_budget_bounds_the_rows():
    """A budget for about five rows: the first evaluation measures, the rest obeys."""
    generous = bench(40)
    generous.run(values_and_gradients(1))
    per_row = generous.counters.peak_bytes / max(generous.model.rows)
    tight = bench(40, memory=int(per_row * 5.5))
    found = tight.run(values_and_gradients(4))
    assert max(tight.model.rows) <= 5 < max(generous.model.rows)
    torch.testing.assert_close(found, bench(40, rows=64).run(values_and_gradients(4)))


def test_out_of_memory_halves_the_rows_until_they_fit():
    made = bench(20, rows=20)

    def fail(rows: int) -> None:
        if rows > 6:
            raise torch.cuda.OutOfMemoryError(f"no room for {rows} rows")

    made.model.fail = fail
    found = made.run(values_and_gradients(2))
    torch.testing.assert_close(found, bench(20).run(values_and_gradients(2)))
    assert made.model.rows[:3] == [20, 10, 5]
    assert max(made.model.rows[2:]) == 5
    assert made.counters.forward_rows == made.counters.backward_rows == 40
    assert made.counters.repeated_rows == 30


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_every_kind_of_memory_error_is_recovered_from(error):
    made = bench(8, rows=8)

    def fail(rows: int) -> None:
        if rows > 2:
            raise error

    made.model.fail = fail
    made.run(values_and_gradients(1))
    assert made.counters.repeated_rows == 8 + 4


def test_an_allocation_that_fails_is_recovered_from():
    """The CPU allocator's own error, whatever its words are today."""
    made = bench(8, rows=8)
    made.model.fail = lambda rows: torch.empty(1 << 60, dtype=torch.uint8) if rows > 4 else None
    made.run(values_and_gradients(1))
    assert made.counters.repeated_rows == 8


def test_one_row_that_does_not_fit_is_an_error_with_its_cause():
    made = bench(4)

    def fail(rows: int) -> None:
        raise torch.cuda.OutOfMemoryError("tried to allocate 9 GiB")

    made.model.fail = fail
    with pytest.raises(OutOfMemory, match="single example in flight: tried to allocate 9 GiB"):
        made.run(values_and_gradients(1))
    assert made.model.rows[-1] == 1


def test_a_repeat_sees_the_same_points_although_the_model_writes_into_its_input():
    class Writes(Watched):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x.mul_(2))
            return x.square().sum(1)

    model = Writes()
    explainer = Explainer(Request(model, numbers(6, D), rows=6))

    def fail(rows: int) -> None:
        if rows > 2:
            raise torch.cuda.OutOfMemoryError

    model.fail = fail
    case = explainer.case(distribution=False)
    found = explainer.run(
        lambda _case, x: Plan([x], 1, Want.VALUE, lambda answers: next(answers).value), case, explainer.x
    )
    torch.testing.assert_close(found, (2 * numbers(6, D)).square().sum(1))


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("not today"), KeyboardInterrupt()])
def test_other_errors_pass_unchanged(error):
    made = bench(4)

    def fail(rows: int) -> None:
        raise error

    made.model.fail = fail
    with pytest.raises(type(error)) as caught:
        made.run(values_and_gradients(1))
    assert caught.value is error
    assert len(made.model.rows) == 1
    assert made.counters == Counters()


def test_the_peak_that_is_counted_is_that_of_one_evaluation():
    """Known by hand: the input's copy, its square and the sum live at once; the points themselves are the data."""
    made = bench(8, rows=8)
    made.run(lambda case, x: Plan(spread(3, x), 3, Want.VALUE, lambda answers: sum(a.value for a in answers)))
    # Watched keeps a copy of the batch besides: clone (for the model), clone (its own), square, sum.
    assert made.counters.peak_bytes == 8 * 8 * (D + D + D + 1)


# Answers that are no numbers


@pytest.mark.parametrize("rows", [1, 4, 64])
def test_samples_without_a_finite_answer_are_named_by_their_position(rows):
    x = numbers(9, D)
    x[4, 0] = x[7, 0] = torch.nan
    explainer = Explainer(Request(Watched(), x, rows=rows))
    case = explainer.case(distribution=False)
    wanted = {1: "1 sample.s., at position 4", 4: "2 sample.s., at position 4, 7", 64: "2 sample.s., at position 4, 7"}
    with pytest.raises(NonFiniteError, match=wanted[rows]):
        explainer.run(values_and_gradients(1), case, explainer.x)


def test_many_such_samples_are_counted_and_five_are_named():
    explainer = Explainer(Request(Watched(), numbers(9, D) * torch.inf, rows=64))
    case = explainer.case(distribution=False)
    with pytest.raises(NonFiniteError, match=r"9 sample\(s\), at position 0, 1, 2, 3, 4, \.\.\.$"):
        explainer.run(values_and_gradients(1), case, explainer.x)


# Progress and memory of the engine itself


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_progress_counts_the_rows_of_the_run_up_to_all(rows):
    told: list[tuple[int, int]] = []
    made = bench(7, rows=rows, progress=lambda done, of: told.append((done, of)))
    for _ in range(2):
        told.clear()
        made.run(values_and_gradients(6))
        assert [done for done, _ in told] == sorted({done for done, _ in told})
        assert told[-1] == (42, 42)
        assert {of for _, of in told} == {42}


def test_what_was_learnt_stays_with_the_model_and_the_kind_of_evaluation():
    model, x = Watched(), numbers(4, D)

    def limits(want: Want, **options: Any) -> Any:
        explainer = Explainer(Request(model, x, **options))
        return explainer.engine._passes.limits(Plan([], 0, want, lambda _: x))

    base = limits(Want.VALUE)
    assert limits(Want.VALUE, memory=None).budget  # free memory, which changes from call to call
    assert limits(Want.GRADIENT) is not base
    fixed = limits(Want.VALUE, memory=10**6)
    assert limits(Want.VALUE, memory=10**6) is fixed
    assert limits(Want.GRADIENT, memory=10**6) is not fixed
    assert limits(Want.VALUE, memory=10**6, rows=3) is not fixed


def test_nothing_is_kept_of_a_model_that_is_gone():
    made = bench(4)
    made.run(values_and_gradients(1))
    assert made.model in _LEARNT
    model = weakref.ref(made.model)
    del made
    gc.collect()
    assert model() is None


def test_activations_alone_need_no_gradient():
    """At a layer, for a model without gradients."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sign = Sign()

        def forward(self, x: Tensor) -> Tensor:
            return self.sign(x).sum(1)

    class Sign(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sign(x)

    x = numbers(5, D)
    explainer = Explainer(Request(Model(), x, layer="sign", rows=2))
    assert torch.equal(explainer.x, torch.sign(x))
    subject = replace(explainer.subject, inject=None, read=explainer.subject.inject)
    answer = subject.evaluate(x, torch.arange(5), Want.ACTIVATION)
    assert torch.equal(answer.level, torch.sign(x))
    assert answer.gradient is None
    assert torch.equal(answer.value, torch.sign(x).sum(1))
