"""SST-2: where the files come from, what a corrupt one says, and when the stand-in steps in."""

import hashlib
import io
import logging
import os
import sys
import threading
import zipfile
from pathlib import Path

import pytest
import torch

from xbench.datasets import download as downloads
from xbench.datasets import sst2
from xbench.datasets.sst2 import SST2, parse
from xbench.datasets.sst2_torchtext import TorchtextSST2

TRAIN = "sentence\tlabel\nit is  fine \t1\nit is bad \t0\n"
DEV = "sentence\tlabel\n" + "".join(f"film {k} is {'good' if k % 2 else 'poor'} \t{k % 2}\n" for k in range(12))
REAL = os.environ.get("XBENCH_DATA")


def _write(root: Path, folder: str = "sst2", train: str = TRAIN, dev: str = DEV) -> Path:
    (root / folder).mkdir(parents=True)
    (root / folder / "train.tsv").write_text(train, encoding="utf-8")
    (root / folder / "dev.tsv").write_text(dev, encoding="utf-8")
    return root


@pytest.mark.parametrize("folder", ["sst2", "SST-2"])
def test_files_under_the_data_directory(tmp_path: Path, folder: str) -> None:
    data = SST2(data_dir=str(_write(tmp_path, folder))).load()
    train = data.train()
    assert (data.name, data.standin, data.classes) == ("sst2", False, ("negative", "positive"))
    assert train.inputs == ("it is fine", "it is bad")
    assert train.targets.tolist() == [1, 0]
    assert train.ids == ("train-0", "train-1")
    assert data.test.masks is None
    for name, text, label in zip(data.test.ids, data.test.inputs, data.test.targets.tolist(), strict=True):
        number = int(name.removeprefix("dev-"))
        assert (text, label) == (f"film {number} is {'good' if number % 2 else 'poor'}", number % 2)
    assert data.test.targets[:2].sum() == 1


def test_the_environment_names_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XBENCH_DATA", str(_write(tmp_path)))
    assert SST2().load().name == "sst2"


def test_the_fingerprint_is_of_contents_not_of_paths(tmp_path: Path) -> None:
    here = SST2(data_dir=str(_write(tmp_path / "a"))).load()
    there = SST2(data_dir=str(_write(tmp_path / "b", "SST-2"))).load()
    other = SST2(data_dir=str(_write(tmp_path / "c", train=TRAIN + "more\t1\n"))).load()
    assert here.fingerprint == there.fingerprint != other.fingerprint


def test_well_formed_files_that_are_not_glue_are_said_to_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    SST2(data_dir=str(_write(tmp_path))).load()
    assert "it is not GLUE's dev.tsv" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: expected the header"),
        (b"text\tlabel\n", "line 1: expected the header"),
        (b"sentence\tlabel\n", "line 2: no sentences"),
        (b"sentence\tlabel\ngood\t1\nbad\n", "line 3: expected 2 tab-separated columns, got 1"),
        (b"sentence\tlabel\na\tb\t1\n", "line 2: expected 2 tab-separated columns, got 3"),
        (b"sentence\tlabel\ngood\t2\n", "line 2: label must be 0 or 1, got '2'"),
        (b"sentence\tlabel\n \t1\n", "line 2: the sentence is empty"),
        (b"sentence\tlabel\ngood\t1\n\xff\xfe\t0\n", "line 3: not UTF-8"),
    ],
)
def test_a_corrupt_file_is_named_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "dev.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        parse(path)
    assert str(path) in str(caught.value)


def test_rare_line_separators_do_not_split_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "dev.tsv"
    path.write_bytes("sentence\tlabel\r\nit\u2028is\x0bgood\t1\r\n".encode())
    assert parse(path) == [("it is good", 1, None)]


def test_a_corrupt_train_file_is_found_when_it_is_read(tmp_path: Path) -> None:
    data = SST2(data_dir=str(_write(tmp_path, train="sentence\tlabel\nbad\t7\n"))).load()
    with pytest.raises(ValueError, match=r"train\.tsv, line 2"):
        data.train()


