"""The columns: names, headings, families and which stands for its family, from the records of the metrics."""

from typing import get_args

import pytest

from xbench.metrics.base import Family
from xbench.tables.columns import FAMILIES, TableColumn, leading


def columns(built):
    return {column.name: column for column in built.grid.columns}


def test_columns_of_two_metrics_with_one_name_are_told_apart(maker):
    facts = {"label": "Infidelity, of the mean"}
    maker.done("ig", "infidelity", {"infidelity": [1.0], "infidelity_scaled": [2.0]}, facts=facts)
    maker.done("ig", "square", {"infidelity": [3.0]}, facts=facts)
    maker.done("ig", "other", {"extra": [4.0]})
    built = maker.build()
    means = dict(zip(built.summary["metric"], built.summary["mean"], strict=True))
    assert means == {"infidelity.infidelity": 1.0, "square.infidelity": 3.0, "infidelity_scaled": 2.0, "extra": 4.0}
    assert {name: column.label for name, column in columns(built).items()} == {
        "infidelity.infidelity": "Infidelity, of the mean (infidelity)",
        "infidelity_scaled": "Infidelity, of the mean (infidelity_scaled)",
        "square.infidelity": "Infidelity, of the mean (square)",
        "extra": "Extra",
    }


def test_families_stand_in_reading_order_and_costs_last(maker):
    maker.done("ig", None, {"peak_memory": [1.0], "n_steps": [4.0], "forward_rows": [1], "runtime": [1.0]})
    maker.done("ig", "zzz", {"zzz": [1.0]})
    for metric, family in (("a", "localisation"), ("b", "robustness"), ("c", "faithfulness"), ("d", "faithfulness")):
        maker.done("ig", metric, {f"{metric}2": [1.0], f"{metric}1": [1.0]}, facts={"family": family})
    built = maker.build()
    order = ["c2", "c1", "d2", "d1", "b2", "b1", "a2", "a1", "zzz", "n_steps", "runtime", "forward_rows", "peak_memory"]
    assert list(columns(built)) == order
    assert [columns(built)[name].family for name in ("c2", "zzz", "n_steps", "runtime")] == [
        "faithfulness", "own", "reported", "cost",
    ]  # fmt: skip


def test_every_family_of_a_metric_has_a_heading():
    assert set(get_args(Family)) | {"reported", "cost"} == set(FAMILIES)


def test_a_column_carries_what_its_metric_says_and_an_older_release_left_out(maker):
    facts = {"label": "Hit rate", "short": "Hits", "meaning": "Share of hits.", "family": "localisation"}
    facts |= {"low": 0, "high": 1, "detail": True, "lead": True}
    maker.done("ig", "hits", {"hits": [1.0]}, facts=facts)
    maker.done("lime", "hits", {"hits": [1.0]})
    (column,) = columns(maker.build()).values()
    assert column == TableColumn(
        "hits", "hits", "lower", "", "Hit rate", "Hits", "Share of hits.", "localisation", 0, 1, True, True
    )


@pytest.mark.parametrize(
    ("facts", "chosen"),
    [
        ({"a": {}, "b": {}}, "a"),
        ({"a": {}, "b": {"lead": True}, "c": {"lead": True}}, "b"),
        ({"a": {"detail": True}, "b": {}}, "b"),
        ({"a": {"detail": True}}, "a"),
        ({"a": {"direction": "none"}, "b": {"family": "axiomatic"}}, None),
    ],
    ids=["first", "leads", "no-detail", "detail-alone", "none"],
)
def test_of_a_family_the_leading_column_stands_for_it(facts, chosen):
    usual = {"direction": "lower", "unit": "", "family": "robustness"}
    made = [TableColumn(name=n, source=n, label=n, short=n, **{**usual, **said}) for n, said in facts.items()]
    found = leading(made, "robustness")
    assert (found and found.name) == chosen
