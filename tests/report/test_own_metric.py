"""A user's metric that no file of the report knows is called what it calls itself, everywhere."""

import pytest

from xbench.report import distributions, figures, gallery, write
from xbench.report.collect import settings
from xbench.tables import tables

LABEL, SHORT, MEANING = "Votes of the jury", "Jury", "How many of a jury believe the map."
FACTS = {"label": LABEL, "short": SHORT, "meaning": MEANING, "family": "own", "direction": "higher"}

pytestmark = pytest.mark.slow


@pytest.fixture
def jury(sample_store, part, retold):
    """A store whose measure of completeness is the user's own, and its manifest."""
    store, manifest = sample_store
    return store, retold(store, part(manifest, "digits", "completeness"), "completeness", FACTS)


def test_the_page_calls_it_by_its_label(jury, tmp_path):
    page = write(*jury, tmp_path / "page").read_text(encoding="utf-8")
    table = page[page.index('<table class="compare"') : page.index("</table>", page.index('<table class="compare"'))]
    assert f'title="{MEANING}"><button class="sort" type="button">{LABEL}&nbsp;<span class="arrow"' in table
    assert '<th scope="colgroup" colspan="1">Other measures</th><th scope="colgroup" colspan="4">Cost</th>' in table
    assert f"<dt>{LABEL}</dt><dd>{MEANING}</dd>" in page
    assert f"<dt>{SHORT}</dt>" in page[page.index('<table class="gallery') :]
    assert f"<figcaption>{LABEL}, logarithmic axis; 24 values." in page
    assert "completeness" not in table.lower()


def test_its_figure_and_its_numbers_below_a_map_say_the_label(jury):
    store, manifest = jury
    built = tables.build(store, manifest)
    (setting,) = settings(store, manifest, built.grid)
    mine = [column for column in built.grid.columns if column.label == LABEL]
    (draft,) = distributions.distributions(setting, built.scores, mine)
    with figures.style():
        assert draft.draw().axes[0].get_xlabel() == LABEL
    assert draft.caption.startswith(LABEL)
    assert draft.alt.startswith(f"Box plots of {LABEL} per algorithm")
    shown = gallery.build(store, setting, built.scores, built.grid.columns, 10**6)
    assert [[term for term, _ in cell["scores"]] for cell in shown.rows[0]["cells"]] == [[SHORT]] * 4


def test_below_a_map_there_is_no_room_for_details_and_costs(sample_store):
    store, manifest = sample_store
    built = tables.build(store, manifest)
    digits = settings(store, manifest, built.grid)[0]
    shown = gallery.build(store, digits, built.scores, built.grid.columns, 10**6)
    assert [term for term, _ in shown.rows[0]["cells"][0]["scores"]] == [
        "Infid. relative", "Sensitivity (max)", "Completeness",
    ]  # fmt: skip
