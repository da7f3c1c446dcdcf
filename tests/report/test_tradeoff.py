"""The trade-off picture: its front, its axes, and which measures it chooses."""

import pytest

from xbench.report import figures
from xbench.report.collect import settings
from xbench.report.tradeoff import Measures, Point, front, tradeoff
from xbench.tables import tables
from xbench.tables.columns import TableColumn


def column(name, direction="lower"):
    return TableColumn(name, name, direction, "", name.upper(), name)


def point(name, x, y, control=False):
    return Point(name, control, x, y, (x, x), (y, y), 1.0)


@pytest.mark.parametrize(("x", "y"), [("lower", "lower"), ("higher", "lower"), ("higher", "higher")])
def test_the_front_holds_the_methods_that_none_beats_in_both(x, y):
    signs = [-1 if direction == "higher" else 1 for direction in (x, y)]
    points = [
        point(name, signs[0] * across, signs[1] * up, control=name == "z")
        for name, across, up in (("a", 1, 5), ("b", 2, 2), ("c", 3, 3), ("d", 4, 1), ("z", 0, 0))
    ]
    measures = Measures(column("x", x), column("y", y))
    assert [p.label for p in front(points, measures)] == ["a", "b", "d"]
    assert front(points[-1:], measures) == []


def drafted(store, manifest):
    built = tables.build(store, manifest)
    return tradeoff(settings(store, manifest, built.grid)[0], built.summary, built.grid.columns)


def drawn(draft):
    assert isinstance(draft, figures.Draft), draft
    with figures.style():
        return draft.draw().axes[0]


def test_the_measures_that_lead_their_families_are_shown(sample_store):
    draft = drafted(*sample_store)
    axes = drawn(draft)
    assert axes.get_xlabel() == "Infidelity, relative  (lower is better)"
    assert axes.get_ylabel() == "Sensitivity (max)  (lower is better)"
    assert draft.caption.startswith("Means of Infidelity, relative and Sensitivity (max) with")
    assert draft.alt.startswith("Scatter of Infidelity, relative, Sensitivity (max) and Runtime on cnn on digits.")


def test_a_measure_of_another_metric_takes_the_axis_where_the_usual_one_was_not_run(sample_store, retold):
    store, manifest = sample_store
    mine = {"label": "Votes of experts", "direction": "higher", "family": "robustness"}
    axes = drawn(drafted(store, retold(store, manifest, "sensitivity_max", mine)))
    assert axes.get_ylabel() == "Votes of experts  (higher is better)"
    assert axes.yaxis_inverted()  # down is better, as in every picture
    assert not axes.xaxis_inverted()


def test_what_is_lacking_is_named(sample_store, part, retold):
    store, manifest = sample_store
    none = drafted(store, part(manifest, "digits", "completeness"))
    assert none.caption == "This picture needs a measure of faithfulness and robustness, and none has a value here."
    manifest = retold(store, manifest, "sensitivity_max", {"family": "complexity"})
    assert "needs a measure of robustness, and none" in drafted(store, manifest).caption
