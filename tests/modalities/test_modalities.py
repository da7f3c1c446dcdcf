"""The records of the modalities: complete without torch, and a ninth one is one file."""

import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xbench.config.nodes import CONF
from xbench.modalities import FEATURES, MODALITIES, Modality
from xbench.store.store import Store

PACKAGE = Path(__file__).parents[2] / "xbench"
NINTH = {
    "xbench/modalities/spectra.py": '''"""Optical spectra (n, 1, bins)."""

from xbench.modalities.late import drawings, groups
from xbench.modalities.record import Modality


def bands(samples):
    import torch

    return ((torch.arange(samples.inputs[0].shape[2]) // 4)[None, None],)


MODALITY = Modality(
    axes=("1", "bins"),
    groups=groups.in_time,
    called="lines",
    features={"bins": groups.elements, "bands": bands},
    blurred=1,
    picture=drawings.series,
    heat=drawings.series_heat,
)
''',
    "my_lab.py": """import torch
from torch import nn


def stars():
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    light = 0.1 * torch.rand(40, 1, 16, generator=random)
    light[:, 0, 5] += labels
    return light, labels


class Net(nn.Module):
    modality = "spectra"

    def __init__(self, shape, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(shape[1], classes))

    def forward(self, light):
        return self.layers(light)
""",
    "my_conf/dataset/stars.yaml": """defaults: [{override /model@_global_.model: mine}, _self_]
_target_: xbench.datasets.function.Function
samples: {_target_: my_lab.stars, _partial_: true}
modality: spectra
name: stars
""",
    "my_conf/model/mine.yaml": """_target_: xbench.models.reference.Reference
name: mine
architecture: {_target_: my_lab.Net, _partial_: true}
epochs: 2
""",
}


@pytest.mark.slow
def test_a_ninth_modality_is_one_file(tmp_path: Path) -> None:
    for folder, name in ((PACKAGE, "xbench"), (Path(CONF), "conf")):
        shutil.copytree(folder, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in NINTH.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    command = ["--config-dir", "my_conf", "dataset=stars", "n=3", "algorithm=[saliency,feature_ablation]",
               "metric=infidelity", "features=bands", "baseline=blur", "name=t", "store=store",
               "display=plain"]  # fmt: skip
    environment = {"PATH": "", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "XBENCH_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "xbench", *command], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = tmp_path / "reports" / "t"
    assert (pd.read_parquet(report / "tables" / "scores.parquet")["status"] == "ok").all()
    store = Store(tmp_path / "store")
    cells = store.manifest("t")["cells"]
    (samples,) = (cell["key"] for cell in cells if cell["kind"] == "samples")
    maps = {cell["algorithm"]: cell["key"] for cell in cells if cell["kind"] == "attribution"}
    image, heat = store.arrays(samples)["image"], store.arrays(maps["feature_ablation"])["heat"]
    assert image.shape == (3, 24, 16, 1)
    assert heat.shape == (3, 1, 16)
    bands = heat.reshape(3, 4, 4)
    np.testing.assert_array_equal(bands, np.broadcast_to(bands[:, :, :1], bands.shape))
    lit = np.array(store.load(samples)["info"]["label"]) == 1
    assert lit.any()
    assert abs(bands[lit, 1]).min() > abs(bands[lit][:, [0, 2, 3]]).max()  # the line that tells the classes apart
    page = (report / "index.html").read_text()
    assert len(re.findall(r"<canvas[^>]*data-map", page)) == 3 * len(maps)
    assert "removed bands" in page


@pytest.mark.parametrize("name", MODALITIES)
def test_what_a_record_names_is_there(name: str) -> None:
    modality = MODALITIES[name]
    for given in (*modality.features.values(), modality.groups, modality.picture, modality.heat):
        if given is not None:
            assert callable(getattr(import_module(given.module), given.name))


@pytest.mark.parametrize("name", MODALITIES)
def test_what_the_report_shows_fits_together(name: str) -> None:
    modality = MODALITIES[name]
    assert (modality.picture is not None) == (modality.view in ("picture", "both"))
    assert (modality.groups is not None) == (modality.axes is not None)
    assert modality.axes is None or modality.holds == "numbers"
    assert set(modality.features) <= set(FEATURES)


def test_a_modality_says_how_it_is_drawn() -> None:
    with pytest.raises(TypeError, match="heat"):
        Modality()
