"""The main job from argv to tables, with real models: same table by any spelling, resume, faults."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from torch import Tensor

from tests.jobs import Run, blobs, cells, same, table
from tests.lab import Net
from xbench.metrics import Infidelity
from xbench.report.__main__ import main as report
from xbench.tables.stored import results

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_a_sweep_and_a_set_give_the_same_table(run: Run) -> None:
    assert blobs(run, "algorithm=ig,deeplift", "name=sweep", "store=a", "-m") == 0
    assert blobs(run, "algorithm=[ig,deeplift]", "name=set", "store=b") == 0
    same(table("sweep"), table("set"))
    assert list(table("set")["algorithm"].unique()) == ["ig", "deeplift", "random", "constant"]


def test_the_second_run_computes_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert blobs(run, "algorithm=ig") == 0
    before = {path: path.stat().st_mtime_ns for path in Path("results/cells").rglob("*") if path.is_file()}
    assert run("--config-dir", "conf", "dataset=blobs", "algorithm=ig", "display=plain") == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "nothing to do" in capsys.readouterr().out


def test_what_a_metric_says_of_its_columns_comes_with_its_records(run: Run) -> None:
    assert blobs(run, "algorithm=[saliency]", "metric=infidelity", "name=told") == 0
    columns = {column.name: column for column in results("told").grid.columns}
    facts = Infidelity().facts
    for name, column in facts.columns.items():
        told = columns[name]
        assert told.family == facts.family == "faithfulness"
        assert {fact: getattr(told, fact) for fact in asdict(column)} == asdict(column) | {"short": told.short}
        assert told.short == (column.short or column.label)


def test_post_processing_is_swept_where_a_metric_has_it(run: Run) -> None:
    sweep = ["algorithm=[ig]", "metric=[deletion_auc,completeness]", "postprocess=null,absolute", "n=3", "-m"]
    assert blobs(run, *sweep, "name=swept") == 0
    assert {"deletion_auc null", "deletion_auc absolute", "completeness"} <= {str(m) for m in cells("swept")["metric"]}
    assert blobs(run, "algorithm=[ig]", "metric=[deletion_auc]", "metric.deletion_auc.sign=absolute", "n=3") == 0
    assert set(cells()["key"].dropna()) <= set(cells("swept")["key"].dropna())
    assert blobs(run, "postprocess=abs", "name=wrong") == 2


def test_rows_and_block_change_no_number(run: Run) -> None:
    grid = ["algorithm=[ig,deeplift,kernel_shap,smoothgrad,gradient_shap]", "n=4"]
    grid += [
        "algorithm.ig.n_steps=20",
        "algorithm.kernel_shap.n_samples=20",
        "algorithm.smoothgrad.nt_samples=5",
    ]
    grid += ["metric.sensitivity_max.n_perturb_samples=2"]
    assert blobs(run, *grid, "name=auto", "store=auto") == 0
    for rows in ("1", "7"):
        assert blobs(run, *grid, f"name=rows{rows}", f"store=rows{rows}", f"run.rows={rows}") == 0
        same(table(f"rows{rows}"), table("auto"))
    assert blobs(run, *grid, "name=block", "store=block", "run.block=3") == 0
    same(table("block"), table("auto"))


def test_a_new_metric_does_not_attribute_again(run: Run) -> None:
    assert blobs(run, "algorithm=ig", "metric=completeness") == 0
    first = set(Path("results/cells").rglob("*.safetensors"))
    stamps = {path: path.stat().st_mtime_ns for path in first}
    assert blobs(run, "algorithm=ig", "metric=[completeness,infidelity]") == 0
    assert {path: path.stat().st_mtime_ns for path in first} == stamps
    assert {"completeness", "infidelity"} <= set(table()["metric"])


def test_perturbed_outputs_are_shared_by_all_algorithms_and_count_for_each(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0

    def forward(net: Net, x: Tensor) -> Tensor:
        nonlocal seen
        seen += len(x)
        return plain_forward(net, x)

    plain_forward = Net.forward
    monkeypatch.setattr(Net, "forward", forward)
    assert blobs(run, "algorithm=[saliency,ig]", "metric=[]") == 0
    before, seen = seen, 0
    assert blobs(run, "algorithm=[saliency,ig]", "metric=infidelity") == 0
    rows = cells().query("metric == 'infidelity'")["forward_rows"]
    assert set(rows) == {51 * 8}  # 50 perturbations and x itself, as if each algorithm had been alone
    assert before > 0
    assert seen < 2 * 51 * 8


def test_a_corrupt_result_is_set_aside_and_computed_again(run: Run) -> None:
    assert blobs(run, "algorithm=ig") == 0
    expected = table()
    for path in sorted(Path("results/cells").rglob("*.json"))[:3]:
        path.write_bytes(path.read_bytes()[:40])
    arrays = sorted(Path("results/cells").rglob("*.safetensors"))[0]
    arrays.write_bytes(b"damaged")
    assert blobs(run, "algorithm=ig") == 0
    same(table(), expected)
    assert list(Path("results/cells").rglob("*.corrupt*"))


def test_reuse_only_computes_nothing_and_never_computes_all(run: Run) -> None:
    assert blobs(run, "algorithm=ig", "reuse=only") == 0
    assert set(cells()["status"]) == {"skipped"}
    assert blobs(run, "algorithm=ig") == 0
    stamps = {path: path.stat().st_mtime_ns for path in Path("results/cells").rglob("*.json")}
    assert blobs(run, "algorithm=ig", "reuse=never") == 0
    assert all(path.stat().st_mtime_ns > stamp for path, stamp in stamps.items())


def test_plan_runs_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--config-dir", "conf", "dataset=blobs", "algorithm=ig", "plan=true", "display=plain") == 0
    assert not list(Path().rglob("cells/*"))
    assert "ig" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("nan", "nonfinite", "NaN or infinity"),
        ("no gradient", "error", "no gradient"),
        ("unknown operation", "error", "i0e"),
        ("constant", "error", "no gradient"),
    ],
)
def test_a_faulty_model_gives_reasons_and_the_other_cells_finish(
    run: Run, fault: str, status: str, reason: str
) -> None:
    algorithms = "algorithm=[deeplift,feature_ablation]"
    assert blobs(run, algorithms, f"model.module.fault='{fault}'") == 1
    found = cells().query("metric.isna()").set_index("algorithm")
    assert found.loc["deeplift", "status"] == status
    assert reason in found.loc["deeplift", "reason"]
    if fault in ("no gradient", "unknown operation", "constant"):
        assert found.loc["random", "status"] == "ok"
        assert found.loc["feature_ablation", "status"] == "ok"
    html = (Path("reports") / "latest" / "index.html").read_text()
    assert reason in html


def test_a_model_that_raises_for_one_batch_is_an_error_with_its_words(run: Run) -> None:
    assert blobs(run, "algorithm=[kernel_shap,saliency]", "model.module.fault=raises") == 1
    found = cells().query("metric.isna()").set_index("algorithm")
    assert found.loc["saliency", "status"] == "ok"
    assert found.loc["kernel_shap", "status"] == "error"
    assert "sensor offline" in found.loc["kernel_shap", "reason"]


def test_samples_without_features_fail_where_features_matter(run: Run) -> None:
    assert blobs(run, "algorithm=[saliency,feature_ablation]", "dataset.empty=true") == 1
    found = cells().query("metric.isna()").set_index("algorithm")
    assert found.loc["saliency", "status"] == "ok"
    assert "no features" in found.loc["feature_ablation", "reason"]
    assert "blob-0" in found.loc["feature_ablation", "reason"]


def test_failed_cells_are_tried_again(run: Run) -> None:
    assert blobs(run, "algorithm=feature_ablation", "dataset.empty=true", "reuse=missing") == 1
    stamps = {path: path.stat().st_mtime_ns for path in Path("results/cells").rglob("*.failed.json")}
    assert stamps
    assert blobs(run, "algorithm=feature_ablation", "dataset.empty=true", "reuse=missing") == 1
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps  # known to fail, left alone
    assert blobs(run, "algorithm=feature_ablation", "dataset.empty=true") == 1
    assert all(path.stat().st_mtime_ns > stamp for path, stamp in stamps.items())


def test_weights_that_do_not_fit_stop_the_job_with_the_names(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import save_file
    from torch import nn

    save_file(nn.Linear(2, 2).state_dict(), "other.safetensors")
    assert blobs(run, "algorithm=saliency", "+model.weights=other.safetensors") == 2
    assert "first.weight" in capsys.readouterr().err


def test_a_read_only_store_is_an_error_before_the_work(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("not a folder")
    assert blobs(run, "algorithm=saliency", "store=file/results") == 2
    assert "store" in capsys.readouterr().err


def test_killed_twice_the_next_run_ends_with_the_same_table(run: Run, tmp_path: Path, cache: Path) -> None:
    arguments = ["algorithm=[ig,kernel_shap,smoothgrad]", "n=8", "run.block=2"]
    assert blobs(run, *arguments, "name=whole", "store=whole") == 0
    command = [sys.executable, "-m", "xbench", "--config-dir", "conf", "dataset=blobs", "display=plain"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for finished in (8, 30):
        process = subprocess.Popen(
            [*command, *arguments, "name=killed", "store=killed"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while len(list(Path("killed/cells").rglob("*.json"))) < finished and time.monotonic() < deadline:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (Path("reports") / "killed").exists()
    assert blobs(run, *arguments, "name=killed", "store=killed") == 0
    same(table("killed"), table("whole"))


def test_interrupted_it_says_how_to_continue(run: Run) -> None:
    command = [
        sys.executable,
        "-m",
        "xbench",
        "--config-dir",
        "conf",
        "dataset=blobs",
        "display=plain",
        "run.block=1",
    ]
    process = subprocess.Popen(
        [*command, "algorithm=all"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(list(Path("results/cells").rglob("*.json"))) < 5 and time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be interrupted"
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "run the same command to continue" in said
    assert not Path("reports/latest").exists()  # figures take seconds, and the prompt is to come back at once
    again = said.split("to see it as it is: python -m xbench.report ")[1].splitlines()[0]
    assert report(shlex.split(again)) == 0
    assert (cells()["status"] == "missing").any()


def test_digits_through_the_defaults(run: Run) -> None:
    assert run("n=4", "algorithm=saliency", "metric=completeness", "display=none") == 0
    assert set(table()["dataset"]) == {"digits"}
    assert (Path("reports") / "latest" / "index.html").stat().st_size > 10_000


def test_data_that_do_not_fit_one_model_of_a_sweep_are_its_reason(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert blobs(run, "model=cnn,text_cnn", "algorithm=saliency", "-m") == 1
    found = cells().set_index("model")
    assert set(found.loc["cnn", "status"]) == {"ok"}
    assert found.loc["text_cnn", "status"] == "error"
    assert "is for text data" in found.loc["text_cnn", "reason"]
    assert "Traceback" not in capsys.readouterr().err
    assert "is for text data" in (Path("reports") / "latest" / "index.html").read_text()


def test_two_option_files_of_one_name_are_two_rows(run: Run) -> None:
    text = Path("conf/model/net.yaml").read_text()
    Path("conf/model/faulty.yaml").write_text(text.replace("fault: none", "fault: scaled"))
    assert blobs(run, "model=net,faulty", "algorithm=saliency", "controls=false", "-m") == 0
    rows = table().query("metric == 'completeness'")
    assert len(rows) == 2
    assert set(rows["n"]) == {8}
    assert rows["mean"].nunique() == 2


def test_never_leaves_no_old_result_in_place_of_a_failure(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = ["algorithm=feature_ablation", "metric=completeness", "controls=false"]
    assert blobs(run, *grid) == 0

    def broken(*_: object) -> None:
        raise RuntimeError("sensor offline")

    with monkeypatch.context() as patched:
        patched.setattr("xbench.algorithms.feature_ablation.FeatureAblation.plan", broken)
        assert blobs(run, *grid, "reuse=never") == 1
    found = cells().query("algorithm == 'feature_ablation'")
    assert set(found["status"]) == {"error"}
    assert found["reason"].str.contains("sensor offline").all()
    assert blobs(run, *grid) == 0


def test_a_damaged_map_is_computed_again_by_the_run_that_finds_it(run: Run) -> None:
    grid = ["algorithm=feature_ablation", "controls=false"]
    assert blobs(run, *grid, "metric=completeness") == 0
    for path in Path("results/cells").rglob("*.safetensors"):
        path.write_bytes(b"damaged")
    assert blobs(run, *grid, "metric=[completeness,infidelity]") == 0
    assert set(cells()["status"]) == {"ok"}


def test_the_plan_knows_what_a_run_left(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("n=2", "algorithm=saliency", "display=none") == 0
    capsys.readouterr()
    assert run("n=2", "algorithm=saliency", "display=plain", "plan=true") == 0
    said = capsys.readouterr().out
    assert "to run" not in said
    assert "22 reused" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run.devices=cuda:7"], "run.devices=cuda:7"),
        (["algorithm=null"], "group override"),
        (["reports=file/x"], "reports"),
        (["run.memory=0"], "run.memory"),
        (["run.block=2,4", "-m"], "run.block"),
    ],
)
def test_bad_settings_stop_before_the_work(
    run: Run, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    Path("file").write_text("not a folder")
    assert blobs(run, "algorithm=saliency", *arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert not Path("results/cells").exists()


def test_a_regression_is_told_by_r_squared(run: Run) -> None:
    common = ("model=linear", "model.epochs=3", "model.min_steps=1", "algorithm=[ig]", "metric=[completeness]", "n=4")
    assert run("dataset=diabetes", *common, "display=none", "controls=false") == 0
    page = Path("reports/latest/index.html").read_text()
    assert '<td class="num">R²' in page
    assert "(R² " in Path("reports/latest/tables/comparison.md").read_text()
    assert 'badge good">right' not in page
    assert 'badge bad">wrong' not in page
