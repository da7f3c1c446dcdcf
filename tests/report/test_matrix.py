"""The matrices of methods by methods: what stands in a cell, which columns are shown."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.tables.maker import Maker
from xbench.report import distributions, matrix, words
from xbench.report.collect import MethodFacts, Setting, settings
from xbench.store.store import Store


@pytest.fixture
def made(tmp_path):
    """Scores of three methods and a control; `blocks(columns)` are the matrices of these columns."""

    def blocks(methods, **facts):
        maker = Maker(Store(tmp_path / "results"))
        for name, of in methods.items():
            for metric, values in of.items():
                maker.done(name, metric, {metric: list(values)}, facts={**facts, **FACTS.get(metric, {})})
        built = maker.build()
        manifest = SimpleNamespace(cells=maker.cells)
        found = settings(maker.store, {"cells": manifest.cells}, built.grid)
        return built, matrix.matrices(built, found)

    return blocks


FACTS: dict[str, dict[str, object]] = {"lead": {"lead": True}, "kind": {"direction": "none"}}
STEPS = np.arange(20.0)
METHODS = (MethodFacts("a", "A", False, ()), MethodFacts("b", "B", False, ()))


def cells(of):
    return {row["label"]: dict(zip([name for name, _ in of["names"]], row["cells"], strict=True))
            for row in of["rows"]}  # fmt: skip


def test_a_cell_has_the_effect_the_interval_and_the_adjusted_p_value_from_its_row(made):
    noise = np.where(STEPS < 3, -1.0, 1.0)
    built, found = made({"a": {"error": STEPS}, "b": {"error": STEPS + noise}, "random": {"error": STEPS + 9}})
    block = found["pairs"][0]["columns"][0]
    assert (block["label"], block["direction"]) == ("Error", "lower is better")
    assert block["names"] == [("a", False), ("b", False), ("random", True)]
    shown = cells(block)
    assert list(shown) == ["a", "b"]  # a control is only compared with
    assert shown["a"]["a"]["text"] == ""
    row = built.pairwise.query("algorithm == 'a' and other == 'b'").iloc[0]
    assert shown["a"]["b"]["text"] == "0.85" == f"{row['p_better']:.2f}"
    low, high = (words.number(row[end]) for end in ("low", "high"))
    assert shown["a"]["b"]["interval"] == f"[{low}, {high}]"
    assert shown["a"]["b"]["p"] == f"p = {row['p_holm']:.3f}"
    assert shown["a"]["b"]["title"] == f"difference −0.700; n = 20; {row['reason']}"
    assert row["reason"] == "too few different values to resample: Student's t interval"
    assert (shown["a"]["b"]["tone"], shown["b"]["a"]["tone"]) == ("good", "bad")
    assert shown["b"]["a"]["text"] == "0.15"
    assert shown["b"]["a"]["interval"] == f"[{high}, {low}]".replace("−", "")
    assert shown["a"]["random"]["p"] == "p < 0.001"


def test_what_is_not_significant_is_not_coloured_and_what_is_left_out_is_counted(made):
    signs = np.where(STEPS % 2 == 0, 1.0, -1.0)
    values = list(STEPS + signs)
    values[0] = None
    _, found = made({"a": {"error": STEPS}, "b": {"error": values}})
    cell = cells(found["pairs"][0]["columns"][0])["a"]["b"]
    assert cell["shade"] == ""
    assert cell["title"] == "difference 0.0526; n = 19; 1 without both values"
    assert cell["p"] == "p = 1"


def test_many_columns_are_stood_for_by_those_that_lead_their_family(made):
    names = [f"c{index}" for index in range(6)]
    few = dict.fromkeys((*names, "kind"), STEPS)
    assert len(made({"a": few, "b": few})[1]["pairs"][0]["columns"]) == 6  # and no column without a direction
    many = {**few, "lead": STEPS}
    block = made({"a": many, "b": many}, family="robustness")[1]["pairs"][0]
    assert [each["label"] for each in block["columns"]] == ["Lead"]
    assert block["left_out"] == 6


def test_of_many_methods_the_effects_are_shown_and_the_rest_is_told(made):
    _, found = made({f"m{index}": {"error": STEPS + index} for index in range(13)})
    block = found["pairs"][0]["columns"][0]
    assert block["compact"]
    cell = cells(block)["m0"]["m1"]
    assert (cell["text"], cell["interval"], cell["p"]) == ("1.00", "", "")
    assert cell["title"] == ("difference −1.00; [−1.00, −1.00], p < 0.001; n = 20; the same difference on every sample")


def test_one_method_has_no_pairs(made):
    assert made({"a": {"error": STEPS}})[1]["pairs"] == []


def test_the_page_shows_the_matrices_and_the_rule_of_its_marks(built):
    assert built.html.count('<table class="pairs-of">') > 2
    section = built.html.split('id="pairwise"')[1]
    assert "Wilcoxon signed-rank tests of paired samples" in section
    assert "the best mean and all that are not significantly worse" in built.html


def test_of_many_boxes_the_column_that_leads_each_family_is_drawn(made, monkeypatch):
    of = {"lead": STEPS, "c1": STEPS, "c2": STEPS + 1}
    built, _ = made({"a": of, "b": of}, family="robustness")
    setting = Setting("m", "d", "m-d", 20, None, False, "", None, (), (), METHODS)

    def drawn():
        columns = [column for column in built.grid.columns if column.name in of]
        return [draft.name for draft in distributions.distributions(setting, built.scores, columns)]

    assert drawn() == ["distribution-lead-m-d", "distribution-c1-m-d", "distribution-c2-m-d"]
    monkeypatch.setattr(distributions, "MOST_BOXES", 5)
    assert drawn() == ["distribution-lead-m-d"]
