"""`experiment=meta_evaluation` in its tiniest form, and what it asks for."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.jobs import Run
from xbench.cli.preflight import preflight
from xbench.config.compose import Composer
from xbench.tables.trust import NAMES

EXPERIMENT = "experiment=meta_evaluation"


@pytest.mark.slow
def test_it_takes_data_of_every_modality_with_two_seeds() -> None:
    jobs = preflight(Composer(), [EXPERIMENT], multirun=False)
    assert {job.cfg.seed for job in jobs} == {0, 1}
    assert {job.cfg.choice.dataset for job in jobs} == {
        "planted_linear", "planted_interaction", "shapes", "sst2_standin", "tones", "planted_motifs", "moving_shapes",
        "ba_2motifs", "shapes_question",
    }  # fmt: skip
    assert {"truth", "exact"} <= set(jobs[0].cfg.algorithm)


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_the_tiniest_form(run: Run) -> None:
    asked = ["algorithm=[ig,saliency,smoothgrad,truth,exact]", "metric=[localisation_auc,sparseness]", "n=6"]
    assert run(EXPERIMENT, "hydra.sweeper.params.dataset=planted_linear", *asked, "display=none") == 0
    folder = "reports/meta_evaluation/"
    found = pd.read_csv(f"{folder}tables/trust.csv")
    assert set(found["measure"]) == set(NAMES)
    assert set(found["dataset"]) == {"planted_linear", "all"}
    assert set(found.loc[found["dataset"] == "planted_linear", "answer"]) == {"exact"}
    far = pd.read_parquet(f"{folder}tables/trust.parquet").groupby("algorithm")["distance"].mean()
    assert far["ig"] == 0
    assert far["ig"] < far["saliency"] < far["random"]
    page = Path(folder, "index.html").read_text(encoding="utf-8")
    assert "figures/trust-columns.pdf" in page
