"""AttnLRP and CP-LRP: attention and normalisation against slow references written from the papers."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from tests.models_for_tests import numbers, weights
from tests.rules.lrp.test_operations import TINY, close, relevance
from tests.rules.models import bert
from xbench.rules import lrp


class _Attention(nn.Module):
    """One head, written out, (n, 4, 3) -> (n, 3): the output of the first token."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(3, 3, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return (((self.q(x) @ self.k(x).mT) / 3**0.5).softmax(-1) @ self.v(x))[:, 0]


class _Fused(_Attention):
    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))[:, 0]


@pytest.mark.parametrize("causal", [False, True])
def test_tokens_out_of_sight_have_no_relevance(causal: bool) -> None:
    def function(x: Tensor) -> Tensor:
        visible = None if causal else torch.tensor([[True, True, False, False]]).expand(4, 4)
        return F.scaled_dot_product_attention(x, x, x, visible, is_causal=causal)[:, 1].sum(1)

    maps = relevance(function, numbers(2, 4, 3), lrp.attn_lrp())
    assert maps[:, 2:].abs().max() == 0
    assert maps[:, :2].abs().min() > 0


def _slow_attention(model: _Attention, x: Tensor, target: int) -> Tensor:
    """AttnLRP, equations 8, 13 and 14 of the paper, element by element for one sample (4, 3)."""
    q, k, v = (layer(x) for layer in (model.q, model.k, model.v))
    scores = q @ k.T
    a = (scores / 3**0.5).softmax(-1)
    o = a @ v
    tokens, width = x.shape
    from_output = torch.zeros_like(o)
    from_output[0, target] = o[0, target]
    to_a, to_v, to_q, to_k = (torch.zeros_like(t) for t in (a, v, q, k))
    for j in range(tokens):
        for i in range(tokens):
            for p in range(width):
                share = a[j, i] * v[i, p] * from_output[j, p] / (2 * o[j, p])
                to_a[j, i] += share
                to_v[i, p] += share
    to_scores = torch.zeros_like(a)
    for j in range(tokens):
        for i in range(tokens):
            to_scores[j, i] = scores[j, i] / 3**0.5 * (to_a[j, i] - a[j, i] * to_a[j].sum())
            for p in range(width):
                share = q[j, p] * k[i, p] * to_scores[j, i] / (2 * scores[j, i])
                to_q[j, p] += share
                to_k[i, p] += share
    to_x = torch.zeros_like(x)
    for layer, taken, z in ((model.q, to_q, q), (model.k, to_k, k), (model.v, to_v, v)):
        to_x += x * ((taken / z) @ layer.weight)
    return to_x


@pytest.mark.parametrize("form", [_Attention, _Fused])
def test_attnlrp_is_that_of_the_paper(form: type[_Attention]) -> None:
    model, x = weights(form()), numbers(2, 4, 3)
    expected = torch.stack([_slow_attention(model, sample, 1) for sample in x])  # type: ignore[arg-type]
    close(relevance(model, x, lrp.attn_lrp(TINY, 0.0, TINY)), expected)


@pytest.mark.parametrize("form", [_Attention, _Fused])
def test_cp_lrp_is_input_times_gradient_with_constant_attention(form: type[_Attention]) -> None:
    model, x = weights(form()), numbers(2, 4, 3)
    with torch.no_grad():
        a = ((model.q(x) @ model.k(x).mT) / 3**0.5).softmax(-1)  # type: ignore[operator]
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((a @ model.v(leaf))[:, 0, 1].sum(), leaf)  # type: ignore[operator]
    close(relevance(model, x, lrp.cp_lrp(TINY, TINY)), x * gradient)


_RMS_NORM = [nn.RMSNorm(6)] if hasattr(nn, "RMSNorm") else []  # torch 2.3 has none


@pytest.mark.parametrize("norm", [nn.LayerNorm(6), nn.GroupNorm(2, 6), *_RMS_NORM, nn.InstanceNorm1d(3)])
def test_norms_divide_by_a_constant(norm: nn.Module) -> None:
    """Ali et al., section 3.2: R_i = x_i sum_j (delta_ij - 1/n) R_j / (x_j - mean), here with weight and bias too."""
    model, x = (
        weights(norm).requires_grad_(False),
        numbers(3, 3, 6) if isinstance(norm, nn.InstanceNorm1d) else numbers(3, 6),
    )
    groups = {nn.GroupNorm: 2}.get(type(norm), 1)
    parts = x.unflatten(-1, (groups, -1))
    mean = 0.0 if norm in _RMS_NORM else parts.mean(-1, keepdim=True)
    centred = (parts - mean).flatten(-2)
    y = model(x)
    upper = numbers(*x.shape, seed=7)
    # With y = weight * centred / s + bias, the share of x_i in y_j / R_j is proportional to that in centred_j.
    bias = getattr(norm, "bias", None)
    linear = (y if bias is None else y - bias) / centred * upper
    shared = linear.unflatten(-1, (groups, -1))
    average = 0.0 if norm in _RMS_NORM else shared.mean(-1, keepdim=True)
    expected = x * (shared - average).flatten(-2)
    ours = relevance(lambda x: (model(x) * upper).flatten(1).sum(1), x, lrp.cp_lrp(TINY, TINY))
    close(ours, expected, 1e-7)
    whole = lrp.Composite(normalization="identity", stabilizer=TINY)
    close(relevance(lambda x: (model(x) * upper).flatten(1).sum(1), x, whole), y * upper)


@pytest.mark.parametrize(
    "composite", [lrp.attn_lrp(TINY, 0.0, TINY), lrp.cp_lrp(TINY, TINY)], ids=["AttnLRP", "CP-LRP"]
)
def test_eager_and_fused_attention_agree_and_padding_has_no_relevance(composite: lrp.Composite) -> None:
    ids = torch.randint(1, 100, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    eager, fused = (
        relevance(bert(kind), ids, composite, extra=(mask,), layer="bert.embeddings.word_embeddings")
        for kind in ("eager", "sdpa")
    )
    close(fused, eager, 1e-6)
    assert fused[1, 6:].abs().max() == 0
    if composite.gates:
        with torch.no_grad():
            logits = bert("sdpa")(ids, mask).logits[:, 1]
        torch.testing.assert_close(fused.flatten(1).sum(1), logits, rtol=1e-6, atol=1e-9)


def test_a_vision_transformer_without_biases_conserves_under_cp_lrp() -> None:
    model = weights(VisionTransformer(16, 4, 2, 2, 12, 20, num_classes=3))
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "pos_embedding", "class_token")):
            parameter.data.zero_()
    x = numbers(2, 3, 16, 16)
    torch.testing.assert_close(
        relevance(model, x, lrp.cp_lrp(TINY, TINY)).flatten(1).sum(1), model(x)[:, 1].detach(), rtol=1e-8, atol=1e-10
    )
    assert relevance(model, x, lrp.attn_lrp()).isfinite().all()
