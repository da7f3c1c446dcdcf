"""Points in stacks and points that all samples have: the same answers as point by point, sample by sample."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from tests.engine.test_engine import Bench, D, bench, spread
from tests.models_for_tests import numbers
from xbench.core.case import Case
from xbench.core.plan import Answer, Plan, Stack, Want

K = 6
Given = Callable[[list[Tensor]], list[Tensor | Stack]]
FORMS: dict[str, Given] = {
    "stacks": lambda points: [torch.stack(points[:4]), torch.stack(points[4:])],
    "one stack": lambda points: [torch.stack(points)],
    "a stack beside a point": lambda points: [points[0], torch.stack(points[1:])],
    "made": lambda points: [Stack(K, lambda first, end: torch.stack(points[first:end]))],
    "made, among others": lambda points: [
        points[0], Stack(3, lambda first, end: torch.stack(points[1:4][first:end])), torch.stack(points[4:]),
    ],
    "an empty stack": lambda points: [torch.stack(points)[:0], *points],
}  # fmt: skip


def told(answers: Iterator[Answer]) -> Tensor:
    kept = list(answers)
    return torch.stack([a.value for a in kept] + [a.slope.sum(1) for a in kept], 1)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("rows", [1, 5, 64])
def test_points_in_stacks_are_points(name: str, group: int, rows: int) -> None:
    def plan(case: Case, x: Tensor) -> Plan:
        return Plan(FORMS[name](spread(K, x)), K, Want.GRADIENT, told, group=group)

    alone = bench(4, rows=rows)
    wanted = alone.run(lambda case, x: Plan(spread(K, x), K, Want.GRADIENT, told, group=group))
    made = bench(4, rows=rows)
    assert torch.equal(made.run(plan), wanted)
    assert made.model.rows == alone.model.rows


def test_stacks_are_made_as_large_as_they_are_sent() -> None:
    sizes: list[int] = []

    def plan(case: Case, x: Tensor) -> Plan:
        def make(first: int, end: int) -> Tensor:
            sizes.append(end - first)
            return torch.stack(spread(20, x)[first:end])

        return Plan([Stack(20, make)], 20, Want.VALUE, lambda answers: torch.stack([a.value for a in answers], 1))

    made = bench(2, rows=8)
    torch.testing.assert_close(made.run(plan), torch.stack(spread(20, numbers(2, D)), 1).square().sum(2))
    assert max(sizes) == 4
    assert sum(sizes) == 20


def test_a_point_of_one_row_is_that_of_all_samples() -> None:
    one = numbers(1, D, seed=1)
    made = bench(4)
    found = made.run(lambda case, x: Plan([x, one], 2, Want.GRADIENT, told))
    torch.testing.assert_close(found, bench(4).run(lambda case, x: Plan([x, one.expand_as(x)], 2, Want.GRADIENT, told)))
    assert sum(made.model.rows) == 8


def groups(x: Tensor, group: int) -> list[Tensor]:
    """Three groups whose last points are one row for all samples."""
    return [p if (i + 1) % group else 100.0 + p[:1] * 0 + i for i, p in enumerate(spread(3 * group, x))]


def of_common(made: Bench, group: int, *, common: bool) -> Tensor:
    return made.run(lambda case, x: Plan(groups(x, group), 3 * group, Want.GRADIENT, told, group=group, common=common))


@pytest.mark.parametrize("group", [2, 3])
@pytest.mark.parametrize("rows", [1, 3, 5, 8, 64])
@pytest.mark.parametrize("n", [1, 4, 11])
def test_a_common_point_passes_once_and_answers_for_all(n: int, rows: int, group: int) -> None:
    made, plain = bench(n, rows=rows), bench(n, rows=rows)
    found, wanted = of_common(made, group, common=True), of_common(plain, group, common=False)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    for counters in (made.counters, plain.counters):  # as the plan asks
        assert (counters.forward_rows, counters.backward_rows) == (3 * group * n, 3 * group * n)
    assert sum(plain.model.rows) == 3 * group * n
    if rows == 64:
        assert sum(made.model.rows) == 3 * (n * (group - 1) + 1)


def test_a_common_point_is_tried_in_smaller_numbers_where_memory_ends() -> None:
    made = bench(6, rows=64)

    def fail(rows: int) -> None:
        if rows > 5:
            raise MemoryError("no more")

    made.model.fail = fail
    torch.testing.assert_close(of_common(made, 2, common=True), of_common(bench(6), 2, common=False))
    assert made.counters.repeated_rows > 0
    assert made.counters.forward_rows == 36


class Beside:
    """A rule that notes beside how many rows the last of a group stands."""

    merges_affine = False
    key = "beside"

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    def beside(self, others: int) -> "Beside":
        self.seen.append(others)
        return self

    def apply(self) -> nullcontext[None]:
        return nullcontext()


def test_a_rule_is_told_how_many_rows_a_common_point_stands_beside() -> None:
    rule = Beside([])
    made = bench(4, rows=64)
    points = groups(made.explainer.x, 3)
    made.run(lambda case, x: Plan(points, 9, Want.GRADIENT, told, rule=rule, group=3, common=True))
    assert rule.seen == [8]
    assert made.model.rows == [27]
