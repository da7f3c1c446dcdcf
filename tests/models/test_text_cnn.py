"""The text network: no result depends on padding, with the model's own vectors or injected ones."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from xbench.models.text_cnn import TextCNN
from xbench.models.vocabulary import PAD


def _network() -> TextCNN:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return TextCNN(vocabulary=30, classes=3, dimension=6, width=5, windows=(1, 2, 4)).double().eval()


def _sentences() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(1, 30, (1, length), generator=generator) for length in (1, 2, 3, 5, 9)]


def _padded(ids: Tensor, width: int) -> Tensor:
    return torch.cat([ids, torch.full((1, width - ids.shape[1]), PAD)], dim=1)


@contextmanager
def _injected(network: TextCNN, vectors: Tensor) -> Iterator[None]:
    handle = network.embedding.register_forward_hook(lambda *_: vectors)
    try:
        yield
    finally:
        handle.remove()


def test_padding_changes_nothing() -> None:
    network, sentences = _network(), _sentences()
    batch = torch.cat([_padded(ids, 12) for ids in sentences])
    alone = torch.cat([network(ids) for ids in sentences])
    torch.testing.assert_close(network(batch), alone, rtol=1e-13, atol=1e-13)


def test_padding_changes_nothing_when_vectors_are_injected() -> None:
    network, generator = _network(), torch.Generator().manual_seed(2)
    for ids in _sentences():
        vectors = torch.randn(1, ids.shape[1], 6, generator=generator, dtype=torch.float64)
        with _injected(network, vectors):
            alone = network(ids)
        # Whatever is put at padded positions, by noise for example, must not count.
        noise = torch.randn(1, 12 - ids.shape[1], 6, generator=generator, dtype=torch.float64)
        with _injected(network, torch.cat([vectors, noise], dim=1)):
            torch.testing.assert_close(network(_padded(ids, 12)), alone, rtol=1e-13, atol=1e-13)


def test_padded_positions_have_zero_gradient() -> None:
    network, ids = _network(), _padded(_sentences()[2], 8)
    vectors = network.embedding(ids).detach().requires_grad_()
    with _injected(network, vectors):
        (gradient,) = torch.autograd.grad(network(ids)[0, 1], vectors)
    assert gradient[0, :3].abs().sum() > 0
    assert not gradient[0, 3:].any()


def test_it_is_the_formula_of_the_paper() -> None:
    network, ids = _network(), _sentences()[3]
    words, windows = network.embedding(ids)[0], (1, 2, 4)
    pooled = []
    for window, convolution in zip(windows, network.convolutions, strict=True):
        rows = torch.cat([words, torch.zeros(window - 1, 6, dtype=torch.float64)])
        starts = [
            torch.einsum("odk,kd->o", convolution.weight, rows[start : start + window]) + convolution.bias
            for start in range(len(words))
        ]
        pooled.append(torch.stack(starts).relu().amax(dim=0))
    torch.testing.assert_close(network(ids)[0], network.classifier(torch.cat(pooled)))


def test_a_sentence_of_padding_only_gives_the_bias() -> None:
    network = _network()
    assert torch.equal(network(torch.full((1, 4), PAD))[0], network.classifier.bias)


@pytest.mark.parametrize("windows", [(), (0, 1)])
def test_windows_are_checked(windows: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="lengths >= 1"):
        TextCNN(5, 2, windows=windows)
