"""Recordings: spoken digits from the published zip, a folder of the user's, and what is said of bad files."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from xbench.config.compose import component
from xbench.datasets.record import Dataset
from xbench.datasets.recordings import read_wav

REAL = os.environ.get("XBENCH_DATA")


def tone(path: Path, hertz: float = 440, rate: int = 8000, seconds: float = 0.3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(rate * seconds)) / rate
    wavfile.write(path, rate, (20000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16))


def folder(root: Path) -> Path:
    for word, hertz in (("low", 300), ("high", 900)):
        for i in range(5):
            tone(root / word / f"{i}.wav", hertz + 10 * i)
    return root


def load(root: Path, *more: str) -> Dataset:
    return component("dataset", "wav_folder", [f"path={root}", "seconds=0.5", *more]).load()


def test_a_folder_per_class(tmp_path: Path) -> None:
    data = load(folder(tmp_path / "beeps"))
    assert (data.name, data.modality, data.classes, data.rate) == ("beeps", "audio", ("high", "low"), 8000)
    assert (len(data.test), len(data.train())) == (2, 8)
    assert tuple(data.test.inputs.shape[1:]) == (1, 4000)
    assert data.test.inputs.abs().max() == pytest.approx(20000 / 32767, rel=1e-3)


def test_padding_is_no_feature(tmp_path: Path) -> None:
    data = load(folder(tmp_path / "beeps"))
    features = data.features(data.test)
    assert (features[:, 0, :2400] >= 0).all()  # 0.3 s of 0.5 s
    assert (features[:, 0, 2400:] == -1).all()
    assert features.amax() == 31


def test_another_rate_stops_or_is_left_out_or_converted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = folder(tmp_path / "beeps")
    tone(root / "low" / "fast.wav", 300, rate=16000)
    with pytest.raises(ValueError, match=r"fast.wav has 16000 samples per second, not 8000.*resample=true"):
        load(root)
    skipped = load(root, "bad=skip")
    assert len(skipped.test) + len(skipped.train()) == 10
    assert "left out" in caplog.text
    assert "fast.wav" in caplog.text
    converted = load(root, "resample=true")
    assert len(converted.test) + len(converted.train()) == 11


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "beeps")
    (root / "low" / "torn.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"torn.wav is no WAV file.*bad=skip leaves such files out"):
        load(root)
    assert len(load(root, "bad=skip").train()) == 8


def test_the_files_to_explain_can_be_listed(tmp_path: Path) -> None:
    root = folder(tmp_path / "beeps")
    (root / "testing_list.txt").write_text("low/0.wav\nhigh/3.wav\n")
    data = load(root, "listed=testing_list.txt")
    assert set(data.test.ids) == {"test-low/0.wav", "test-high/3.wav"}


def test_no_files_and_wrong_options(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no folders of WAV files"):
        load(tmp_path)
    for change, message in (("bad=ignore", "bad: expected stop or skip"), ("test=2", "test: expected a share")):
        with pytest.raises(ValueError, match=message):
            load(tmp_path, change)


def test_channels_are_averaged_and_every_sample_format_is_read(tmp_path: Path) -> None:
    values = np.array([[0.5, -0.5], [0.5, 0.5]])
    for kind in (np.float32, np.int16, np.int32):
        scale = 1 if kind == np.float32 else np.iinfo(kind).max
        wavfile.write(tmp_path / "a.wav", 8000, (values * scale).astype(kind))
        wave, rate = read_wav((tmp_path / "a.wav").read_bytes(), "a.wav")
        assert rate == 8000
        torch.testing.assert_close(wave, torch.tensor([0, 0.5]), rtol=0, atol=1e-4)


def test_speech_commands_in_their_published_layout(tmp_path: Path) -> None:
    root = tmp_path / "speech_commands"
    for word in ("yes", "no"):
        for i in range(3):
            tone(root / word / f"{i}.wav", 300, rate=16000, seconds=1.0)
    (root / "testing_list.txt").write_text("yes/0.wav\nno/1.wav\n")
    data = component("dataset", "speech_commands", [f"data_dir={tmp_path}", "words=[yes,no]"]).load()
    assert (len(data.test), len(data.train()), data.test.inputs.shape[2]) == (2, 4, 16000)
    with pytest.raises(ValueError, match="no recordings of 'up'; it has no, yes"):
        component("dataset", "speech_commands", [f"data_dir={tmp_path}", "words=[up]"]).load()
    with pytest.raises(FileNotFoundError, match="Speech Commands is missing: put its folders"):
        component("dataset", "speech_commands", [f"data_dir={tmp_path / 'none'}"]).load()


def _digits(tmp_path: Path) -> list[str]:
    (tmp_path / "fsdd").mkdir()
    with zipfile.ZipFile(tmp_path / "fsdd" / "recordings_0-19.zip", "w") as archive:
        for number in (0, 4, 5, 9):
            for digit in (1, 7):
                tone(tmp_path / "one.wav", 200 * digit)
                archive.write(tmp_path / "one.wav", f"recordings/{digit}_anna_{number}.wav")
    return [f"data_dir={tmp_path}"]


def test_spoken_digits_are_split_as_their_authors_do(tmp_path: Path) -> None:
    data = component("dataset", "fsdd", _digits(tmp_path)).load()
    assert (len(data.test), len(data.train())) == (4, 4)
    assert {sample.rsplit("_", 1)[1] for sample in data.test.ids} == {"0", "4"}


def test_a_damaged_zip_and_a_wrong_name_are_named(tmp_path: Path) -> None:
    given = _digits(tmp_path)
    path = tmp_path / "fsdd" / "recordings_0-19.zip"
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(tmp_path / "one.wav", "recordings/other.wav")
    with pytest.raises(ValueError, match=r"other.wav: expected a name like DIGIT_SPEAKER_NUMBER.wav"):
        component("dataset", "fsdd", given).load()
    path.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"recordings_0-19.zip is damaged"):
        component("dataset", "fsdd", given).load()


@pytest.mark.skipif(REAL is None, reason="XBENCH_DATA names no folder of real data")
def test_the_real_spoken_digits() -> None:
    data = component("dataset", "fsdd", [f"data_dir={REAL}"]).load()
    assert (len(data.test), len(data.train()), len(data.classes)) == (300, 900, 10)
