"""The files of a report: figures, reproducibility, reuse, and the command."""

import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from xbench.report import write
from xbench.report.__main__ import main

pytestmark = pytest.mark.slow


def files(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_every_measure_has_a_figure_as_pdf_and_png(built):
    found = {path.name for path in (built.directory / "figures").iterdir()}
    for where in ("cnn-digits", "text_cnn-sst2-standin"):
        columns = (
            "infidelity",
            "infidelity_scaled",
            "infidelity_relative",
            "sensitivity_max",
            "completeness",
        )
        names = [f"distribution-{column}-{where}" for column in (*columns, "runtime")] + [f"tradeoff-{where}"]
        assert {f"{name}.{kind}" for name in names for kind in ("pdf", "png")} <= found
    for path in (built.directory / "figures").iterdir():
        data = path.read_bytes()
        assert data.startswith({".pdf": b"%PDF", ".png": b"\x89PNG"}[path.suffix])
        assert b"CreationDate" not in data


def test_a_rebuild_gives_the_same_bytes_and_leaves_global_state_alone(built, sample_store, part, tmp_path):
    store, manifest = sample_store
    drawn = part(manifest, "digits", "sensitivity_max", "infidelity")
    settings, state = dict(matplotlib.rcParams), np.random.get_state()  # noqa: NPY002  (that it is not touched)
    write(store, drawn, tmp_path / "drawn")
    assert dict(matplotlib.rcParams) == settings
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002
    again = files(tmp_path / "drawn" / "figures")
    assert again.items() <= files(built.directory / "figures").items()  # another store, another report
    for name in ("a", "b"):
        write(store, part(manifest, "digits"), tmp_path / name)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_reuse_draws_again_only_what_changed(sample_store, part, tmp_path):
    store, manifest = sample_store
    manifest = part(manifest, "digits")
    page = write(store, manifest, tmp_path / "a")
    figure = next((tmp_path / "a" / "figures").glob("*.png"))

    def rebuilt(**changes) -> bool:
        before = page.stat().st_mtime_ns, figure.stat().st_mtime_ns if figure.exists() else 0
        write(store, manifest | changes, tmp_path / "a", reuse=True)
        return (page.stat().st_mtime_ns, figure.stat().st_mtime_ns) != before

    assert not rebuilt()
    assert rebuilt(seed=1)
    assert rebuilt()
    figure.unlink()
    assert rebuilt()


def test_reuse_draws_only_figures_whose_content_changed(sample_store, part, tmp_path):
    store, manifest = sample_store
    manifest = part(manifest, "digits", "completeness")
    folder = tmp_path / "a" / "figures"

    def drawn(manifest, **options) -> set[str]:
        before = {path: path.stat().st_mtime_ns for path in folder.glob("*")}
        told = []
        page = write(store, manifest, tmp_path / "a", progress=lambda *numbers: told.append(numbers), **options)
        assert told == [(done, told[-1][1]) for done in range(told[-1][1] + 1)]
        write(store, manifest, tmp_path / "fresh")
        assert page.read_bytes() == (tmp_path / "fresh" / "index.html").read_bytes()
        return {p.name for p in folder.glob("*") if p.stat().st_mtime_ns != before.get(p)}

    whole = drawn(manifest, reuse=True)
    assert len(whole) == 4
    assert not drawn(manifest | {"command": ["xbench", "n=6"]}, reuse=True)  # another page, the same figures
    assert drawn(manifest) == whole
    key = next(c["key"] for c in manifest["cells"] if c["metric"] == "completeness" and c["algorithm"] == "ig")
    record = store.load(key)
    store.save({**record, "values": {"completeness": [2 * value for value in record["values"]["completeness"]]}})
    changed = drawn(manifest, reuse=True)
    assert changed == {f"distribution-completeness-cnn-digits.{kind}" for kind in ("pdf", "png")}
    (folder / "distribution-runtime-cnn-digits.png").write_bytes(b"cut short")
    assert drawn(manifest | {"command": ["xbench"]}, reuse=True) == {
        f"distribution-runtime-cnn-digits.{kind}" for kind in ("pdf", "png")
    }


@pytest.mark.parametrize(
    "label",
    [r"$\frac{$", "half a pair \ud800", "方" * 100, "[t] of LRP", "<b>&%_#"],
    ids=["formula", "surrogate", "long", "bracket", "markup"],
)
def test_a_strange_label_costs_nothing_but_its_own_look(sample_store, part, tmp_path, label):
    store, manifest = sample_store
    for cell in manifest["cells"]:
        if cell["kind"] == "attribution" and cell["algorithm"] == "ig":
            record = store.load(cell["key"])
            store.save({**record, "info": {**record["info"], "label": label}}, store.arrays(cell["key"]))
    page = write(store, part(manifest, "digits", "infidelity", "sensitivity_max"), tmp_path / "a")
    assert "DeepLIFT" in page.read_text(encoding="utf-8")
    assert len(list((tmp_path / "a" / "figures").glob("*.pdf"))) == 6
    tex = (tmp_path / "a" / "tables" / "comparison.tex").read_text(encoding="utf-8")
    assert not re.search(r"\\\\\s*\[", tex)  # behind the end of a row, a bracket would begin an option


def test_a_figure_that_cannot_be_drawn_costs_itself_only(sample_store, part, tmp_path, monkeypatch):
    store, manifest = sample_store

    def fails(groups, heading):
        raise ZeroDivisionError("no room")

    monkeypatch.setattr("xbench.report.distributions._draw", fails)
    html = write(store, part(manifest, "digits", "completeness"), tmp_path / "a").read_text(encoding="utf-8")
    assert "distribution-completeness-cnn-digits could not be drawn: ZeroDivisionError: no room" in html


def test_figures_of_an_earlier_run_go_and_other_files_stay(sample_store, part, tmp_path):
    store, manifest = sample_store
    folder = tmp_path / "a" / "figures"
    folder.mkdir(parents=True)
    for name in ("tradeoff-old-run.pdf", "distribution-x-old.png", "mine.png", "tradeoff-notes.txt"):
        (folder / name).write_bytes(b"x")
    write(store, part(manifest, "digits"), tmp_path / "a")
    left = {path.name for path in folder.iterdir()}
    assert {"mine.png", "tradeoff-notes.txt"} <= left
    assert not left & {"tradeoff-old-run.pdf", "distribution-x-old.png"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nmae=sample"], "did you mean name=...?"),
        (["name=smaple"], "nearest: sample"),
        ([], "no run named 'latest' in the store"),
        (["name="], "name needs a value"),
        (["name"], "name needs a value"),
        (["name=sample", "name=b"], "given twice"),
        (["name=../sample"], "cannot be a name"),
    ],
)
def test_bad_arguments_exit_2_with_the_way_out(built, capsys, arguments, said):
    assert main([*arguments, f"store={built.store.root}"]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_exits_1(built, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["name=sample", f"store={built.store.root}", f"reports={tmp_path / 'file'}"]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_the_command_builds_from_the_store_without_torch(sample_store, part, tmp_path):
    store, manifest = sample_store
    store.save_manifest(part(manifest, "digits"))
    code = (
        "import sys; from xbench.report.__main__ import main; code = main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    words = ["name=sample", f"store={store.root}", f"reports={tmp_path / 'reports'}"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "reports" / "sample" / "index.html")
    assert re.search("<title>sample", (tmp_path / "reports" / "sample" / "index.html").read_text())