def test_auto_takes_the_standin_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    names = [SST2().load().name for _ in range(3)]
    assert names == ["sst2-standin"] * 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "sst2-standin" in caplog.text
    assert "XBENCH_DATA" in caplog.text


def test_original_refuses_the_standin_and_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        SST2(source="original", data_dir=str(tmp_path)).load()
    for part in ("train.tsv", "dev.tsv", str(tmp_path / "sst2"), "XBENCH_DATA", sst2.URL):
        assert part in str(caught.value)


def test_half_the_files_are_not_enough(tmp_path: Path) -> None:
    (_write(tmp_path) / "sst2" / "train.tsv").unlink()
    assert SST2(data_dir=str(tmp_path)).load().standin


def test_unknown_sources_are_refused() -> None:
    with pytest.raises(ValueError, match="'orginal'"):
        SST2(source="orginal")
    with pytest.raises(TypeError, match="data_dir"):
        SST2(data_dir=3)  # type: ignore[arg-type]


def _zip(monkeypatch: pytest.MonkeyPatch) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("SST-2/train.tsv", TRAIN)
        archive.writestr("SST-2/dev.tsv", DEV)
    monkeypatch.delenv("XBENCH_OFFLINE")
    return content.getvalue()


def test_a_download_is_checked_and_kept(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    content = _zip(monkeypatch)
    monkeypatch.setattr(downloads, "_fetch", lambda url: content)
    monkeypatch.setattr(sst2, "URL_SHA256", hashlib.sha256(content).hexdigest())
    assert SST2(source="original").load().name == "sst2"
    assert (cache / "data" / "sst2" / "dev.tsv").read_text() == DEV
    monkeypatch.setenv("XBENCH_OFFLINE", "1")
    assert SST2(source="original").load().name == "sst2"


def test_a_download_with_another_checksum_is_not_used(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    content = _zip(monkeypatch)
    monkeypatch.setattr(downloads, "_fetch", lambda url: content)
    with pytest.raises(FileNotFoundError, match="checksum mismatch"):
        SST2(source="original").load()
    assert SST2().load().standin
    assert not (cache / "data").exists()


def test_a_failed_download_is_remembered_except_for_who_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fetch(url: str) -> bytes:
        tried.append(url)
        raise downloads.DownloadError("no network")

    monkeypatch.delenv("XBENCH_OFFLINE")
    monkeypatch.setattr(downloads, "_fetch", fetch)
    for _ in range(3):
        assert SST2().load().standin
    assert len(tried) == 1
    with pytest.raises(FileNotFoundError, match="no network"):
        SST2(source="original").load()
    assert len(tried) == 2
    monkeypatch.setattr(downloads, "RETRY_SECONDS", -1.0)
    SST2().load()
    assert len(tried) == 3


def test_a_network_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def silent(*_: object, **__: object) -> None:
        release.wait(10)
        raise OSError("released")

    monkeypatch.setattr(downloads, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(downloads.urllib.request, "urlopen", silent)
    with pytest.raises(downloads.DownloadError, match="no answer"):
        downloads._fetch("https://example.invalid/")
    release.set()


def test_a_url_that_cannot_be_opened_says_why() -> None:
    with pytest.raises(downloads.DownloadError, match="could not download"):
        downloads._fetch(Path("/nowhere/at-all").as_uri())


def test_without_torchtext_its_data_set_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchtext", None)
    with pytest.raises(ModuleNotFoundError, match="make test-torchtext"):
        TorchtextSST2(source="standin").load()


@pytest.mark.skipif(REAL is None, reason="XBENCH_DATA is not set")
def test_the_real_files(caplog: pytest.LogCaptureFixture) -> None:
    data = SST2(source="original", data_dir=REAL).load()
    train = data.train()
    assert (len(train), len(data.test)) == (67349, 872)
    assert int(data.test.targets.sum()) == 444
    assert abs(int(data.test.targets[:32].sum()) - 16) <= 1
    assert train.targets.dtype == torch.int64
    assert caplog.text == ""
