"""The user's own model: built late, weights checked, failures told from accuracy."""

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from xbench.datasets.digits import Digits
from xbench.datasets.sst2 import SST2
from xbench.models.cnn import SmallCNN
from xbench.models.custom import Custom
from xbench.models.encoders import WordEncoder
from xbench.models.text_cnn import TextCNN
from xbench.models.vocabulary import Vocabulary

BUILD = partial(SmallCNN, shape=(1, 8, 8), classes=10, width=4)


class Broken(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("only for batches of one")


class NotANumber(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :10] * float("nan")


def _weights(path: Path) -> str:
    with torch.random.fork_rng(devices=[]):
        save_file(BUILD().state_dict(), path)
    return str(path)


def test_weights_from_a_file(tmp_path: Path) -> None:
    data = Digits().load()
    weights = _weights(tmp_path / "w.safetensors")
    model, again = Custom(BUILD, weights).load(data), Custom(BUILD, weights, seed=5).load(data)
    assert model.fingerprint == again.fingerprint
    assert model.accuracy is not None
    assert not model.module.training
    assert Custom(BUILD, weights).fingerprint(data) is None


def test_an_unfit_file_names_keys_and_shapes(tmp_path: Path) -> None:
    weights = _weights(tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"w\.safetensors does not fit SmallCNN: wrong shape features\.0\.weight"):
        Custom(partial(BUILD, width=8), weights).load(Digits().load())
    with pytest.raises(ValueError, match=r"missing weight; unexpected classifier"):
        Custom(partial(nn.Linear, 1, 1, bias=False), weights).load(Digits().load())


def test_without_weights_it_is_as_built_from_the_seed(caplog: pytest.LogCaptureFixture) -> None:
    data = Digits().load()
    state = torch.get_rng_state()
    one, two, three = (Custom(BUILD, seed=seed).load(data).fingerprint for seed in (0, 0, 1))
    assert one == two != three
    assert torch.equal(state, torch.get_rng_state())
    assert "no weights file" in caplog.text


def test_normalisation_by_channel() -> None:
    data = Digits().load()
    module = Custom(partial(nn.Conv2d, 1, 1, 1), mean=(0.5,), std=(0.25,)).load(data).module
    plain = module.network(torch.full((1, 1, 2, 2), 2.0))
    torch.testing.assert_close(module(torch.ones(1, 1, 2, 2)), plain)


def test_the_site_is_found_behind_the_normalisation() -> None:
    model = Custom(BUILD, mean=(0.5,), std=(0.5,), site="features.0").load(Digits().load())
    assert model.site == "network.features.0"


def test_texts_need_an_encoder() -> None:
    data = SST2(source="standin").load()
    words = Vocabulary.build(data.train().inputs, 1000, 1)
    build = partial(TextCNN, vocabulary=len(words.words), classes=2, dimension=4, width=4)
    with pytest.raises(ValueError, match="needs `encode`"):
        Custom(build).load(data)
    model = Custom(build, site="embedding", encode=WordEncoder(words)).load(data)
    assert model.encode(data, data.test.subset([0])).tokens is not None
    assert model.accuracy is not None


@pytest.mark.parametrize(
    ("module", "reason"),
    [(Broken, "only for batches of one"), (NotANumber, "NaN"), (nn.Flatten, "outputs (64,)")],
)
def test_a_model_that_fails_still_loads_with_its_accuracy_unknown(
    module: type[nn.Module], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert Custom(module).load(Digits().load()).accuracy is None
    assert reason in caplog.text


def test_bad_arguments_are_named() -> None:
    with pytest.raises(TypeError, match="_partial_"):
        Custom(nn.Linear(1, 1))
    with pytest.raises(TypeError, match="built a dict, not an nn.Module"):
        Custom(dict).load(Digits().load())
    with pytest.raises(ValueError, match="mean and std go together"):
        Custom(BUILD, mean=(0.5,))
    with pytest.raises(ValueError, match="std must be > 0"):
        Custom(BUILD, mean=(0.5,), std=(0.0,))
    with pytest.raises(TypeError, match="encode must be"):
        Custom(BUILD, encode="words")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no submodule 'nowhere'"):
        Custom(BUILD, site="nowhere").load(Digits().load())
