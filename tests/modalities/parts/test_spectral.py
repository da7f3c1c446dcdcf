"""Time-frequency cells: the transform is exact, a tone is found at its own frequency, and the command names layers."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

import xbench
from tests.jobs import Run
from xbench.config.compose import component
from xbench.inputs.pictures import heats, picture
from xbench.modalities.parts.spectral import BINS, HOP, WINDOW, FromSpectrum, cells, in_frames, spectrum


@pytest.mark.parametrize("length", [1, 100, 255, 1280, 4001])
def test_the_waveform_comes_back(length: int):
    waves = torch.randn(3, 1, length, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    back = FromSpectrum(nn.Identity(), length)(spectrum(waves))
    torch.testing.assert_close(back, waves, rtol=0, atol=1e-11)


def test_it_is_the_transform_of_torch():
    waves = torch.randn(2, 1, 10 * HOP, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    window = torch.hann_window(WINDOW, dtype=torch.float64)
    theirs = torch.stft(waves[:, 0], WINDOW, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
    made = spectrum(waves)
    torch.testing.assert_close(torch.complex(made[:, :BINS], made[:, BINS:]), theirs)


@pytest.mark.parametrize("algorithm", ["ig", "deeplift", "lrp", "input_x_gradient"])
def test_a_tone_is_found_at_its_frequency_and_whole(algorithm: str):
    number, length = 20, 12 * HOP
    tone = torch.sin(2 * torch.pi * number * torch.arange(length, dtype=torch.float64) / WINDOW)[None, None]
    listener = nn.Sequential(nn.Flatten(), nn.Linear(length, 1, bias=False)).double()
    with torch.no_grad():
        listener[1].weight.copy_(tone[0])
    noisy = tone + 0.1 * torch.randn(tone.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = xbench.attribute(FromSpectrum(listener.eval(), length), spectrum(noisy), algorithm, target=0)
    per_bin = found.unflatten(1, (2, BINS)).sum((1, 3))[0]
    assert per_bin[number - 1 : number + 2].sum() > 0.98 * per_bin.sum()
    torch.testing.assert_close(per_bin.sum(), listener(noisy)[0, 0], rtol=1e-5, atol=0)  # LRP has an epsilon


def test_a_cell_has_all_of_its_numbers_and_a_mask_its_frames():
    waves = torch.zeros(2, 1, 32 * HOP)
    spectra = spectrum(waves)
    groups = cells(spectra)
    assert groups.shape == (1, *spectra.shape[1:])
    assert torch.equal(groups[:, :BINS], groups[:, BINS:])  # real and imaginary part
    assert groups.unique().tolist() == list(range(8 * 16))
    mask = torch.zeros(2, 1, 32 * HOP, dtype=torch.bool)
    mask[1, :, 4 * HOP : 6 * HOP] = True
    assert in_frames(mask, spectra.shape[2])[1, 0].nonzero().flatten().tolist() == [4, 5]
    assert not in_frames(mask, spectra.shape[2])[0].any()


def test_waves_of_two_channels_are_refused():
    with pytest.raises(ValueError, match=r"one channel \(n, 1, T\), got \(2, 2, 500\)"):
        spectrum(torch.zeros(2, 2, 500))


def test_a_map_of_cells_lies_over_the_spectrogram():
    data = component("dataset", "tones", ["n=2", "train=2"]).load()
    spectra = torch.zeros_like(spectrum(data.test.inputs))
    spectra[:, 10] = spectra[:, BINS + 10] = 1
    heat = heats(data, data.test, (spectra,))["heat"]
    assert heat.shape == picture(data, data.test).shape[:3]
    assert not heat[:, :24].any()  # the curve
    rows = heat[0].any(1).nonzero()[0]
    assert (rows > 64).all()  # low tones are at the bottom
    assert set(heat[heat != 0].tolist()) == {2.0}  # real and imaginary part are added


@pytest.mark.slow
def test_the_command_explains_cells_and_takes_the_layers_names(run: Run, capsys: pytest.CaptureFixture[str]):
    given = ["dataset=tones", "dataset.train=40", "dataset.n=8", "model.epochs=1", "n=4", "features=cells", "name=t"]
    assert run(*given, "algorithm=[ig,feature_ablation]", "metric=[infidelity,relevance_rank]", "baseline=noise") == 0
    scores = pd.read_parquet("reports/t/tables/scores.parquet")
    assert (scores["status"] == "ok").all()
    table = Path("reports/t/tables/comparison.md").read_text()
    assert "Perturbations: infidelity: removed cells." in table
    assert run(*given, "algorithm=ig", "metric=infidelity", "layer=features.0") == 0
    assert run("dataset=digits", "features=cells", "algorithm=ig", "metric=[]", "n=2", "name=u") == 2
    assert "image data have pixels, patches, superpixels, not 'cells'" in capsys.readouterr().err
    assert not Path("reports/u").exists()
