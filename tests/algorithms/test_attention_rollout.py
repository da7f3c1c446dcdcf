"""Attention rollouts against loops from their papers, whatever way the attention is written."""

import pytest
import torch
from torch import Tensor, nn

from tests.models_for_tests import AttentionNet, ConvNet, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.core.sites import frozen
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request
from xbench.rules.attention import AttentionWeights

N, T, D, HEADS = 3, 5, 6, 2


class Layer(nn.Module):
    """Self-attention in one of the ways that models write it, and a residual step."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.attention = nn.MultiheadAttention(D, HEADS, batch_first=True)
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.form in ("module", "module without weights"):
            return x + self.attention(x, x, x, need_weights=self.form == "module")[0].tanh()
        projected = nn.functional.linear(x, self.attention.in_proj_weight, self.attention.in_proj_bias)
        q, k, v = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in projected.chunk(3, 2))
        if self.form == "fused":
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            scores = q @ k.transpose(2, 3) / (D // HEADS) ** 0.5
            kept = {
                "F.softmax": lambda: nn.functional.softmax(scores, dim=-1),
                "method": lambda: scores.softmax(3),
                "keywords": lambda: torch.softmax(input=scores, dim=3),
                "by hand": lambda: torch.softmax(scores, -1),
            }[self.form]()
            self.kept = kept
            mixed = kept @ v
        return x + self.attention.out_proj(mixed.transpose(1, 2).flatten(2)).tanh()


class Transformer(nn.Module):
    """(n, 5, 6) -> 3 classes from the first position."""

    def __init__(self, form: str, layers: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(Layer(form) for _ in range(layers)))
        self.out = nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layers(x)[:, 0])


FORMS = ["module", "module without weights", "fused", "F.softmax", "method", "keywords", "by hand"]
every_form = pytest.mark.parametrize("form", FORMS)


def net(form: str) -> nn.Module:
    return weights(Transformer(form), scale=3)


def hidden() -> Tensor:
    return numbers(N, T, D)


def by_hand(target: list[int]) -> tuple[list[Tensor], list[Tensor]]:
    """Attention weights (n, heads, T, T) of every layer, and the output's gradient by them."""
    model = net("by hand")
    value = model(hidden().requires_grad_())[torch.arange(N), torch.tensor(target)].sum()
    kept = [layer.kept for layer in model.layers]
    return [k.detach() for k in kept], list(torch.autograd.grad(value, kept))


def positions(maps: Tensor) -> Tensor:
    """Every element of a position carries its value."""
    assert torch.equal(maps, maps[..., :1].expand_as(maps))
    return maps[..., 0]


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("query", [None, -1, "mean"])
@every_form
def test_rollout_multiplies_the_layers(form, query, fusion):
    levels, _ = by_hand([0] * N)
    wanted = []
    for n in range(N):
        rolled = torch.eye(T, dtype=torch.float64)
        for level in levels:
            heads = [level[n, h] for h in range(HEADS)]
            fused = sum(heads) / HEADS if fusion == "mean" else getattr(torch, f"{fusion}imum")(*heads)
            mixed = 0.5 * fused + 0.5 * torch.eye(T, dtype=torch.float64)
            rolled = (mixed / mixed.sum(1, keepdim=True)) @ rolled
        wanted.append(rolled.mean(0) if query == "mean" else rolled[query or 0])
    maps = attribute(net(form), hidden(), a.AttentionRollout(query, fusion), target=1, layer="layers.0:input")
    torch.testing.assert_close(positions(maps), torch.stack(wanted))


@pytest.mark.parametrize("query", [None, 2, "mean"])
@every_form
def test_gradient_rollout_adds_what_raises_the_output(form, query):
    target = [0, 2, 1]
    levels, slopes = by_hand(target)
    wanted = []
    for n in range(N):
        relevance = torch.eye(T, dtype=torch.float64)
        for level, slope in zip(levels, slopes, strict=True):
            mean = sum((level[n, h] * slope[n, h]).clamp(min=0) for h in range(HEADS)) / HEADS
            relevance = relevance + mean @ relevance
        extra = relevance - torch.eye(T, dtype=torch.float64)
        wanted.append(extra.mean(0) if query == "mean" else extra[query or 0])
    maps = attribute(net(form), hidden(), a.AttentionGradientRollout(query), target=target, layer="layers.0:input")
    torch.testing.assert_close(positions(maps), torch.stack(wanted))


def test_tokens_that_are_masked_get_nothing():
    mask = (torch.arange(7) < torch.tensor([7, 4, 5])[:, None]).double()
    ids = torch.randint(1, 20, (N, 7), generator=torch.Generator().manual_seed(4))
    for method in (a.AttentionRollout(), a.AttentionGradientRollout()):
        maps = attribute(weights(AttentionNet(), scale=2), ids, method, target=1, extra=(mask,))
        assert maps.shape == (N, 7)
        assert maps[mask == 0].abs().max() == 0
        assert (maps[mask == 1] > 0).sum() > N


