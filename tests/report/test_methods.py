"""The methods section says what every algorithm declares and reports, from the store alone."""

from pathlib import Path

import pandas as pd
import pytest

from tests.jobs import blobs
from tests.report.test_page import Page
from xbench.report import methods, write
from xbench.report.collect import settings
from xbench.tables import tables

DECLARED = {
    "ig": {"needs": ["a gradient"], "complete": True, "stochastic": False},
    "deeplift": {"needs": ["a gradient", "a module whose operations can be seen"], "complete": True},
    "gradient_shap": {"needs": [], "complete": False, "stochastic": None, "kind": "local"},
    "random": {"needs": [], "complete": False, "stochastic": True},
}


def change(store, manifest, algorithm, info, columns=None):
    """Other facts, and further columns by dataset, in the finished attribution cells of an algorithm."""
    for cell in manifest["cells"]:
        if (cell["kind"], cell["algorithm"]) == ("attribution", algorithm) and (record := store.load(cell["key"])):
            record["info"] = info(record["info"])
            for name, values in (columns or {}).get(cell["dataset"], {}).items():
                record["columns"] |= {name: {"direction": "none", "unit": ""}}
                record["values"] |= {name: values}
            store.save(record, store.arrays(cell["key"]))


def section(store, manifest):
    found = settings(store, manifest, tables.build(store, manifest).grid)
    return methods.methods(found, store, manifest)


def rows(store, manifest):
    return {row["name"]: row for row in section(store, manifest)["method_rows"]}


@pytest.fixture
def declared(sample_store):
    store, manifest = sample_store
    for name, facts in DECLARED.items():
        change(store, manifest, name, lambda info, facts=facts: info | facts)
    return store, manifest


@pytest.mark.parametrize(
    ("name", "kind", "needs", "stochastic", "complete"),
    [
        ("ig", "global", "a gradient", "no", "yes"),
        ("deeplift", "global", "a gradient and a module whose operations can be seen", "no", "yes"),
        ("gradient_shap", "local", "nothing but the model", "not known", "no"),
        ("random", "local", "nothing but the model", "yes", "no"),
    ],
)
def test_the_table_says_what_each_declares(declared, name, kind, needs, stochastic, complete):
    row = rows(*declared)[name]
    assert [row[key] for key in ("kind", "needs", "stochastic", "complete")] == [kind, needs, stochastic, complete]


def test_the_paragraph_says_it_of_all_methods_and_of_no_control(declared, part):
    store, manifest = declared
    change(store, manifest, "deeplift", lambda info: info | {"stochastic": True})
    _, traits = section(store, part(manifest, "digits"))["prose"]
    assert traits == (
        "Maps of Integrated Gradients and DeepLIFT are global: amounts, such as shares of the output or of its change "
        "f(x) − f(x₀) from a baseline x₀. Maps of GradientSHAP are local: slopes, like a gradient. "
        "Integrated Gradients and DeepLIFT claim completeness: a map sums to f(x) − f(x₀). "
        "DeepLIFT is stochastic, drawn anew for every seed. Whether GradientSHAP is stochastic is not known. "
        "Integrated Gradients needs a gradient; DeepLIFT needs a gradient and a module whose operations can be seen; "
        "GradientSHAP needs nothing but the model."
    )


def test_what_did_not_finish_is_not_compared(declared, part):
    store, manifest = declared
    texts = part(manifest, "sst2-standin")
    compared, traits = section(store, texts)["prose"]
    assert compared.startswith("We compare Integrated Gradients [1] on the first 6 samples of sst2-standin")
    assert "deeplift" not in traits
    row = rows(store, texts)["deeplift"]
    assert [row[key] for key in ("kind", "needs", "complete")] == ["not finished", "–", "–"]


@pytest.mark.slow
def test_cells_of_an_earlier_version_say_what_they_do_not_record(sample_store, tmp_path):
    store, manifest = sample_store
    gone = ("needs", "complete", "stochastic", "citation")
    change(store, manifest, "ig", lambda info: {name: info[name] for name in info if name not in gone})
    row = rows(store, manifest)["ig"]
    assert [row[key] for key in ("kind", *gone)] == ["global", *["not recorded"] * 3, ""]
    traits = section(store, manifest)["prose"][1]
    assert traits.endswith("Not all of this is recorded for Integrated Gradients, DeepLIFT and GradientSHAP.")
    page = Page(write(store, manifest, tmp_path / "old").read_text(encoding="utf-8"))
    assert "not recorded" in page.text


def test_what_an_adaptive_algorithm_reports_is_gathered_over_its_cells(sample_store, part):
    store, manifest = sample_store
    steps = [16, 16, 32, 64, 16, 2048]
    reported = {
        "digits": {"n_steps": steps, "completeness_error": [0.0012, None, None, 0.5, 0.25, 0.125]},
        "sst2-standin": {"n_steps": [8, 8, 8, 8, 8, 8], "completeness_error": [None] * 6},
    }
    change(store, manifest, "ig", lambda info: info, reported)
    alone = rows(store, part(manifest, "digits"))
    assert alone["ig"]["reported"] == [
        "n_steps: median 24, max 2,048",
        "completeness_error: median 0.188, max 0.500",  # (0.125 + 0.25) / 2
    ]
    assert alone["deeplift"]["reported"] == []
    both = rows(store, manifest)
    assert both["ig"]["reported"][0] == "n_steps: median 24, max 2,048 on cnn on digits"
    assert both["ig"]["reported"][2:] == [
        "n_steps: median 8, max 8 on text_cnn on sst2-standin",
        "completeness_error: undefined on text_cnn on sst2-standin",
    ]


@pytest.mark.slow
def test_the_command_stores_what_the_report_says(run):
    chosen = ["algorithm=[ig_tol,kernel_shap,smoothgrad]", "metric=[]", "algorithm.kernel_shap.n_samples=20"]
    assert blobs(run, *chosen, "algorithm.ig_tol.n_steps=1", "algorithm.ig_tol.max_steps=64", "run.block=3") == 0
    text = Page(Path("reports/latest/index.html").read_text(encoding="utf-8")).text
    scores = pd.read_parquet("reports/latest/tables/scores.parquet").query("algorithm == 'ig_tol'")
    used = scores[scores["metric"] == "n_steps"]["value"]
    assert len(used) == 8  # in blocks of 3
    assert used.nunique() > 1
    assert f"Per sample: n_steps: median {used.median():g}, max {used.max():g}; completeness_error: median " in text
    for row in (
        "ig_tol global a gradient no yes n_steps = 1",
        "kernel_shap global nothing but the model yes yes n_samples = 20",
        "smoothgrad local real-valued points and a gradient yes no algorithm = {",
    ):
        assert row in text, row
