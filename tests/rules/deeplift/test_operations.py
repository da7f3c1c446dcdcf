"""DeepLIFT-Rescale at single operations: values unchanged, contributions complete, in all forms of a call."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.rules.models import Function, uniform
from xbench.rules.deeplift import Rescale


def _in_place(name: str) -> Function:
    """The result of an in-place method is not used, only what it wrote."""

    def function(x: Tensor) -> Tensor:
        y = x * 1.5
        getattr(y, name)()
        return y

    return function


def _augmented(x: Tensor) -> Tensor:
    y = x * 2
    y *= x.exp()
    y += x
    y -= 1
    y /= x * x + 1
    return y


def _written_through_a_view(x: Tensor) -> Tensor:
    y = x * 1.5
    F.relu(y[:, :2], inplace=True)
    return y


def _assigned(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, 1:] = x[:, :-1].tanh()
    y[:, 0] = 0.5
    return y.exp()


def _fixed(*shape: int) -> Tensor:
    return uniform(*shape, seed=9)


def _attention(**options: object) -> Function:
    def function(x: Tensor) -> Tensor:
        x = x.unflatten(-1, (2, 3)).transpose(1, 2)  # (n, heads, tokens, 3)
        return F.scaled_dot_product_attention(x, x.sin(), x.cos(), **options)  # type: ignore[arg-type]

    return function


def _encoder(batch_first: bool, masked: bool) -> Function:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=batch_first, dtype=torch.float64)
        encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval().requires_grad_(False)

    def function(x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.size(1), dtype=x.dtype) if masked else None
        if batch_first:
            return encoder(x, mask=mask)
        return encoder(x.transpose(0, 1), mask=mask).transpose(0, 1)

    return function


def _pool_with_the_batch_merged(x: Tensor) -> Tensor:
    pooled = F.max_pool1d(x.transpose(0, 1).reshape(-1, 2, 3), 2)
    return pooled.exp().reshape(5, len(x), 2).transpose(0, 1)


def _self_attention(need_weights: bool, padded: bool) -> Function:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.MultiheadAttention(6, 2, add_bias_kv=True, add_zero_attn=True, dtype=torch.float64)
        module.eval().requires_grad_(False)

    def function(x: Tensor) -> Tensor:
        tokens = x.transpose(0, 1)
        padding = torch.arange(x.size(1)).expand(len(x), -1) > 2 if padded else None
        output, weights = module(tokens, tokens, tokens, padding, need_weights)
        return output.transpose(0, 1) if weights is None else torch.cat([output.transpose(0, 1), weights], 2)

    return function


_ACTIVATIONS = """relu relu6 elu selu celu gelu silu mish sigmoid logsigmoid tanh tanhshrink hardswish
    hardsigmoid hardtanh softplus softsign leaky_relu hardshrink softshrink rrelu"""
_FUNCTIONS = "exp square abs erf sin cos sinh cosh atan asinh expm1 erfc neg sign floor round frac relu sigmoid"

ROWS: dict[str, Function] = {  # x: (n, 6)
    **{name: getattr(F, name) for name in _ACTIVATIONS.split()},
    **{f"x.{name}()": lambda x, name=name: getattr(x, name)() for name in _FUNCTIONS.split()},
    **{f"x.{name}()": _in_place(name) for name in ("relu_", "sigmoid_", "tanh_", "exp_", "abs_", "square_", "neg_")},
    **{
        f"positive {name}": lambda x, name=name: getattr(x.abs() + 0.1, name)()
        for name in ("log", "sqrt", "rsqrt", "reciprocal", "log1p", "log2", "log10")
    },
    "torch.relu_": lambda x: torch.relu_(x * 1.5),
    "operator in place": _augmented,
    "mul_": lambda x: (x * 1.0).mul_(x.sigmoid()),
    "view in place": _written_through_a_view,
    "setitem": _assigned,
    "nn.PReLU": lambda x: F.prelu(x, _fixed(6)),
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "clamp keyword": lambda x: torch.clamp(x, min=torch.tensor(0.0), max=_fixed(6).exp()),
    "threshold": lambda x: F.threshold(x, 0.1, 0.2),
    "x * y": lambda x: x * x.tanh(),
    "x * x": lambda x: x * x,
    "2 * x": lambda x: (2 * x * torch.tensor(3.0)).exp(),
    "mul keyword": lambda x: torch.mul(x, other=x.exp()),
    "x / y": lambda x: x / (x * x + 1),
    "x / y, sign changes": lambda x: x.exp() / x,
    "1 / y": lambda x: 1 / (x.exp() + 1),
    "torch.div": lambda x: torch.div(x.exp(), 1 + x.square()),
    "const / y": lambda x: _fixed(6) / (x.exp() + 1),
    "rsqrt overwritten": lambda x: x * (x.square() + 1).rsqrt().mul_(2),
    "x ** 3": lambda x: x**3,
    "2 ** x": lambda x: 2**x,
    "1 - x": lambda x: (1 - x).exp(),
    "maximum": lambda x: torch.maximum(x, x.flip(1)),
    "minimum": lambda x: torch.min(x, -x),
    "maximum of a constant": lambda x: torch.maximum(x, _fixed(6)),
    "max": lambda x: x.max(1).values,
    "max keyword": lambda x: torch.max(input=x, dim=1, keepdim=True)[0] + x,
    "amin": lambda x: torch.amin(x, dim=1),
    "layer_norm": lambda x: F.layer_norm(x, (6,), _fixed(6), _fixed(6)),
    "layer_norm keyword": lambda x: F.layer_norm(input=x, normalized_shape=(6,), weight=_fixed(6), eps=1e-3),
    "torch.layer_norm": lambda x: torch.layer_norm(x, (6,)),
    **({"rms_norm": lambda x: F.rms_norm(x, (6,), _fixed(6))} if hasattr(F, "rms_norm") else {}),  # not in torch 2.3
    "batch_norm": nn.BatchNorm1d(6, dtype=torch.float64).eval().requires_grad_(False),
    "normalize": lambda x: F.normalize(x, dim=1),
    "norm": lambda x: x.norm(dim=1),
    "linalg.norm": lambda x: torch.linalg.norm(x, dim=1),
    "norm of order 3": lambda x: torch.linalg.vector_norm(x, 3, dim=1),
    "largest norm": lambda x: torch.linalg.vector_norm(x, math.inf, dim=1),
    "var": lambda x: torch.var(x, dim=1, correction=2, keepdim=True) * x,
    "std": lambda x: x.std(1),
    "var_mean": lambda x: torch.var_mean(x, 1)[0],
    "cosine_similarity": lambda x: F.cosine_similarity(x, x.exp()),
    "pairwise_distance": lambda x: F.pairwise_distance(x, x.exp()),
    "softmax": lambda x: x.softmax(1),
    "F.softmax": lambda x: F.softmax(x, dim=-1, dtype=torch.float64),
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "logsumexp": lambda x: torch.logsumexp(x, dim=(1,), keepdim=True) * x,
    "logaddexp": lambda x: torch.logaddexp(x, x.exp()),
    "softmax, masked": lambda x: x.masked_fill(_fixed(6) > 0, -math.inf).softmax(1),
    "softmax, batch last": lambda x: x.transpose(0, 1).softmax(0).transpose(0, 1),
    "softmax, sharp": lambda x: F.softmax(x * 8, 1),
    "glu": lambda x: F.glu(x),
    "addmm": lambda x: torch.addmm(_fixed(6), x, _fixed(6, 6), beta=2, alpha=0.5).exp(),
    "addcmul": lambda x: torch.addcmul(x, x, x.exp(), value=2),
    "addcdiv": lambda x: torch.addcdiv(x, x, x.exp()),
    "lerp": lambda x: torch.lerp(x, x.exp(), x.sigmoid()),
    "bilinear": lambda x: F.bilinear(x, x.exp(), _fixed(2, 6, 6)),
    "prod": lambda x: x.prod(1),
    "T": lambda x: x.T.exp().T,
    "cat": lambda x: torch.cat([x, x.exp(), torch.ones(len(x), 2)], 1).exp(),
    "stack": lambda x: torch.stack([x, x.exp()], 0).exp().sum(0),
    "split": lambda x: torch.cat([part.exp() for part in x.split(2, 1)], 1),
    "unbind": lambda x: torch.stack([part.exp() for part in x.chunk(2, 1)[0].unbind(1)], 1),
    "pad": lambda x: F.pad(x, (1, 1), value=-2.0).exp(),
    "roll": lambda x: x.roll(1, 1).exp(),
    "gather": lambda x: x.gather(1, torch.ones(len(x), 1, dtype=torch.long)).exp(),
    "index": lambda x: x[torch.arange(len(x)), torch.tensor([2] * len(x))].exp(),
    "expand": lambda x: x[:, None].expand(-1, 3, -1).exp(),
    "repeat": lambda x: x.repeat(1, 2).exp(),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1).exp(),
    "cumsum": lambda x: x.cumsum(1).exp(),
    "where": lambda x: torch.where(_fixed(6) > 0, x, x.exp()).exp(),
    "dropout": lambda x: F.dropout(x, 0.5, False).exp(),
    "ops.aten": lambda x: torch.ops.aten.relu(x).exp(),
    "fft": lambda x: torch.fft.fft(x, dim=1).real.exp(),
    "rfft, irfft": lambda x: torch.fft.irfft(torch.fft.rfft(x, norm="ortho") * (1 + 2j), n=5).exp(),
    "modulus": lambda x: torch.fft.rfft(x).abs().log1p(),
    "complex product": lambda x: (torch.fft.fft(x) * torch.fft.fft(x.exp())).imag.tanh(),
    "empty": lambda x: torch.cat([x[:, :0].exp(), x.exp(), x[:, 6:] * x[:, :0]], 1).exp(),
    "condition that agrees": lambda x: torch.where(x > -9, x, x.exp()).exp(),
}
TOKENS: dict[str, Function] = {  # x: (n, 5, 6)
    "matmul": lambda x: x @ x.transpose(1, 2),
    "bmm": lambda x: torch.bmm(x, x.mT).exp(),
    "baddbmm": lambda x: torch.baddbmm(x @ x.mT, x, x.mT, beta=0.5),
    "baddbmm keyword": lambda x: _fixed(1, 1, 5).baddbmm(batch1=x, batch2=x.mT, beta=0.5, alpha=2),
    "addmv keyword": lambda x: torch.addmv(torch.zeros(len(x)).to(x), mat=x[:, 0].exp(), vec=_fixed(6), alpha=2),
    "fft2, batch second": lambda x: torch.fft.fft2(x.transpose(0, 1), dim=(0, -1)).real.exp().transpose(0, 1),
    "spectrogram": lambda x: torch.stft(x.flatten(1), 8, window=_fixed(8), return_complex=True).abs().log1p(),
    "matmul of a constant": lambda x: (_fixed(2, 5) @ x @ _fixed(6)).exp(),
    "einsum": lambda x: torch.einsum("bqd,bkd->bqk", x, x.exp()).exp(),
    "einsum, ellipsis": lambda x: torch.einsum("...qd,...kd->q...k", x, x).exp().transpose(0, 1),
    "einsum of a constant": lambda x: torch.einsum("bqd,de->bqe", x, _fixed(6, 2)).exp(),
    "attention": _attention(),
    "attention, causal": _attention(is_causal=True, scale=0.7),
    "attention, bool mask": _attention(attn_mask=torch.ones(5, 5, dtype=torch.bool).tril()),
    **(
        {"attention, blind query": _attention(attn_mask=torch.arange(5)[:, None].expand(5, 5) > 0)}
        if torch.__version__ >= "2.5"  # before, torch's own result is NaN
        else {}
    ),
    "attention, float mask": _attention(attn_mask=_fixed(5, 5)),
    **{
        f"MultiheadAttention, weights {weights}, padded {padded}": _self_attention(weights, padded)
        for weights in (True, False)
        for padded in (True, False)
    },
    "encoder, batch first": _encoder(True, False),
    "encoder, batch second": _encoder(False, False),
    "encoder, batch second, masked": _encoder(False, True),
    "permute": lambda x: x.permute(1, 2, 0).exp().permute(2, 0, 1),
    "batch merged behind": lambda x: x.transpose(0, 1).reshape(-1, 6).exp().reshape(5, -1, 6).transpose(0, 1),
    "batch merged in front": lambda x: x.reshape(-1, 3).softmax(1).view(len(x), -1).tanh(),
    "class token": lambda x: torch.cat([torch.ones(1, 1, 6).expand(len(x), -1, -1), x], 1).exp(),
    "iterated": lambda x: torch.stack([token.exp() for token in x.transpose(0, 1)], 1),
    "sum": lambda x: x.sum((1, 2)).exp(),
    "mean, batch second": lambda x: x.transpose(0, 1).mean(0).exp(),
    "amax": lambda x: x.amax((1, 2), keepdim=True) * x,
    "pool, batch merged": _pool_with_the_batch_merged,
}
IMAGES: dict[str, Function] = {  # x: (n, 4, 9, 9)
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max_pool2d, relu before": lambda x: F.max_pool2d(F.relu(x), kernel_size=3, stride=1).exp(),
    "max_pool2d, indices": lambda x: F.max_pool2d(x, 3, return_indices=True)[0],
    "max_pool1d": lambda x: F.max_pool1d(x.flatten(2), 3, 2),
    "max_pool3d": lambda x: F.max_pool3d(x, 2, 1),
    "torch.max_pool2d": lambda x: torch.max_pool2d(x, 2),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, 4),
    "adaptive_max_pool2d, indices": lambda x: F.adaptive_max_pool2d(x, 4, return_indices=True)[0],
    "adaptive_max_pool1d": lambda x: torch.adaptive_max_pool1d(x.flatten(2), 4)[0],
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1).exp(),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 2).exp(),
    "lp_pool2d": lambda x: F.lp_pool2d(x.abs(), 2.0, 3),
    "group_norm": lambda x: F.group_norm(x, 2, _fixed(4), _fixed(4)),
    "instance_norm": lambda x: F.instance_norm(x, weight=_fixed(4)),
    "local_response_norm": lambda x: F.local_response_norm(x, 2),
    "channels last": lambda x: F.max_pool2d(F.relu(x.to(memory_format=torch.channels_last)), 3, 2).sigmoid(),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear").exp(),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2).exp(),
    "unfold": lambda x: F.unfold(x, 2).exp(),
    "conv_transpose2d": lambda x: F.conv_transpose2d(x, _fixed(4, 2, 3, 3)).exp(),
    "reflected": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect").exp(),
    "amax": lambda x: x.amax((1, 3)).exp(),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "shape"),
    [
        pytest.param(function, shape, id=name)
        for shape, functions in (((6,), ROWS), ((5, 6), TOKENS), ((4, 9, 9), IMAGES))
        for name, function in functions.items()
    ],
)
@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_contributions_add_up(function: Function, shape: tuple[int, ...], inputs: int) -> None:
    references = {1: 2, 2: 2, 3: 1}[inputs]
    rows = inputs * references
    batch = uniform(rows + references, *shape).requires_grad_()
    with Rescale(inputs=inputs).apply():
        output = function(batch)
    with torch.no_grad():
        torch.testing.assert_close(output, function(batch))
    # Random weights make every output count; the same ones for all that are compared.
    weights = uniform(references, *output.shape[1:], seed=5).repeat(inputs + 1, *[1] * (output.ndim - 1))
    (gradient,) = torch.autograd.grad((output * weights).sum(), batch)
    x, x0 = batch.detach()[:rows], batch.detach()[rows:].repeat(inputs, *[1] * len(shape))
    values = (output.detach() * weights).reshape(len(batch), -1).sum(1)
    y, y0 = values[:rows], values[rows:].repeat(inputs)
    torch.testing.assert_close((gradient[:rows] * (x - x0)).flatten(1).sum(1), y - y0, rtol=1e-9, atol=1e-10)
