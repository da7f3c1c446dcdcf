"""The short form of a call: a problem's fields as arguments, with their docs and with Python's own errors."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest
import torch

from xbench import attribute, attribute_with_notes, measure
from xbench.algorithms import Saliency
from xbench.explain.problem import AttributionProblem, Problem, ScoringProblem
from xbench.explain.short_form import ShortForm

FORMS = [
    (attribute, AttributionProblem, ["algorithm"]),
    (attribute_with_notes, AttributionProblem, ["algorithm"]),
    (measure, ScoringProblem, ["explanation", "metric"]),
]


@pytest.mark.parametrize(("call", "problem", "others"), FORMS, ids=[call.__name__ for call, _, _ in FORMS])
def test_the_signature_and_the_docs_are_the_problems(call, problem, others):
    found = inspect.signature(call).parameters
    names = [field.name for field in fields(problem)]
    assert list(found) == [*names[:2], *others, *names[2:]]
    assert {found[name].kind for name in names[2:]} == {inspect.Parameter.KEYWORD_ONLY}
    assert all(found[field.name].default == field.default for field in fields(problem)[2:])
    assert set(call.__annotations__) == {*found, "return"}
    lines = inspect.getdoc(call).splitlines()
    assert all(sum(line.startswith(f"    {name}: ") for line in lines) == 1 for name in found)


def test_arguments_reach_the_problem():
    @ShortForm(AttributionProblem)
    def given(problem: AttributionProblem, algorithm: str) -> tuple[Problem, str]:
        return problem, algorithm

    def model(x):
        return x.sum(1)

    x = torch.ones(2, 3)
    for problem, name in (given(model, x, "ig", target=1, read="a"), given(algorithm="ig", inputs=x, model=model)):
        assert (problem.model, name) == (model, "ig")
        assert problem.inputs is x
    problem, _ = given(model, x, "ig", target=1, read="a")
    expected = AttributionProblem(model, x, target=1, read="a")
    assert all(getattr(problem, field.name) is getattr(expected, field.name) for field in fields(expected))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: attribute(torch.sum, x, Saliency(), targett=1),
            r"attribute\(\) got an unexpected .*targett",
        ),
        (lambda x: attribute(torch.sum, x, Saliency(), masks=x), r"attribute\(\) got an unexpected .*masks"),
        (lambda x: measure(torch.sum, x, x, "infidelity", read="a"), r"measure\(\) got an unexpected .*read"),
        (lambda x: attribute(torch.sum, x), r"attribute\(\) missing a required argument: 'algorithm'"),
        (lambda x: attribute(torch.sum, x, Saliency(), 1), r"attribute\(\) too many positional arguments"),
    ],
)
def test_mistaken_arguments_are_refused_by_name(call, message):
    with pytest.raises(TypeError, match=message):
        call(torch.ones(2, 3))
