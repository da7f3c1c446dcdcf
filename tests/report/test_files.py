"""The files of a report: figures, reproducibility, reuse, and the command."""

import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from xbench.report import write
from xbench.report.__main__ import main


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
        ([], "name=... is missing"),
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