@pytest.mark.parametrize("method", [a.AttentionRollout, a.AttentionGradientRollout])
@pytest.mark.parametrize("layer", [None, "embedding"])
def test_of_a_decoder_the_last_token_is_explained(method, layer):
    """The first one attends to itself alone, and nobody to the padding behind the last."""

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.out = nn.Embedding(20, 4), nn.Linear(4, 3)

        def forward(self, ids: Tensor) -> Tensor:
            x = self.embedding(ids)[:, None]
            seen = (ids != 0)[:, None, None] & torch.ones(T, T, dtype=torch.bool).tril()
            seen = seen | (ids == 0).all(1)[:, None, None, None]  # torch 2.3 gives NaN for a query without keys
            x = nn.functional.scaled_dot_product_attention(x, x, x, seen)[:, 0]
            ends = (ids != 0).sum(1) - 1
            return self.out(x[torch.arange(len(x)), ends])

    model, lengths = weights(Decoder(), scale=2), [5, 3, 4]
    ids = torch.randint(1, 20, (N, T), generator=torch.Generator().manual_seed(4))
    ids = ids * (torch.arange(T) < torch.tensor(lengths)[:, None])
    maps = attribute(model, ids, method(), target=1, layer=layer)
    each = [
        attribute(model, ids[i : i + 1], method(length - 1), target=1, layer=layer) for i, length in enumerate(lengths)
    ]
    torch.testing.assert_close(maps, torch.cat(each))
    assert all(m.abs().flatten().sum() > 0 for m in maps)


def test_an_encoder_of_torch_does_not_take_its_fast_path():
    """nn.TransformerEncoderLayer in evaluation mode calls one compiled function, whose weights nobody sees."""
    layer = nn.TransformerEncoderLayer(D, HEADS, 8, batch_first=True)
    model = weights(nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)), scale=2)
    maps = attribute(model, hidden(), a.AttentionRollout(), target=(0, 1))
    torch.testing.assert_close(maps.sum((1, 2)), torch.full((N,), float(D), dtype=torch.float64))  # rows sum to 1
    assert maps.std() > 1e-3


def test_a_softmax_over_another_dimension_is_no_attention():
    class Segments(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.softmax(1).mean((2, 3))

    explainer = Explainer(Request(Segments(), numbers(N, 4, 4, 4), target=1))
    assert not explainer.places.has(AttentionWeights())
    assert "needs an attention layer" in str(explainer.missing(a.AttentionRollout()))


def test_a_single_head_without_a_dimension_for_heads():
    class Single(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x)[:, 0]

    x = hidden()
    level = (x @ x.transpose(1, 2) / D**0.5).softmax(2)
    maps = attribute(Single(), x, a.AttentionRollout(), target=2)
    torch.testing.assert_close(positions(maps), ((level + torch.eye(T)) / 2)[:, 0])


@pytest.mark.skipif(torch.__version__ < "2.5", reason="this torch has no enable_gqa")
def test_the_fused_attention_of_groups_of_heads():
    """Grouped queries: 2 heads of keys serve 4 heads of queries; a causal mask."""

    class Grouped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            q, k = x.unflatten(2, (4, -1)).transpose(1, 2), x[..., :4].unflatten(2, (2, -1)).transpose(1, 2)
            mixed = nn.functional.scaled_dot_product_attention(q, k, k, is_causal=True, enable_gqa=True)
            return mixed.transpose(1, 2).flatten(2)[:, -1]

    x = numbers(N, T, 8)
    with frozen(Grouped()), torch.no_grad(), AttentionWeights().watch(Grouped()) as seen:
        recorded = Grouped()(x)
    torch.testing.assert_close(recorded, Grouped()(x))
    (level,) = seen.tensors
    k = x[..., :4].unflatten(2, (2, -1)).transpose(1, 2).repeat_interleave(2, 1)
    scores = x.unflatten(2, (4, -1)).transpose(1, 2) @ k.transpose(2, 3) / 2**0.5
    wanted = scores.masked_fill(torch.ones(T, T).triu(1).bool(), -torch.inf).softmax(3)
    torch.testing.assert_close(level, wanted)


def test_patches_go_back_onto_their_image():
    class Vision(nn.Module):
        """(n, 1, 4, 4) -> a class token and 2x2 patches -> 2 classes."""

        def __init__(self) -> None:
            super().__init__()
            self.cut = nn.Conv2d(1, 4, 2, stride=2)
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.out = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            patches = self.cut(x).flatten(2).transpose(1, 2)
            tokens = torch.cat([patches.mean(1, keepdim=True), patches], 1)
            return self.out(self.attention(tokens, tokens, tokens)[0][:, 0])

    model, x = weights(Vision(), scale=2), numbers(N, 1, 4, 4)
    with frozen(model), torch.no_grad(), AttentionWeights().watch(model) as seen:
        model(x)
    row = (seen.tensors[0].mean(1)[:, 0] / 2)[:, 1:].reshape(N, 1, 2, 2)
    wanted = nn.functional.interpolate(row, (4, 4), mode="bilinear", align_corners=False)
    torch.testing.assert_close(attribute(model, x, a.AttentionRollout(), target=0), wanted)


def test_what_they_refuse():
    explainer = Explainer(Request(weights(ConvNet()), numbers(N, 1, 6, 6), target=1))
    assert "no attention weights" in str(explainer.missing(a.AttentionRollout()))
    with pytest.raises(ValueError, match="query: expected one of 5 positions, got 9"):
        attribute(net("fused"), hidden(), a.AttentionRollout(9), target=1)
    with pytest.raises(ValueError, match="query: expected a position or 'mean', got 'first'"):
        a.AttentionRollout("first")
    with pytest.raises(ValueError, match="head_fusion: expected one of mean, max, min, got 'sum'"):
        a.AttentionRollout(head_fusion="sum")

    class Cross(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(x[:, :2], x, x)[:, 0]

    with pytest.raises(a.NotApplicable, match="needs self-attention among the same positions in all layers"):
        attribute(Cross(), hidden(), a.AttentionRollout(), target=1)
