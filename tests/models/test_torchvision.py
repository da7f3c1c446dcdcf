"""Models of torchvision: small grey images fit, normalisation is inside, weights are found or asked for."""

import hashlib
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from xbench import attribute
from xbench.config.compose import component
from xbench.datasets.digits import Digits
from xbench.datasets.download import DownloadError
from xbench.datasets.sst2 import SST2
from xbench.models import torchvision as ours
from xbench.models.torchvision import ImageNetInput, Preprocessing, Torchvision


def test_grey_small_images_go_through(caplog: pytest.LogCaptureFixture) -> None:
    data = Digits().load()
    source = Torchvision("squeezenet1_1")
    model = source.load(data)
    (images,) = model.encode(data, data.test.subset(range(2))).inputs
    with torch.no_grad():
        assert model.module(images).shape == (2, 10)
    assert model.name == "squeezenet1_1"
    assert model.accuracy is None
    assert model.fingerprint == source.fingerprint(data)
    assert "RANDOM" in caplog.text


def test_the_seed_decides_random_weights_and_the_global_generator_does_not() -> None:
    data = Digits().load()
    torch.manual_seed(1)
    first = Torchvision("squeezenet1_1").load(data)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second, third = Torchvision("squeezenet1_1").load(data), Torchvision("squeezenet1_1", seed=1).load(data)
    assert torch.equal(state, torch.get_rng_state())
    one, two, three = (next(model.module.parameters()) for model in (first, second, third))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    assert first.fingerprint == second.fingerprint != third.fingerprint


def test_the_input_is_resized_and_normalised_inside() -> None:
    wrapper = ImageNetInput(torch.nn.Identity(), Preprocessing(4, (0.5, 0.5, 0.5), (0.25, 0.5, 1.0)))
    given = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2)
    found = wrapper(given)
    assert found.shape == (2, 3, 4, 4)
    assert found[0, :, 0, 0].tolist() == [-2.0, -1.0, -0.5]
    assert found[1, :, 3, 3].tolist() == [2.0, 1.0, 0.5]
    kept = ImageNetInput(torch.nn.Identity(), Preprocessing(None))(torch.zeros(1, 3, 5, 5))
    torch.testing.assert_close(kept[0, :, 0, 0], torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]))


def test_weights_from_a_file_decide_the_accuracy(tmp_path: Path) -> None:
    data = Digits().load()
    with torch.random.fork_rng(devices=[]):
        network = torchvision.models.squeezenet1_1(num_classes=10)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    source = Torchvision("squeezenet1_1", weights=str(tmp_path / "w.safetensors"), size=32)
    model = source.load(data)
    assert model.accuracy is not None
    assert 0.0 <= model.accuracy <= 0.5
    assert model.fingerprint == source.fingerprint(data)
    moved = tmp_path / "moved.safetensors"
    (tmp_path / "w.safetensors").rename(moved)
    assert Torchvision("squeezenet1_1", weights=str(moved), size=32).fingerprint(data) == model.fingerprint


def test_unfit_and_missing_weights_are_named(tmp_path: Path) -> None:
    data = Digits().load()
    with torch.random.fork_rng(devices=[]):
        state = torchvision.models.squeezenet1_1(num_classes=7).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"model\.classes=10.*wrong shape classifier"):
        Torchvision("squeezenet1_1", weights=str(tmp_path / "w.safetensors")).load(data)
    absent = Torchvision("squeezenet1_1", weights=str(tmp_path / "none.pt"))
    assert absent.fingerprint(data) is None
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        absent.load(data)


def test_weights_that_cannot_be_downloaded_say_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    source = Torchvision("squeezenet1_1", weights="DEFAULT")
    with pytest.raises(FileNotFoundError) as caught:
        source.load(Digits().load())
    assert isinstance(caught.value.__cause__, DownloadError)
    assert str(tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth") in str(caught.value)


def test_imagenet_weights_have_1000_outputs_and_no_accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with torch.random.fork_rng(devices=[]):
        state = torchvision.models.squeezenet1_1().state_dict()
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(state, tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth")
    data, source = Digits().load(), Torchvision("squeezenet1_1", weights="IMAGENET1K_V1")
    model = source.load(data)
    with torch.no_grad():
        assert model.module(data.test.inputs[:1]).shape == (1, 1000)
    assert model.accuracy is None


def test_a_published_file_that_was_replaced_is_known_by_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    data, source = Digits().load(), Torchvision("squeezenet1_1", weights="IMAGENET1K_V1")
    path = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    published = source.fingerprint(data)  # before it is there: the name is a checksum
    path.parent.mkdir(parents=True)
    path.write_bytes(b"1")
    first = source.fingerprint(data)
    path.write_bytes(b"2")
    assert len({published, first, source.fingerprint(data)}) == 3
    monkeypatch.setattr(ours, "_checksum", lambda url: hashlib.sha256(b"2").hexdigest()[:8])
    assert source.fingerprint(data) == published


def test_every_torchvision_checkpoint_name_carries_a_checksum() -> None:
    for name in torchvision.models.list_models(module=torchvision.models):
        url = torchvision.models.get_model_weights(name).DEFAULT.url
        checksum = ours._checksum(url)
        assert len(checksum) >= 8, url
        int(checksum, 16)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"'resnet81'; nearest: resnet"):
        Torchvision("resnet81")
    with pytest.raises(ValueError, match=r"null, IMAGENET1K_V1, DEFAULT or a file, got 'IMAGENET'"):
        Torchvision("squeezenet1_1", weights="IMAGENET")
    with pytest.raises(ValueError, match="classes must be >= 1"):
        Torchvision(classes=0)
    with pytest.raises(ValueError, match="size must be >= 0"):
        Torchvision(size=-1)
    with pytest.raises(ValueError, match="'sst2-standin' holds texts"):
        Torchvision().load(SST2(source="standin").load())


@pytest.mark.slow
def test_clips_go_to_a_network_for_clips() -> None:
    data = component("dataset", "moving_shapes", ["n=2", "train=2", "frames=4"]).load()
    model = component("model", "torchvision", ["arch=r3d_18", "size=32"]).load(data)
    with torch.no_grad():
        assert model.module(data.test.inputs).shape == (2, 4)
    maps = attribute(model.module, data.test.inputs, "saliency", target=0)
    assert maps.shape == data.test.inputs.shape
    with pytest.raises(ValueError, match="'r3d_18' takes clips of 1 or 3 channels"):
        component("model", "torchvision", ["arch=r3d_18"]).load(component("dataset", "digits").load())
