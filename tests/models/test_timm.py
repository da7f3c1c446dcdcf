"""Models of timm: small grey images fit, the seed decides, weights are found or asked for."""

import re
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from xbench import attribute
from xbench.datasets.digits import Digits
from xbench.datasets.sst2 import SST2
from xbench.models.timm import Timm

ARCH = "test_resnet"  # timm's own, a tiny one


def test_grey_small_images_go_through(caplog: pytest.LogCaptureFixture) -> None:
    data = Digits().load()
    source = Timm(ARCH)
    model = source.load(data)
    (images,) = model.encode(data, data.test.subset(range(2))).inputs
    maps = attribute(model.module, images, "deeplift", target=3)
    assert maps.shape == (2, 1, 8, 8)
    with torch.no_grad():
        change = (model.module(images) - model.module(torch.zeros_like(images)))[:, 3]
    torch.testing.assert_close(maps.flatten(1).sum(1), change, rtol=1e-3, atol=1e-5)
    assert (model.name, model.accuracy) == (ARCH, None)
    assert model.fingerprint == source.fingerprint(data) == Timm(ARCH).load(data).fingerprint
    assert model.fingerprint != Timm(ARCH, seed=1).fingerprint(data)
    assert "RANDOM" in caplog.text


def test_weights_from_a_file_decide_the_accuracy(tmp_path: Path) -> None:
    data, file = Digits().load(), tmp_path / "w.safetensors"
    save_file(timm.create_model(ARCH, num_classes=10).state_dict(), file)
    model = Timm(ARCH, weights=str(file), size=32).load(data)
    assert 0 <= model.accuracy < 0.6
    assert Timm(ARCH, weights=str(tmp_path / "gone")).fingerprint(data) is None
    with pytest.raises(ValueError, match="model.classes=7"):
        Timm(ARCH, weights=str(file), classes=7).load(data)


def test_published_weights_that_cannot_be_had_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(FileNotFoundError, match=f"hf download timm/{ARCH}.*no network|no network.*hf download timm"):
        Timm(ARCH, weights="DEFAULT").load(Digits().load())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"arch": "resnt18"}, "no classifier 'resnt18'; nearest: resnet18"),
        ({"classes": 0}, "classes must be >= 1"),
        ({"size": -1}, "size must be >= 0"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Timm(**wrong)


def test_texts_and_a_missing_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="takes images of 1 or 3 channels"):
        Timm(ARCH).load(SST2("standin").load())
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModuleNotFoundError, match=re.escape("pip install 'xbench[timm]'")):
        Timm(ARCH)
