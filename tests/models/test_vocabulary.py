"""Words and numbers, and texts as a word model takes them."""

import pytest
import torch

from xbench.datasets.digits import Digits
from xbench.datasets.record import Split
from xbench.datasets.sst2 import SST2
from xbench.models.encoders import WordEncoder, encode_tensors
from xbench.models.training import hide_words
from xbench.models.vocabulary import MASK, PAD, SPECIAL, UNKNOWN, Vocabulary


def test_frequent_words_first_then_by_alphabet() -> None:
    texts = ["b a b", "c A b", "d"]
    assert Vocabulary.build(texts, 100, 1).words == (*SPECIAL, "b", "a", "c", "d")
    assert Vocabulary.build(texts, 100, 2).words == (*SPECIAL, "b", "a")
    assert Vocabulary.build(texts, 4, 1).words == (*SPECIAL, "b")


def test_ids_are_padded_and_unknown_words_are_one() -> None:
    words = Vocabulary.build(["good film"], 100, 1)
    ids = words.ids(["Good good", "film <pad> strange film"])
    film, good = words.words.index("film"), words.words.index("good")
    assert ids.tolist() == [[good, good, PAD, PAD], [film, UNKNOWN, UNKNOWN, film]]
    assert words.ids([""]).tolist() == [[PAD]]
    assert Vocabulary.from_json(words.to_json()) == words


def test_the_special_words_come_first() -> None:
    with pytest.raises(ValueError, match="starts with"):
        Vocabulary(("a", "b"))


def test_encoded_texts() -> None:
    data = SST2(source="standin").load()
    split = Split(("a", "b"), ("Good film", "bad"), torch.tensor([1, 0]), ((True, False), (True,)))
    encoded = WordEncoder(Vocabulary.build(split.inputs, 100, 1))(data, split)
    assert encoded.baseline[0].tolist() == [[MASK, MASK], [MASK, PAD]]
    assert encoded.features is not None
    assert encoded.features[0].tolist() == [[0, 1], [0, -1]]
    assert encoded.tokens == (("Good", "film"), ("bad", ""))
    assert encoded.masks is not None
    assert encoded.masks[0].tolist() == [[True, False], [True, False]]


def test_encoded_images() -> None:
    data = Digits().load()
    encoded = encode_tensors(data, data.test.subset(range(3)))
    assert encoded.inputs[0].shape == (3, 1, 8, 8)
    assert encoded.baseline == (data.baseline,)
    assert encoded.features == (data.features,)


def test_the_wrong_kind_of_data_is_named() -> None:
    texts, images = SST2(source="standin").load(), Digits().load()
    with pytest.raises(ValueError, match="'sst2-standin' holds texts"):
        encode_tensors(texts, texts.test)
    with pytest.raises(ValueError, match="'digits' holds images"):
        WordEncoder(Vocabulary(SPECIAL))(images, images.test)


def test_hidden_words_have_the_rate_asked_for_and_padding_stays() -> None:
    ids = torch.full((4000, 12), 7)
    ids[:, 10:] = PAD
    hidden = hide_words(ids, 0.2, torch.Generator().manual_seed(0))
    assert not hidden[:, 10:].any()
    share = (hidden[:, :10] == MASK).double().mean(dim=1)
    assert abs(float(share.mean()) - 0.2) < 0.02
    assert float((share == 0).double().mean()) > 0.3
    assert float((share > 0.8).double().mean()) > 0.02
    assert torch.equal(hide_words(ids, 0.0, torch.Generator()), ids)
