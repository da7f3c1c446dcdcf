"""The small networks of every kind of data: trained through the door that users take, explained, refused."""

import pytest
import torch

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
