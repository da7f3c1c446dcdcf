"""Reference models: good enough, the same every time, cached, and out of nobody's way."""

import json
import logging
from functools import partial
from pathlib import Path

import pytest
import torch

from xbench.datasets.digits import Digits
from xbench.datasets.sst2 import SST2
from xbench.models.cnn import SmallCNN
from xbench.models.reference import Reference
from xbench.models.text_cnn import TextCNN

TINY = Reference("tiny", partial(SmallCNN, width=4), epochs=1, lr=0.01)
WORDS = Reference(
    "words",
    partial(TextCNN, dimension=24, width=24, windows=(1, 2, 3)),
    epochs=1,
    min_steps=300,
    lr=0.01,
    batch_size=128,
    mask_rate=0.1,
)


def _files(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "models").rglob("*") if path.is_file())


@pytest.mark.slow
def test_digits_are_classified(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="xbench")
    data = Digits().load()
    model = Reference("cnn", partial(SmallCNN, width=16), epochs=8, lr=0.003).load(data)
    assert model.accuracy is not None
    assert model.accuracy >= 0.97
    assert model.site is None
    with torch.no_grad():
        guess = model.module(model.encode(data, data.test).inputs[0]).argmax(dim=1)
    assert (guess == data.test.targets).double().mean() == model.accuracy
    assert "training cnn on digits (first use, about" in caplog.text
    assert f"test accuracy {model.accuracy:.4f}" in caplog.text


@pytest.mark.slow
def test_the_standin_is_classified_and_its_baseline_is_neutral() -> None:
    data = SST2(source="standin").load()
    model = WORDS.load(data)
    assert model.accuracy is not None
    assert model.accuracy >= 0.95
    assert model.site == "embedding"
    encoded = model.encode(data, data.test.subset(range(8)))
    with torch.no_grad():
        neutral = model.module(encoded.baseline[0]).softmax(dim=1)
    assert (neutral - 0.5).abs().max() < 0.35


def test_it_is_trained_once_and_the_same_every_time(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = Digits().load()
    assert TINY.fingerprint(data) is None
    first = TINY.load(data)
    files = _files(cache)
    again = TINY.load(data)
    assert TINY.fingerprint(data) == first.fingerprint == again.fingerprint
    assert first.accuracy == again.accuracy
    assert _files(cache) == files
    for path in files:
        path.unlink()
    assert TINY.load(data).fingerprint == first.fingerprint
    assert caplog.text == ""


def test_another_version_of_the_architecture_is_trained_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Digits().load()
    TINY.load(data)
    monkeypatch.setattr(TINY.architecture.func, "version", 2, raising=False)
    assert TINY.fingerprint(data) is None


def test_a_text_model_comes_back_with_its_words() -> None:
    data = SST2(source="standin").load()
    reference = Reference("t", partial(TextCNN, dimension=4, width=4), epochs=1, batch_size=512)
    first, again = reference.load(data), reference.load(data)
    one, two = (model.encode(data, data.test).inputs[0] for model in (first, again))
    assert torch.equal(one, two)
    with torch.no_grad():
        assert torch.equal(first.module(one), again.module(two))


def test_the_number_of_threads_does_not_matter_and_is_restored(cache: Path) -> None:
    data = Digits().load()
    first = TINY.load(data).fingerprint
    for path in _files(cache):
        path.unlink()
    try:
        torch.set_num_threads(2)
        assert TINY.load(data).fingerprint == first
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    data = Digits().load()
    torch.manual_seed(1)
    first = TINY.load(data).fingerprint
    state = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())
    assert Reference("tiny", TINY.architecture, epochs=1, lr=0.01, seed=1).load(data).fingerprint != first


@pytest.mark.parametrize("what", ["weights", "card", "half"])
def test_a_damaged_cache_is_set_aside_and_trained_again(
    cache: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    data = Digits().load()
    first = TINY.load(data)
    card, weights = _files(cache)
    if what == "card":
        card.write_text("{")
    else:
        content = weights.read_bytes()
        weights.write_bytes(content[: len(content) // 2] if what == "half" else b"x" + content[1:])
    assert TINY.fingerprint(data) is None
    assert TINY.load(data).fingerprint == first.fingerprint
    assert "set aside" in caplog.text
    assert any(path.suffix == ".corrupt" for path in _files(cache))
    assert TINY.fingerprint(data) == first.fingerprint


def test_every_parameter_has_its_own_cache_entry(cache: Path) -> None:
    data = Digits().load()
    folders = {
        Reference("n", partial(SmallCNN, width=4), epochs=1)._folder(data),
        Reference("m", partial(SmallCNN, width=4), epochs=1)._folder(data),
        Reference("n", partial(SmallCNN, width=5), epochs=1)._folder(data),
        Reference("n", partial(SmallCNN, width=4), epochs=2)._folder(data),
        Reference("n", partial(SmallCNN, width=4), epochs=1, seed=1)._folder(data),
    }
    assert len(folders) == 5
    lists = Reference("t", partial(TextCNN, windows=[1, 2]), epochs=1)._folder(data)
    assert lists == Reference("t", partial(TextCNN, windows=(1, 2)), epochs=1)._folder(data)


def test_the_card_says_what_was_trained(cache: Path) -> None:
    model = TINY.load(Digits().load())
    card = json.loads(_files(cache)[0].read_text())
    assert card["accuracy"] == model.accuracy
    assert card["dataset"] == "digits"
    assert card["identity"]["arguments"] == {"width": 4}


def test_a_cache_that_cannot_be_written_is_an_error_before_the_training(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file where the folder should be")
    monkeypatch.setattr(Reference, "_fit", lambda *_: pytest.fail("trained"))
    with pytest.raises(OSError, match="cannot write"):
        TINY.load(Digits().load())


def test_the_wrong_data_and_wrong_parameters_are_named() -> None:
    with pytest.raises(ValueError, match="'tiny' is for image data, but data set 'sst2-standin' is text"):
        TINY.load(SST2(source="standin").load())
    with pytest.raises(TypeError, match="_partial_: true"):
        Reference("x", torch.nn.Linear, epochs=1)
    for change in ({"epochs": 0}, {"lr": -1.0}, {"mask_rate": 1.0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=next(iter(change))):
            Reference("x", SmallCNN, **{"epochs": 1, **change})
