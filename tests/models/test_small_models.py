"""The small networks of every kind of data: trained through the door that users take, explained, refused."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from xbench import attribute
from xbench.config import component
from xbench.models.mlp import MLP
from xbench.models.sequences import M5

PAIRS = [
    ("shapes", "pooled_cnn", 4),
    ("moving_shapes", "video_cnn", 4),
    ("planted_motifs", "series_cnn", 3),
    ("planted_motifs", "series_lstm", 3),
    ("tones", "m5", 4),
    ("tones", "mel_cnn", 4),
    ("planted_linear", "mlp", 3),
    ("planted_linear", "linear", 3),
    ("diabetes", "mlp", 1),
    ("wine", "linear", 3),
]


@pytest.mark.parametrize(("dataset", "model", "outputs"), PAIRS)
def test_it_trains_is_found_again_and_deeplift_is_exact_on_it(dataset: str, model: str, outputs: int) -> None:
    made = {} if dataset in ("diabetes", "wine") else {"n=4", "train=12"}
    data = component("dataset", dataset, sorted(made)).load()
    source = component("model", model, ["epochs=1", "min_steps=1"])
    first, again = source.load(data), source.load(data)
    assert first.fingerprint == again.fingerprint == source.fingerprint(data)
    x = data.test.inputs[:2]
    with torch.no_grad():
        change = first.module(x)[:, -1] - first.module(data.baseline)[:, -1]
    assert first.module(x).shape == (2, outputs)
    maps = attribute(first.module, x, "deeplift", target=outputs - 1, baselines=data.baseline)
    torch.testing.assert_close(maps.flatten(1).sum(1), change, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("model", ["gin", "gcn"])
def test_a_graph_network_explains_nodes_and_edges_and_padding_changes_nothing(model: str) -> None:
    data = component("dataset", "ba_2motifs", ["n=2", "train=8", "base=4"]).load()
    loaded = component("model", model, ["epochs=1", "min_steps=1"]).load(data)
    encoded = loaded.encode(data, data.test)
    maps = attribute(loaded.module, encoded.inputs, "deeplift", target=1, extra=encoded.extra)
    assert [m.shape for m in maps] == [x.shape for x in encoded.inputs]
    with torch.no_grad():
        outputs = loaded.module(*encoded.inputs, *encoded.extra)
        empty = loaded.module(*(torch.zeros_like(x) for x in encoded.inputs), *encoded.extra)
        padded = loaded.module(*_padded(*encoded.inputs, *encoded.extra))
    torch.testing.assert_close(padded, outputs)
    total = sum(m.flatten(1).sum(1) for m in maps)
    torch.testing.assert_close(total, (outputs - empty)[:, 1], rtol=1e-3, atol=1e-4)


def _padded(nodes: Tensor, edges: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same graphs with three nodes more that are not there."""
    return F.pad(nodes, (0, 0, 0, 3)), F.pad(edges, (0, 3, 0, 3)), F.pad(present, (0, 3))


def test_image_and_words_are_explained_together() -> None:
    data = component("dataset", "shapes_question", ["n=3", "train=40"]).load()
    loaded = component("model", "late_fusion", ["epochs=1"]).load(data)
    encoded = loaded.encode(data, data.test)
    image, words = encoded.inputs
    assert words.is_floating_point()
    ids = component("model", "late_fusion", ["epochs=1"]).load(data)
    assert ids.fingerprint == loaded.fingerprint
    maps = attribute(loaded.module, encoded.inputs, "deeplift", target=1, baselines=encoded.baseline)
    with torch.no_grad():
        baseline = [b.expand_as(x) for b, x in zip(encoded.baseline, encoded.inputs, strict=True)]
        change = (loaded.module(image, words) - loaded.module(*baseline))[:, 1]
    total = sum(m.flatten(1).sum(1) for m in maps)
    torch.testing.assert_close(total, change, rtol=1e-3, atol=1e-4)
    seen, said = encoded.features
    assert set(seen.unique().tolist()) & set(said.unique().tolist()) == set()  # no word shares a feature with a patch


def test_padding_of_a_sentence_changes_no_answer() -> None:
    data = component("dataset", "shapes_question", ["n=3", "train=40"]).load()
    loaded = component("model", "late_fusion", ["epochs=1"]).load(data)
    image, words = loaded.encode(data, data.test).inputs
    with torch.no_grad():
        torch.testing.assert_close(loaded.module(image, F.pad(words, (0, 0, 0, 4))), loaded.module(image, words))


def test_a_table_is_standardised_inside_and_a_regression_answers_in_the_targets_unit() -> None:
    data = component("dataset", "diabetes").load()
    model = component("model", "linear").load(data)
    assert model.accuracy > 0.3  # R²
    outputs = model.module(data.test.inputs).flatten().detach()
    assert abs(float(outputs.mean()) - float(data.test.targets.mean())) < 30  # of 152
    assert isinstance(component("model", "mlp").architecture(shape=(4,), classes=2), MLP)


def test_the_wrong_kind_of_data_is_named() -> None:
    with pytest.raises(ValueError, match="'m5' is for audio data, but data set 'wine' is tabular"):
        component("model", "m5").load(component("dataset", "wine").load())
    with pytest.raises(ValueError, match="at least 1280 samples"):
        M5((1, 400), 2)


def test_the_mel_scale_follows_the_rate_of_the_data() -> None:
    data = component("dataset", "tones", ["n=2", "train=6", "rate=5000"]).load()
    assert component("model", "mel_cnn", ["epochs=1"]).load(data).module.spectrogram.sample_rate == 5000
    chosen = component("model", "mel_cnn", ["epochs=1", "architecture.rate=4000"]).load(data)
    assert chosen.module.spectrogram.sample_rate == 4000
