"""`features=` and `baseline=`: every name on every kind of data, and what is said where it does not fit."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from xbench.config.compose import component
from xbench.datasets.record import Dataset
from xbench.inputs.baselines import choose_baseline
from xbench.inputs.features import regroup
from xbench.models.encoders import FusionEncoder, WordEncoder, encode_tensors
from xbench.models.record import Encoded
from xbench.models.vocabulary import MASK, PAD, Vocabulary


def load(name: str, n: int = 3) -> tuple[Dataset, Encoded]:
    """Some samples as a model takes them."""
    made = {"digits": [], "wine": [], "sst2": ["source=standin"]}.get(name, ["n=3", "train=20"])
    data = component("dataset", name, made).load()
    return data, _encode(data)(data, data.test.subset(range(n)))


def _encode(data: Dataset) -> object:
    if data.modality not in ("text", "multimodal"):
        return encode_tensors
    texts = data.test.inputs if data.modality == "text" else data.test.inputs["text"]
    vocabulary = Vocabulary.build(texts, 500, 1)
    if data.modality == "text":
        return WordEncoder(vocabulary)
    return FusionEncoder(vocabulary, torch.nn.Embedding(len(vocabulary.words), 5))


def counts(made: tuple[Tensor, ...]) -> list[int]:
    """How many features each part has, over all samples."""
    return [len(part[part >= 0].unique()) for part in made]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "features", "expected"),
    [
        ("digits", "pixels", [64]),
        ("digits", "patches", [64]),
        ("shapes", "pixels", [1024]),
        ("shapes", "patches", [64]),
        ("moving_shapes", "frames", [8]),
        ("moving_shapes", "pixels", [8 * 24 * 24]),
        ("moving_shapes", "tubes", [4 * 36]),
        ("tones", "windows", [32]),
        ("tones", "samples", [4000]),
        ("planted_motifs", "channels", [2]),
        ("planted_motifs", "windows", [64]),
        ("planted_motifs", "samples", [256]),
        ("wine", "columns", [13]),
        ("wine", "groups", [13]),
        ("ba_2motifs", "nodes", [25, 0]),
    ],
)
def test_there_are_as_many_features_as_the_name_says(name: str, features: str, expected: list[int]) -> None:
    data, encoded = load(name)
    made = regroup(features, data, encoded)
    assert counts(made) == expected
    for part, tensor in zip(made, encoded.inputs, strict=True):
        assert part.dtype == torch.int64
        assert part.shape[1:] == tensor.shape[1:]
        assert len(part) in (1, len(tensor))


def test_edges_are_one_feature_in_both_directions_and_nodes_none() -> None:
    data, encoded = load("ba_2motifs")
    nodes, edges = regroup("edges", data, encoded)
    assert (nodes == -1).all()
    assert [len(graph[graph >= 0].unique()) for graph in edges] == (encoded.inputs[1].sum((1, 2)) / 2).tolist()


def test_superpixels_follow_each_image() -> None:
    data, encoded = load("shapes")
    (made,) = regroup("superpixels", data, encoded)
    assert made.shape == encoded.inputs[0].shape
    assert (made[:, 0] == made[:, 1]).all()  # all channels of a pixel
    assert not torch.equal(made[0], made[1])
    for image in made:
        assert sorted(image.unique().tolist()) == list(range(int(image.max()) + 1))
        assert image.max() > 10


def test_tokens_words_and_sentences_leave_padding_out() -> None:
    data, encoded = load("sst2", n=6)
    own = encoded.features[0]
    for kind in ("tokens", "words", "sentences"):
        (made,) = regroup(kind, data, encoded)
        assert torch.equal(made < 0, own < 0)
    two = data.test.subset([0])
    text = ("it is dull . but the end is great !",)
    split = type(two)(two.ids, text, two.targets)
    encoded = WordEncoder(Vocabulary.build(text, 50, 1))(data, split)
    assert regroup("sentences", data, encoded)[0].tolist() == [[0, 0, 0, 0, 1, 1, 1, 1, 1, 1]]


@pytest.mark.parametrize("features", ["pixels", "patches", "superpixels"])
def test_words_keep_their_own_features_behind_those_of_the_image(features: str) -> None:
    data, encoded = load("shapes_question")
    image, words = regroup(features, data, encoded)
    assert not set(image.unique().tolist()) & set(words[words >= 0].tolist())
    assert torch.equal(words < 0, encoded.features[1] < 0)


def test_a_name_that_does_not_fit_is_answered_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="image data have pixels, patches, superpixels, not 'words'"):
        regroup("words", *load("digits"))


def choose(name: str, data: Dataset, encoded: Encoded, seed: int = 0) -> tuple:
    model = SimpleNamespace(encode=_encode(data))
    return choose_baseline(name, data, model, encoded, data.test.ids[: len(encoded)], seed)


NUMBERS = ("digits", "shapes", "moving_shapes", "tones", "planted_motifs", "wine", "ba_2motifs")


@pytest.mark.slow
@pytest.mark.parametrize("dataset", NUMBERS)
@pytest.mark.parametrize("name", ["zero", "mean", "blur", "noise", "uniform", "train"])
def test_every_baseline_fits_every_kind_of_numbers(dataset: str, name: str) -> None:
    data, encoded = load(dataset)
    if name == "blur" and data.modality in ("tabular", "graph"):
        with pytest.raises(ValueError, match="baseline=blur is for audio, image, .* no neighbours to blur over"):
            choose(name, data, encoded)
        return
    made, several = choose(name, data, encoded)
    again, _ = choose(name, data, encoded)
    for one, same, tensor in zip(made, again, encoded.inputs, strict=True):
        assert one.shape[1:] == tensor.shape[1:]
        assert len(one) in (1, len(tensor))
        assert one.isfinite().all()
        assert torch.equal(one, same)
    assert (several is not None) == (name == "train")
    if name in ("noise", "uniform"):
        other, _ = choose(name, data, encoded, seed=1)
        assert not all(torch.equal(one, another) for one, another in zip(made, other, strict=True))


def test_a_blurred_image_is_without_its_words() -> None:
    data, encoded = load("shapes_question")
    (image, words), _ = choose("blur", data, encoded)
    assert image.shape == encoded.inputs[0].shape
    assert not words.any()


def test_a_blur_keeps_the_mean_and_takes_the_detail() -> None:
    data, encoded = load("shapes")
    x = encoded.inputs[0]
    (blurred,), _ = choose("blur", data, encoded)
    torch.testing.assert_close(blurred.mean((1, 2, 3)), x.mean((1, 2, 3)), rtol=0.05, atol=0.02)
    assert blurred.diff(dim=3).abs().mean() < 0.3 * x.diff(dim=3).abs().mean()
    flat = Encoded((torch.full((1, 3, 8, 8), 0.7),), (torch.zeros(1, 3, 8, 8),))
    torch.testing.assert_close(choose("blur", data, flat)[0][0], flat.inputs[0])


def test_training_samples_are_a_distribution_for_methods_that_average() -> None:
    data, encoded = load("wine")
    (own,), (several,) = choose("train", data, encoded)
    train = data.train().inputs
    assert several.shape == (16, 13)
    for row in (*own, *several):
        assert (train == row).all(1).any()


def test_words_are_replaced_by_the_mask_or_padding_token() -> None:
    data, encoded = load("sst2")
    words = encoded.features[0] >= 0
    for name, number in (("mask", MASK), ("pad", PAD)):
        (made,), _ = choose(name, data, encoded)
        assert (made[words] == number).all()
        assert torch.equal(made[~words], encoded.inputs[0][~words])
    with pytest.raises(ValueError, match="it takes mask or pad"):
        choose("blur", data, encoded)
    with pytest.raises(ValueError, match="baseline=mask is for tokens"):
        choose("mask", *load("digits"))


def test_a_file_of_one_sample(tmp_path: Path) -> None:
    data, encoded = load("digits")
    values = np.random.default_rng(0).random((1, 8, 8))
    np.save(tmp_path / "mine.npy", values)
    (made,), _ = choose(str(tmp_path / "mine.npy"), data, encoded)
    np.testing.assert_allclose(made[0].numpy(), values, rtol=1e-6)
    np.save(tmp_path / "wrong.npy", np.zeros((1, 9, 9)))
    (tmp_path / "torn.npy").write_bytes(b"x")
    for file, message in (
        ("wrong", r"shape \(1, 9, 9\) does not fit"),
        ("torn", "cannot be read"),
    ):
        with pytest.raises(ValueError, match=message):
            choose(str(tmp_path / f"{file}.npy"), data, encoded)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        choose(str(tmp_path / "no.npy"), data, encoded)
