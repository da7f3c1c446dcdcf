"""Composite operations as products, sums and elementwise functions, for rules that only know those.

Each function takes the arguments of torch's compiled function of the same name. It is called with the rule active, so
every step of it passes through the rule again.
"""

import math
from collections.abc import Callable
from functools import reduce
from operator import mul

import torch
from torch import Tensor

from xbench.rules.recurrent import RECURRENT

Dims = int | tuple[int, ...]
NOT_HERE: Tensor = NotImplemented  # the result for a form of the operation that is not implemented here


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(input, other)).logsumexp(0)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if dropout_p > 0:
        query = torch.dropout(query, dropout_p, True)  # the rule refuses dropout, by name
    weights = attention_weights(query, key, attn_mask, is_causal, scale, enable_gqa)
    return weights @ (value.repeat_interleave(query.size(-3) // value.size(-3), -3) if enable_gqa else value)


def attention_weights(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The weights of scaled dot-product attention, (..., queries, keys)."""
    if enable_gqa:
        key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
    scale = 1 / math.sqrt(query.size(-1)) if scale is None else scale
    scores = (query * scale) @ key.transpose(-2, -1)
    if is_causal:
        size = (query.size(-2), key.size(-2))
        attn_mask = torch.ones(size, dtype=torch.bool, device=query.device).tril()
    if attn_mask is None:
        return scores.softmax(-1)
    allowed = attn_mask if attn_mask.dtype == torch.bool else attn_mask != -math.inf
    scores = scores.masked_fill(~allowed, -math.inf) if allowed is attn_mask else scores + attn_mask
    # torch gives zeros, not NaN, for a query with all keys masked.
    blind = ~allowed.any(-1, keepdim=True)
    return scores.masked_fill(blind, 0.0).softmax(-1).masked_fill(blind, 0.0)


def _centred(x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    centred = x - x.mean(dims, keepdim=True)
    return centred, (centred * centred).mean(dims, keepdim=True)


def layer_norm(
    input: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    centred, variance = _centred(input, tuple(range(-len(normalized_shape), 0)))
    return _affine(centred / (variance + eps).sqrt(), weight, bias)


def rms_norm(
    input: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    mean_square = (input * input).mean(tuple(range(-len(normalized_shape), 0)), keepdim=True)
    return _affine(input / (mean_square + eps).sqrt(), weight, None)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    grouped = input.reshape(input.size(0), num_groups, -1)
    centred, variance = _centred(grouped, (-1,))
    channels = (-1, *[1] * (input.ndim - 2))
    return _affine(
        (centred / (variance + eps).sqrt()).reshape(input.shape),
        None if weight is None else weight.view(channels),
        None if bias is None else bias.view(channels),
    )


def instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    if use_input_stats:
        return group_norm(input, input.size(1), weight, bias, eps)
    return torch.batch_norm(input, weight, bias, running_mean, running_var, False, momentum, eps, cudnn_enabled)


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def glu(input: Tensor, dim: int = -1) -> Tensor:
    value, gate = input.chunk(2, dim)
    return value * gate.sigmoid()


def vector_norm(
    x: Tensor,
    ord: float = 2,
    dim: Dims | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    x = x if dtype is None else x.to(dtype)
    if ord == math.inf:
        return x.abs().amax(() if dim is None else dim, keepdim)
    if ord == 2:
        return (x * x).sum(dim, keepdim).sqrt()
    if ord <= 0 or ord == -math.inf:
        return NOT_HERE
    return x.abs().pow(ord).sum(dim, keepdim).pow(1 / ord)


def norm(A: Tensor, ord: float | str | None = None, dim: Dims | None = None, keepdim: bool = False) -> Tensor:
    """Vector norms as in torch.linalg.norm; matrix norms other than Frobenius are refused."""
    vectors = isinstance(dim, int) or (ord is not None and dim is None and A.ndim == 1)
    if ord is None or (vectors and not isinstance(ord, str)):
        return vector_norm(A, 2 if ord is None else float(ord), dim, keepdim)
    return NOT_HERE


def var(
    input: Tensor,
    dim: Dims | None = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    if isinstance(dim, bool):  # the signature var(input, unbiased)
        return NOT_HERE
    correction = float(unbiased) if correction is None else correction
    centred = input - (input.mean() if dim is None else input.mean(dim, keepdim=True))
    squares = centred * centred
    total = squares.sum(dim, keepdim=keepdim)
    count = squares.numel() / total.numel()
    return total / max(count - correction, 0.0)


def std(
    input: Tensor,
    dim: Dims | None = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    return var(input, dim, unbiased, keepdim, correction=correction).sqrt()


def var_mean(
    input: Tensor,
    dim: Dims | None = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    mean = input.mean() if dim is None else input.mean(dim, keepdim)
    return var(input, dim, unbiased, keepdim, correction=correction), mean


def prod(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    if dim is None:
        return NOT_HERE  # over all examples
    product = reduce(mul, input.unbind(dim))
    return product.unsqueeze(dim) if keepdim else product


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    lengths = [(x * x).sum(dim, keepdim=True).sqrt().clamp_min(eps) for x in (x1, x2)]
    return (x1 / lengths[0] * (x2 / lengths[1])).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    return vector_norm(x1 - x2 + eps, p, -1, keepdim)


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    product = (mat1 @ mat2) * alpha
    return product if beta == 0 else input * beta + product


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return addmm(input, mat, vec, beta=beta, alpha=alpha)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return addmm(input, batch1, batch2, beta=beta, alpha=alpha)


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    return input + tensor1 * tensor2 * value


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    return input + tensor1 / tensor2 * value


def lerp(input: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    return input + (end - input) * weight


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A dense layer whose weight depends on the explained input."""
    product = input @ weight.transpose(-2, -1)
    return product if bias is None else product + bias


def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    dims = [dim] if isinstance(dim, int) else list(dim) or list(range(input.ndim))
    dims = sorted(d % input.ndim for d in dims)
    rest = [d for d in range(input.ndim) if d not in dims]
    largest = input.permute(*rest, *dims).flatten(len(rest)).max(-1).values
    for d in dims if keepdim else ():
        largest = largest.unsqueeze(d)
    return largest


def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    return -amax(-input, dim, keepdim)


# NotImplemented as a result: this form of the operation is not implemented here.
COMPOSITES: dict[str, Callable[..., object]] = {
    **RECURRENT,
    "logaddexp": logaddexp,
    "scaled_dot_product_attention": scaled_dot_product_attention,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "glu": glu,
    "linalg_vector_norm": vector_norm,
    "linalg_norm": norm,
    "var": var,
    "std": std,
    "var_mean": var_mean,
    "prod": prod,
    "cosine_similarity": cosine_similarity,
    "pairwise_distance": pairwise_distance,
    "addmm": addmm,
    "addmv": addmv,
    "baddbmm": baddbmm,
    "addcmul": addcmul,
    "addcdiv": addcdiv,
    "lerp": lerp,
    "linear": linear,
    "amax": amax,
    "amin": amin,
}
