"""The experiments run, on tiny settings, and say what they claim to say."""

import json
import re
import sys

import pytest
import torch

from experiments import (
    beside_quantus,
    every_modality,
    families,
    memory_growth,
    paired_statistics,
    two_workers,
    vs_suites,
    whole_job,
)
from experiments import estimators_vs_captum as estimators
from experiments.parts import metric_text, shared, suites, whole
from experiments.parts.workloads import load
from xbench.config.nodes import identity
from xbench.metrics import DeletionAUC, PixelFlipping, Sparseness

pytestmark = pytest.mark.slow


def test_estimators_are_compared_at_equal_evaluations(capsys, monkeypatch):
    """1024 evaluations fit all coalitions of 10 features: kernel_shap is exact there, and not before."""
    monkeypatch.setattr(estimators, "N", 1)
    rows = estimators.main(["--seeds", "2", "--budgets", "64", "1024"])
    evaluations = {"kernel_shap": [(64, 64), (1024, 1024)], "shapley_sampling": [(56, 61), (1019, 1021)]}
    assert [(row.method, row.evaluations, row.model) for row in rows] == [
        (method, used, model)
        for method in ("kernel_shap", "shapley_sampling")
        for used in evaluations[method]
        for model in ("ReLU network", "interactions", "logistic")
    ]
    for row in rows:
        assert len(row.errors) == 2
        assert row.errors[0] != row.errors[1]  # the seeds
        exact = row.evaluations[0] == 1024
        for ours, captums in row.errors:
            assert (ours < 1e-24) == exact
            assert captums > 1e-6
    lines = capsys.readouterr().out.splitlines()
    assert sum("all models" in line for line in lines) == 2 * 2 + 2  # the last two: Captum's default
    assert sum("(target at most 0.5)" in line for line in lines) == 2


def test_the_median_is_over_seeds_and_models():
    one = estimators.Row("kernel_shap", "logistic", 64, (64, 65), ((1.0, 2.0), (1.0, 4.0), (3.0, 1.0)))
    other = estimators.Row("kernel_shap", "interactions", 64, (64, 65), ((1.0, 8.0), (1.0, 8.0)))
    assert estimators.median([one]) == 0.5
    assert estimators.median([one, other]) == 0.25


def test_the_global_random_state_is_not_touched():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    estimators.compete("shapley_sampling", "logistic", 1, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_ten_times_the_evaluations_take_no_more_memory(capsys):
    """The quick ones; the script asks all that conf/ holds."""
    quick = ["blur_ig", "conductance", "deeplift_shap", "gradient_shap", "idgi", "ig", "infidelity", "smoothgrad"]
    found = memory_growth.main(["--methods", *quick])
    assert {line.method for line in found} == set(quick)
    assert [line for line in found if line.ratio >= memory_growth.TARGET] == []
    assert "(target: none)" in capsys.readouterr().out


def test_growth_is_seen_and_named():
    line = memory_growth.Growth("ig", "n_steps", 100, 105)
    assert "Growth of 5% or more: ig (n_steps) 1.050" in memory_growth.show([line], 10)


def test_an_unknown_method_is_named(capsys):
    with pytest.raises(SystemExit):
        memory_growth.main(["--methods", "igg"])
    assert "got igg" in capsys.readouterr().err


def test_the_whole_job_is_one_that_the_command_plans(run, tmp_path, capsys):
    whole.write_config(tmp_path / "whole", "cnn")
    assert run("--config-dir", "whole", *whole.options(load("cnn")), "plan=true") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in [*whole.ALGORITHMS, "infidelity", "sensitivity_max", "31 cells"])


def test_the_whole_job_of_captum_is_a_table(monkeypatch):
    monkeypatch.setattr(whole, "ALGORITHMS", ("saliency", "ig"))
    table = whole.loop(load("mlp"), {"ig": 256})
    assert list(table["algorithm"]) == ["saliency", "ig"]
    assert (table[["infidelity", "sensitivity_max", "runtime"]] > 0).all(axis=None)


def test_seconds_are_those_of_whole_processes(tmp_path):
    spent = whole_job.Run()
    command = [sys.executable, "-c", "import time; time.sleep(0.2); print('done')"]
    assert whole_job.process(command, 1, tmp_path, spent) == "done\n"
    assert spent.seconds[0] >= 0.2
    assert spent.peak > 2**20
    with pytest.raises(RuntimeError, match="ended with 3: no such disk"):
        whole_job.process([sys.executable, "-c", "print('no such disk'); raise SystemExit(3)"], 1, tmp_path)


def test_what_workers_share_leaves_out_the_start():
    lines = two_workers.show({"one": 25.0, "many": 15.0, "idle": 5.0}, 2).splitlines()
    assert [line.split()[-2] for line in lines[2:4]] == ["1.67", "2.00"]


def test_methods_find_the_planted_evidence_and_reach_the_closed_form(capsys):
    (found,) = every_modality.main(["--datasets", "planted_linear", "--n", "8"])
    method, best, random = found.best["localisation_auroc"]
    assert method != "random"
    assert best == 1 > random + 0.2
    printed = capsys.readouterr().out
    assert "| planted_interaction | shapley_exact |" in printed
    errors = re.findall(r"\| planted_\w+ *\| *\w+ \| *([\d.]+e[+-]\d+) \|", printed)
    assert len(errors) == 2 * len(every_modality.EXACT)
    assert max(map(float, errors)) < 1e-5
    assert found.command in printed


