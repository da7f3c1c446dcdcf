"""Models of transformers, from a folder written here: a BERT of a few thousand parameters."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from xbench.datasets.digits import Digits
from xbench.datasets.record import Split
from xbench.datasets.sst2 import SST2
from xbench.models.accuracy import predict
from xbench.models.transformers import Transformers

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, "a", "film", "bad", "mov", "##ing", ".", "not", "rare", "##ly"]
TEXTS = Split(
    ("a", "b"),
    ("a moving film .", "not rarely bad"),
    torch.tensor([1, 0]),
    ((False, True, False, False), (True,) * 3),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert")
    (path / "vocab.txt").write_text("\n".join(WORDS))
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        BertForSequenceClassification(config).save_pretrained(path)
    BertTokenizerFast.from_pretrained(path).save_pretrained(path)
    return path


def test_a_local_folder(folder: Path) -> None:
    data = SST2(source="standin").load()
    source = Transformers(str(folder))
    model = source.load(data)
    assert model.name == folder.name
    assert model.output == "logits"
    assert model.site is not None
    assert model.module.get_submodule(model.site) is model.module.network.get_input_embeddings()
    assert model.fingerprint == source.fingerprint(data)
    assert model.accuracy is not None
    assert model.accuracy == source.load(data).accuracy


def test_tokens_features_and_masks_by_word(folder: Path) -> None:
    data = SST2(source="standin").load()
    encoded = Transformers(str(folder)).load(data).encode(data, TEXTS)
    assert encoded.tokens == (
        ("[CLS]", "a", "mov", "##ing", "film", ".", "[SEP]"),
        ("[CLS]", "not", "rare", "##ly", "bad", "[SEP]", ""),
    )
    assert encoded.features is not None
    assert encoded.features[0].tolist() == [[-1, 0, 1, 1, 2, 3, -1], [-1, 0, 1, 1, 2, -1, -1]]
    assert encoded.masks is not None
    assert encoded.masks[0].int().tolist() == [[0, 0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 0, 0]]
    mask, cls, sep = (WORDS.index(word) for word in ("[MASK]", "[CLS]", "[SEP]"))
    assert encoded.baseline[0].tolist() == [[cls, *[mask] * 5, sep], [cls, *[mask] * 4, sep, 0]]
    (attention,) = encoded.extra
    assert isinstance(attention, torch.Tensor)
    assert attention.sum(dim=1).tolist() == [7, 6]


def test_features_by_token(folder: Path) -> None:
    data = SST2(source="standin").load()
    encoded = Transformers(str(folder), group="token").load(data).encode(data, TEXTS)
    assert encoded.features is not None
    assert encoded.features[0].tolist() == [[-1, 0, 1, 2, 3, 4, -1], [-1, 0, 1, 2, 3, -1, -1]]


def test_a_text_longer_than_the_model_takes_is_cut_with_one_warning_or_stops(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = SST2(source="standin").load()
    model = Transformers(str(folder), max_length=6).load(data)
    encode = Transformers(str(folder), max_length=6).load(data).encode
    caplog.clear()
    for _ in range(2):
        assert encode(replace(data, name="other"), TEXTS).inputs[0].shape == (2, 6)
    assert caplog.text.count("other: a has more than the 6 tokens this model takes") == 1
    assert encode(replace(data, name="other"), TEXTS.subset([1])).inputs[0].shape == (1, 6)  # it just fits
    with pytest.raises(ValueError, match="a has more than the 6 tokens this model takes; model.too_long=cut"):
        Transformers(str(folder), max_length=6, too_long="stop").load(data).encode(data, TEXTS)
    assert model.fingerprint == Transformers(str(folder), max_length=6, too_long="stop").fingerprint(data)
    with pytest.raises(ValueError, match="too_long must be 'cut' or 'stop'"):
        Transformers(str(folder), too_long="wrap")


def test_padding_changes_nothing(folder: Path) -> None:
    data = SST2(source="standin").load()
    model = Transformers(str(folder)).load(data)
    module = model.module.double()
    together = predict(module, model.encode(data, TEXTS), "logits")
    alone = torch.cat([predict(module, model.encode(data, TEXTS.subset([i])), "logits") for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_long_texts_are_cut(folder: Path) -> None:
    data = SST2(source="standin").load()
    encoded = Transformers(str(folder), max_length=4).load(data).encode(data, TEXTS)
    assert encoded.inputs[0].shape == (2, 4)
    assert encoded.features is not None
    assert encoded.features[0].tolist() == [[-1, 0, 1, -1], [-1, 0, 1, -1]]


def test_the_fingerprint_is_of_the_files(folder: Path, tmp_path: Path) -> None:
    data = SST2(source="standin").load()
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert Transformers(str(copy)).fingerprint(data) == Transformers(str(folder)).fingerprint(data)
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert Transformers(str(copy)).fingerprint(data) != Transformers(str(folder)).fingerprint(data)


def test_a_name_that_is_nowhere_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    data = SST2(source="standin").load()
    source = Transformers("nobody/no-such-model")
    assert source.fingerprint(data) is None
    with pytest.raises(FileNotFoundError, match="hf download nobody/no-such-model"):
        source.load(data)
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        Transformers(str(tmp_path)).load(data)


def test_bad_arguments_are_named(folder: Path) -> None:
    with pytest.raises(ValueError, match="group must be"):
        Transformers("x", group="sentence")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_length"):
        Transformers("x", max_length=2)
    with pytest.raises(ValueError, match="name must be"):
        Transformers("")
    with pytest.raises(ValueError, match="'digits' holds images"):
        Transformers(str(folder)).load(Digits().load())
