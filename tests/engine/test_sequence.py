"""Several plans as one: what SmoothGrad and re-explaining metrics are made of."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from xbench.core.plan import Answer, Plan, Want, sequence


def inner(start: float, k: int, used: int) -> Plan:
    """A plan of k points that reads only the first `used` of its answers."""
    points = (torch.tensor([[start + i]]) for i in range(k))
    return Plan(points, k, Want.VALUE, lambda answers: torch.stack([next(answers).value for _ in range(used)]).sum(0))


def answered(plan: Plan, ahead: int) -> Tensor:
    """Evaluate like the engine: `ahead` points at a time; the answer to a point is the point."""

    def answers() -> Iterator[Answer]:
        points = iter(plan.points)
        while chunk := [p for _, p in zip(range(ahead), points, strict=False)]:
            for point in chunk:
                yield Answer(point[:, 0])

    return plan.reduce(answers())


@pytest.mark.parametrize("ahead", [1, 2, 3, 4, 7, 100])
@pytest.mark.parametrize("used", [1, 2, 3])
def test_each_plan_gets_its_own_answers(ahead, used):
    """Also when a reduction stops early, and when a chunk holds points of several plans."""
    plans = (inner(100.0 * j, 3, used) for j in range(5))
    whole = sequence(plans, 5, lambda results: torch.stack(list(results)))
    assert whole.n_points == 15
    wanted = [sum(100.0 * j + i for i in range(used)) for j in range(5)]
    assert answered(whole, ahead).flatten().tolist() == wanted


def test_plans_are_made_one_after_the_other():
    made: list[int] = []

    def plans() -> Iterator[Plan]:
        for j in range(5):
            made.append(j)
            yield inner(100.0 * j, 2, 2)

    seen: list[int] = []

    def reduce(results: Iterator[Tensor]) -> Tensor:
        seen.extend(len(made) for _ in results)
        return torch.zeros(1)

    whole = sequence(plans(), 5, reduce)
    assert made == [0]
    answered(whole, 2)
    assert seen == [1, 2, 3, 4, 5]


def test_plans_without_points_are_reduced_all_the_same():
    plans = (Plan([], 0, Want.VALUE, lambda _, j=j: torch.tensor([float(j)])) for j in range(4))
    whole = sequence(plans, 4, lambda results: torch.stack(list(results)))
    assert whole.n_points == 0
    assert answered(whole, 3).flatten().tolist() == [0, 1, 2, 3]


def test_sequences_of_sequences():
    def outer(j: int) -> Plan:
        return sequence((inner(100.0 * j + 10 * i, 2, 2) for i in range(3)), 3, lambda r: torch.stack(list(r)).sum(0))

    whole = sequence((outer(j) for j in range(2)), 2, lambda r: torch.stack(list(r)))
    assert whole.n_points == 12
    wanted = [sum(100.0 * j + 10 * i + k for i in range(3) for k in range(2)) for j in range(2)]
    for ahead in (1, 5, 50):
        again = sequence((outer(j) for j in range(2)), 2, lambda r: torch.stack(list(r)))
        assert answered(again, ahead).flatten().tolist() == wanted


def test_rule_group_and_want_are_those_of_the_plans():
    class Nothing:
        key = "nothing"

        def apply(self) -> None: ...

    rule = Nothing()
    plan = Plan([torch.zeros(1, 1)] * 2, 2, Want.GRADIENT, lambda answers: next(answers).value, rule=rule, group=2)
    whole = sequence(iter([plan]), 1, lambda results: next(results))
    assert (whole.rule, whole.group, whole.want) == (rule, 2, Want.GRADIENT)
