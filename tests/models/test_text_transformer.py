"""A small transformer for sentences: padding says nothing, and the methods of attention explain it."""

import pytest
import torch
from torch import Tensor

from xbench import attribute
from xbench.config.compose import component
from xbench.models.record import Model
from xbench.models.text_transformer import TextTransformer
from xbench.models.vocabulary import MASK


@pytest.fixture(scope="module")
def net() -> TextTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TextTransformer(30, 3, dimension=16, heads=2, longest=12).double().eval()


IDS = torch.tensor([[5, 9, 4, 7], [8, 3, 0, 0], [0, 0, 0, 0]])


def test_padding_changes_nothing_also_behind_a_hook(net: TextTransformer) -> None:
    longer = torch.nn.functional.pad(IDS, (0, 3))
    torch.testing.assert_close(net(longer), net(IDS), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(net(IDS[1:2, :2]), net(IDS)[1:2], rtol=1e-12, atol=1e-12)
    assert torch.isfinite(net(IDS)).all()  # also of a sentence without words
    handle = net.embedding.register_forward_hook(lambda module, ids, vectors: torch.full_like(vectors, 0.5))
    try:
        torch.testing.assert_close(net(longer), net(IDS), rtol=1e-12, atol=1e-12)
    finally:
        handle.remove()


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ig", "deeplift", "attnlrp", "cp_lrp", "attention_rollout"])
def test_methods_reach_the_words(algorithm: str, net: TextTransformer) -> None:
    ids, base = IDS[:2], torch.where(IDS[:2] > 0, MASK, 0)
    given = {"target": 1, "layer": "embedding", "baselines": base}
    maps: Tensor = attribute(net, ids, component("algorithm", algorithm), **given)
    per_word = maps.flatten(2).sum(2) if maps.dim() > 2 else maps
    assert per_word[0].any()
    assert (per_word[1, 2:].abs() < 1e-9).all()  # padding
    if algorithm in ("ig", "deeplift"):
        with torch.no_grad():
            change = (net(ids) - net(base))[:, 1]
        torch.testing.assert_close(per_word.sum(1), change, rtol=0.05, atol=1e-3)


@pytest.mark.slow
def test_it_is_trained_and_found_again() -> None:
    data = component("dataset", "sst2", ["source=standin"]).load()
    source = component("model", "text_transformer", ["epochs=1", "min_steps=1", "max_steps=1"])
    model: Model = source.load(data)
    assert model.site == "embedding"
    assert model.fingerprint == source.fingerprint(data)
    assert model.encode(data, data.test.subset([0, 1])).called == "words"
