"""What every page must be: well formed, offline, safe with untrusted text, accessible."""

import json
import re
from html.parser import HTMLParser

import pytest

from tests.store_samples import cell
from xbench.report import write
from xbench.store.store import Store

VOID = {"meta", "link", "img", "br", "input"}
HOSTILE = '</script><script>alert("x")</script>'


class Page(HTMLParser):
    """Elements with their attributes, checked to be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def page(built) -> Page:
    return Page(built.html)


def embedded(html: str) -> list[dict]:
    return [json.loads(text) for text in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html)]


def test_nothing_is_loaded_from_elsewhere(page, built):
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            if value is not None:
                assert value.startswith(("data:", "#")) or (built.directory / value).exists(), value
    assert "@import" not in built.html
    assert not re.search(r"url\(\s*['\"]?(?!data:)", built.html)
    assert "default-src 'none'" in built.html


def test_the_policy_allows_the_script_of_the_page_and_no_other(built):
    import base64
    import hashlib

    script = built.html[built.html.rindex("<script>") + len("<script>") : built.html.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in built.html.replace("&#39;", "'")


def test_links_inside_the_page_lead_somewhere_and_ids_are_unique(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in page.all("a"):
        if attributes["href"].startswith("#"):
            assert attributes["href"][1:] in ids
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "data-source", "data-json"):
            assert attributes.get(name, ids[0]) in ids


def test_pictures_and_controls_have_names_and_tables_have_headers(page, built):
    assert all(attributes.get("alt") for attributes in page.all("img"))
    assert all(attributes.get("aria-label") for attributes in page.all("canvas"))
    assert all(attributes.get("scope") in ("row", "col", "colgroup") for attributes in page.all("th"))
    assert built.html.count("<h1>") == 1
    for control in re.findall(r".{60}<(?:select|input) ", built.html):
        assert "<label>" in control


def test_the_data_of_the_gallery_is_json_with_one_map_per_finished_algorithm(built):
    digits, texts = embedded(built.html)
    assert (digits["view"], len(digits["maps"]), len(digits["maps"][0])) == ("picture", 4, 6)
    assert all(entry["png"].startswith("data:image/png;base64,") for row in digits["maps"] for entry in row)
    assert (texts["view"], len(texts["maps"])) == ("words", 2)  # ig and random; two have no map
    for sample, entry in zip(texts["samples"], texts["maps"][0], strict=True):
        assert len(sample["tokens"]) == len(entry["values"])
        assert "" not in sample["tokens"]  # padding is not shown


def test_what_was_run_and_why_something_is_missing(page):
    for words in (
        "Integrated Gradients",
        "98.1 %",
        "1,797 handwritten digits bundled with scikit-learn",
        "xbench 'algorithm=[ig,deeplift,gradient_shap]' name=sample",
        "Random map draws its map at random",
        "one row needs 3.1 GiB, 2.0 GiB are free",
        "gradient_shap needs more than one baseline",
        "8 of 34 cells have no result (4 oom, 4 skipped)",
        "2 of 6 undefined",
        "Sundararajan et al. 2017",
        "python -m xbench.report name=sample",
        "0123456789abcdef",
    ):
        assert words in page.text, words


@pytest.mark.slow
@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([{"target": "predicted"}], "the logit of the predicted class, attributed to the input"),
        ([{"target": 1, "read": "conv1"}], "the logit of class 1, attributed to conv1 (read there)"),
        (
            [{"target": "label", "neuron": ["conv1", 2]}, {"target": "label", "neuron": ["conv2", [0, 1, 1]]}],
            "unit 2 of conv1 and unit [0, 1, 1] of conv2, attributed to the input",
        ),
        (
            [{"target": 1}, {"target": 2, "neuron": ["conv1", 2], "read": "conv3"}],
            "the logit of class 1 and unit 2 of conv1, attributed to the input and conv3 (read there)",
        ),
    ],
)
def test_the_page_names_the_unit_that_is_explained_and_the_place_of_the_maps(sample_store, part, tmp_path, jobs, said):
    store, manifest = sample_store
    manifest = part(manifest, "digits") | {"config": {"jobs": jobs}}
    assert f"Explained {said} Seed" in Page(write(store, manifest, tmp_path / "page").read_text(encoding="utf-8")).text


def test_the_best_of_a_column_is_bold_and_controls_stand_apart(built):
    table = built.html[
        built.html.index('<table class="compare"') : built.html.index(
            "</table>", built.html.index('<table class="compare"')
        )
    ]
    methods, controls = table.split('<tbody class="controls">')
    assert "<b>" in methods
    assert "<b>" not in controls
    assert "Random map" in controls
    assert "Random map" not in methods


@pytest.mark.slow
def test_the_banner_appears_exactly_with_standin_data(built, sample_store, part, tmp_path):
    assert 'aria-label="Stand-in data"' in built.html
    store, manifest = sample_store
    real = write(store, part(manifest, "digits"), tmp_path / "real").read_text(encoding="utf-8")
    assert 'aria-label="Stand-in data"' not in real
    assert "stand-in" not in Page(real).text.lower()


def test_untrusted_text_stays_text(sample_store, part, tmp_path):
    store, manifest = sample_store
    manifest = part(manifest, "sst2-standin")
    hostile = {"classes": [HOSTILE, "<img src=x onerror=alert(1)>"], "origin": HOSTILE}
    for planned in manifest["cells"]:
        record = store.load(planned["key"])
        if planned["kind"] == "samples":
            words = [HOSTILE, "日本語", "{{ 7 * 7 }}", "\u2028", "&amp;", "🎬"]
            record["info"] |= hostile | {"tokens": [words] * len(record["samples"])}
            store.save(record)
        elif planned["algorithm"] == "deeplift":
            store.save_failure(
                cell("sst2-standin", "attribution", "deeplift") | {"status": "error", "reason": HOSTILE * 20}
            )
        elif record is not None:
            record["info"] |= {
                "label": HOSTILE + record["algorithm"],
                "citation": HOSTILE,
                "warnings": [HOSTILE],
            }
            store.save(record, store.arrays(planned["key"]))
    html = write(store, manifest, tmp_path / "hostile").read_text(encoding="utf-8")
    page = Page(html)
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert len(page.all("script")) == 2  # the gallery's data and the page's own
    assert "{{ 7 * 7 }}" in page.text
    assert embedded(html)[0]["samples"][0]["tokens"] == [
        HOSTILE,
        "日本語",
        "{{ 7 * 7 }}",
        "\u2028",
        "&amp;",
        "🎬",
    ]


def test_a_run_without_any_result_still_makes_a_page_that_says_why(tmp_path, sample_store):
    _, manifest = sample_store
    empty = Store(tmp_path / "empty")
    text = Page(write(empty, manifest, tmp_path / "none").read_text(encoding="utf-8")).text
    assert "No score was finished" in text
    assert "not computed" in text
    nothing = write(empty, manifest | {"cells": []}, tmp_path / "nothing").read_text(encoding="utf-8")
    assert "every planned cell finished" in Page(nothing).text


def test_the_size_is_sane(built):
    assert len(built.html) < 2_500_000
