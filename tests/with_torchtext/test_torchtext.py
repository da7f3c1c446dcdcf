"""SST-2 through torchtext; runs in its environment, by `make test-torchtext`."""

import os
from pathlib import Path

import pandas as pd
import pytest
import torch
import torchtext
from torchtext.data.utils import get_tokenizer
from torchtext.vocab import build_vocab_from_iterator

from tests.jobs import Run
from xbench.config.compose import component
from xbench.datasets.record import Dataset
from xbench.datasets.sst2 import SST2
from xbench.models.torchtext_words import frequent
from xbench.models.vocabulary import SPECIAL, UNKNOWN, Vocabulary

REAL = os.environ.get("XBENCH_DATA")


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XBENCH_OFFLINE", "1")


def load(*options: str) -> Dataset:
    return component("dataset", "sst2_torchtext", options).load()


def test_this_is_the_environment_of_torchtext() -> None:
    assert torch.__version__.startswith("2.3.")
    assert torchtext.__version__.startswith("0.18.")


def test_the_sentences_are_those_of_sst2_in_tokens_of_torchtext() -> None:
    data, plain = load("source=standin"), SST2("standin").load()
    tokenize = get_tokenizer("basic_english")
    assert data.name == "sst2_torchtext-standin"
    assert data.standin
    for mine, given in ((data.test, plain.test), (data.train(), plain.train())):
        assert mine.ids == given.ids
        assert torch.equal(mine.targets, given.targets)
        assert [text.split() for text in mine.inputs] == [tokenize(text) for text in given.inputs]
        assert [len(mask) for mask in mine.masks] == [len(text.split()) for text in mine.inputs]


def test_the_vocabulary_is_that_of_torchtext() -> None:
    texts = load("source=standin").train().inputs
    words = frequent(texts, 300, 2)
    theirs = build_vocab_from_iterator(map(str.split, texts), min_freq=2, specials=list(SPECIAL), max_tokens=300)
    theirs.set_default_index(UNKNOWN)
    line = [*texts[0].split(), "never-seen"]
    assert words.ids([" ".join(line)])[0].tolist() == theirs(line)
    assert words == Vocabulary.build(texts, 300, 2)  # what the other text models use


def test_an_unknown_tokenizer_is_named() -> None:
    with pytest.raises(ValueError, match="nonesuch"):
        load("source=standin", "tokenizer=nonesuch")


def test_the_main_command(run: Run, tmp_path: Path) -> None:
    assert run("algorithm=ig,deeplift", "dataset=sst2_torchtext", "dataset.source=standin", "n=8", "name=t", "-m") == 0
    scores = pd.read_parquet(tmp_path / "reports" / "t" / "tables" / "scores.parquet")
    assert set(scores["dataset"]) == {"sst2_torchtext-standin"}
    assert set(scores["model"]) == {"text_cnn_torchtext"}
    assert {"ig", "deeplift", "random", "constant"} == set(scores["algorithm"])
    assert {"infidelity", "sensitivity_max", "completeness"} <= set(scores["metric"])
    assert scores.groupby(["algorithm", "metric"])["sample"].nunique().eq(8).all()


@pytest.mark.skipif(not REAL, reason="XBENCH_DATA names no folder with the real files")
def test_the_real_sentences() -> None:
    data = load(f"data_dir={REAL}")
    assert (data.name, len(data.test), len(data.train())) == ("sst2_torchtext", 872, 67_349)