def test_shared_evidence_is_counted_once_and_seen_by_the_hook():
    metrics = "[deletion_auc,insertion_auc,srg,completeness,sensitivity_max,local_lipschitz]"
    rows = shared.run("cnn", 2, ("saliency", "ig"), metrics)
    curves, changes, again = 2 * 2 * 21 * 2, 2 * 2, 2 * 10 * (1 + 5)  # two orders, two methods; x and x0; draws
    assert rows.together == curves + changes + again
    assert rows.alone == 2 * curves + changes + 2 * again  # each curve serves two metrics, the draws too
    assert rows.one_by_one == rows.alone + changes  # of each method by itself
    assert rows.hooked >= rows.cells == rows.together + 2 * (1 + 5)
    assert "0.5" in shared.show({"cnn": rows})


def test_rows_are_told_where_no_peer_is_installed(monkeypatch, capsys):
    rows = shared.Rows(1000, 4000, 8000, 1200, 1100)
    monkeypatch.setattr(shared, "run", lambda *_, **__: rows)
    monkeypatch.setattr(vs_suites, "installed", lambda _: ["attribench"])
    assert vs_suites.main(["--n", "1", "--models", "cnn"]) == []
    printed = capsys.readouterr().out
    assert "0.25" in printed
    assert "lacks quantus" in printed


def test_a_metric_counts_its_scores_and_all_its_evidence(tmp_path):
    (needed,) = PixelFlipping().evidence
    (another,) = DeletionAUC(steps=3).evidence

    def score(kind: type) -> dict[str, object]:
        made = {"_target_": f"xbench.metrics.folder.{kind.__name__}", "version": 1}
        return {"kind": "score", "identity": {"metric": made}}

    records = [
        *({"kind": "evidence", "identity": {"evidence": identity(needed)}, "seconds": 2.0} for _ in range(2)),
        {"kind": "evidence", "identity": {"evidence": identity(another)}, "seconds": 8.0},
        *(score(PixelFlipping) | {"metric": "pixel_flipping", "seconds": 0.25} for _ in range(2)),
        score(Sparseness) | {"metric": "sparseness", "seconds": 0.5},
    ]
    (tmp_path / "cells" / "ab").mkdir(parents=True)
    for number, record in enumerate(records):
        (tmp_path / "cells" / "ab" / f"{number}.json").write_text(json.dumps(record))
    assert vs_suites.metric_seconds(tmp_path) == {"sparseness": 0.5, "pixel_flipping": 4.5}


def test_pairs_name_metrics_and_options_of_the_command_and_ratios_are_medians():
    w = load("cnn")
    pairs = suites.pairs(w)
    known = {option.name: {name for name, *_ in option.parameters} for option in metric_text.options()}
    assert all(set(pair.options) <= known[pair.ours] for pair in pairs.values())
    rounds = [(dict.fromkeys(pairs, 2.0), dict.fromkeys(pairs, theirs)) for theirs in (3.0, 50.0, 7.0)]
    lines = vs_suites.show(w, rounds).splitlines()[2 : 2 + len(pairs)]
    assert [[cell.strip() for cell in line.split("|")][5:8] for line in lines] == [["2.000", "7.000", "3.5"]] * len(
        pairs
    )


def test_the_shares_of_families_are_of_the_whole_job():
    one = {"the job": 10.0, "complexity": 0.05, "agreement": 0.03, "evidence": 4.0}
    shown = families.show([one, one | {"localisation": 0.02}, one | {"localisation": 0.04}])
    assert "| evidence         |             4.000 |    40.00 % |" in shown
    assert "together: 1.00 %" in shown


def test_an_error_of_a_peer_is_a_finding(capsys, monkeypatch):
    def fails():
        raise IndexError("70 is out of bounds\nfor 64")

    assert beside_quantus.told(fails) == "IndexError: 70 is out of bounds"
    assert beside_quantus.told(lambda: [0.0]) == "[0.0]"
    monkeypatch.setattr(beside_quantus, "find_spec", lambda _: None)
    assert beside_quantus.main() == []
    assert "quantus is not installed" in capsys.readouterr().out


def test_statistics_are_measured_and_put_into_the_page(tmp_path, monkeypatch):
    page = tmp_path / "statistics.md"
    page.write_text("".join(f"{name}\n<!-- {name} -->\nold\n<!-- end -->\n" for name in ("coverage", "level", "speed")))
    monkeypatch.setattr(paired_statistics, "PAGE", page)
    monkeypatch.setattr(paired_statistics, "COUNTS", (8,))
    shown = paired_statistics.main(["--tables", "400", "--size", "20", "3", "2", "--write"])
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown["coverage"].splitlines()[2:]]
    assert [line[0] for line in lines] == list(paired_statistics.DIFFERENCES)
    for name, n, *shares in lines:
        assert n == "8"
        assert float(shares[-1]) > float(shares[0])  # wider than the percentiles
        assert float(shares[-1]) > 0.75 + 0.15 * (name == "normal")
    assert "continuous | 60" in " ".join(shown["level"].split())
    assert "of these, every two methods" in shown["speed"]
    text = page.read_text()
    assert "old" not in text
    assert all(table in text for table in shown.values())
