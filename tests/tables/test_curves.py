"""Removal curves from the command to their table and pictures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from torch import float64, tensor

from tests.jobs import Run, blobs
from xbench.metrics import AUCTP, DeletionAUC, InsertionAUC, NoisyLinear, RegionPerturbation, SymmetricRelevanceGain
from xbench.report import curves, figures
from xbench.report.collect import settings
from xbench.store.store import Store
from xbench.tables.stored import results


@pytest.mark.slow
def test_a_curve_s_area_is_the_metric_and_metrics_that_share_it_keep_it_once(run: Run) -> None:
    metrics = "metric=[srg,deletion_auc,insertion_auc]"
    assert blobs(run, "algorithm=[saliency]", metrics, "n=4", "run.block=3", "name=curved") == 0
    found = results("curved")
    frame = pd.read_parquet("reports/curved/tables/curves.parquet")
    assert list(frame.columns) == ["model", "dataset", "algorithm", "curve", "sample", "share", "value"]
    assert set(frame["curve"]) == {
        "most relevant first, imputer baseline", "least relevant first, imputer baseline",
    }  # fmt: skip
    assert not frame.duplicated(["algorithm", "curve", "sample", "share"]).any()
    assert len(frame) == 3 * 2 * 4 * 21  # with two controls
    scores = found.scores.set_index(["algorithm", "metric", "sample"])["value"]
    for (algorithm, curve, sample), rows in frame.groupby(["algorithm", "curve", "sample"], observed=True):
        value = rows.sort_values("share")["value"].to_numpy()
        metric = "deletion_auc" if curve.startswith("most") else "insertion_auc"
        assert scores[algorithm, metric, sample] == pytest.approx((value[:-1] + value[1:]).sum() / 40)
    store = Store("results")
    (setting,) = settings(store, store.manifest("curved"), found.grid)
    drafts = curves.curves(setting, found.curves)
    assert [draft.caption for draft in drafts] == [
        "Most relevant first, imputer baseline; 4 samples.", "Least relevant first, imputer baseline; 4 samples.",
    ]  # fmt: skip
    with figures.style():
        axes = drafts[0].draw().axes[0]
    assert [line.get_linestyle() for line in axes.lines] == ["-", "--", "--"]
    assert axes.get_xlabel() == "share of features removed"


@pytest.mark.slow
def test_without_metrics_of_removal_there_is_no_curve(run: Run) -> None:
    assert blobs(run, "algorithm=[saliency]", "metric=[sparseness]", "n=2") == 0
    assert results().curves.empty
    assert "No metric of ordered removal was computed" in Path("reports/latest/index.html").read_text(encoding="utf-8")


def test_a_curve_s_name_tells_what_differs() -> None:
    found = tensor([[1.0, 0.5, 0.0]], dtype=float64)
    assert list(SymmetricRelevanceGain(2).curves(found, found)) == [
        "most relevant first, imputer baseline", "least relevant first, imputer baseline",
    ]  # fmt: skip
    assert list(InsertionAUC(2).curves(found)) == ["least relevant first, imputer baseline"]
    other = DeletionAUC(2, imputer=NoisyLinear(), even="elements", sign="absolute")
    assert list(other.curves(found)) == ["most relevant first, imputer NoisyLinear, even in elements, absolute"]
    assert list(RegionPerturbation(2, side=3).curves(found)) == ["most relevant first, imputer baseline, regions 3"]
    kept = tensor([[1.0, 1.0, 0.0, 0.3, 0.2, 0.1]], dtype=float64)
    ((name, values),) = AUCTP(2).curves(kept).items()
    assert name == "most relevant first, imputer baseline, share of predictions kept"
    assert values.tolist() == [[1.0, 1.0, 0.0]]
