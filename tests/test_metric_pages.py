"""The committed pages of the metrics say what the code says, and every column has its controls."""

import math

import pytest

from experiments.metric_pages import FOLDER, RUNS, controls, load, pages
from experiments.parts.metric_text import options, page


def test_the_pages_are_what_the_script_writes():
    written = pages(load(FOLDER / "controls.json"))
    assert {path.name for path in FOLDER.glob("*.md")} == set(written)
    stale = [name for name, text in written.items() if (FOLDER / name).read_text(encoding="utf-8") != text]
    assert stale == [], "python experiments/metric_pages.py writes them anew"


def test_every_column_has_controls():
    scores = load(FOLDER / "controls.json")
    assert {option.name for option in options()} == set(scores)
    for option in options():
        means = scores[option.name].means
        assert set(means) == set(option.metric.facts.columns), option.name
        for name, found in means.items():
            assert {"random", "constant", "inverse"} <= set(found), name
        assert any(value is not None for found in means.values() for value in found.values()), option.name


def test_a_changed_parameter_makes_a_page_stale(monkeypatch):
    scores, changed = load(FOLDER / "controls.json"), options()
    before = page("complexity", scores)
    other = [type(o)(o.name, o.text.replace("threshold: 0.01", "threshold: 0.02"), o.metric) for o in changed]
    monkeypatch.setattr("experiments.parts.metric_text.options", lambda: tuple(other))
    assert page("complexity", scores) == before.replace("`0.01`", "`0.02`") != before


@pytest.mark.slow
def test_the_scores_are_those_of_a_run():
    (run,) = [run for run in RUNS if run.metrics == ("symmetry",)]
    (found,) = controls(2, [run])
    means = found["symmetry"].means["symmetry"]
    assert means["constant"] == 0
    assert means["exact"] == pytest.approx(0, abs=1e-6)
    assert not math.isclose(means["random"], 0)
