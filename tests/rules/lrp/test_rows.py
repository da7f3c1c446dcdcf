"""Relevance of a sample stays with it: what mixes the samples of a batch is refused by name, what does not passes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.models_for_tests import numbers, weights
from tests.rules.deeplift.test_operations import IMAGES, ROWS, TOKENS
from tests.rules.lrp.test_operations import Function as Module
from tests.rules.lrp.test_operations import close, relevance
from tests.rules.lrp.test_rule import CONSERVING, TINY
from tests.rules.models import uniform
from xbench import attribute
from xbench.algorithms import LRP
from xbench.rules import lrp
from xbench.rules.errors import UnknownOperation, UnknownOperationWarning

COMPOSITES = CONSERVING | {"attn": lrp.attn_lrp(TINY, 0.0, TINY), "cp": lrp.cp_lrp(TINY, TINY)}
Rows = Callable[[Tensor], Tensor]

MIXING: dict[str, tuple[str, Rows]] = {
    "x - x.max()": ("max", lambda x: x - x.max()),
    "x - x.amax(0)": ("amax", lambda x: x - x.amax(0)),
    "x - torch.max(x, 0)": ("max", lambda x: x - torch.max(x, dim=0).values),
    "x - x.mean()": ("mean", lambda x: x - x.mean()),
    "x - x.mean(0)": ("mean", lambda x: x - x.mean(axis=0)),
    "x - x.sum((0, 1))": ("sum", lambda x: x - 0.1 * x.sum((0, 1))),
    "x - x.norm()": ("norm", lambda x: x - x.norm()),
    "x - x.std()": ("std", lambda x: x - x.std()),
    "x.softmax(0)": ("softmax", lambda x: x.softmax(0)),
    "x.cumsum(0)": ("cumsum", lambda x: x.cumsum(0)),
    "x.sort(0)": ("sort", lambda x: x.sort(0).values),
    "x - x[:1]": ("getitem", lambda x: x - 0.5 * x[:1]),
    "x - x[0, 0]": ("getitem", lambda x: x - 0.5 * x[0, 0]),
    "x - x.flip(0)": ("flip", lambda x: x - 0.5 * x.flip(0)),
    "x @ x.T": ("matmul", lambda x: (x @ x.T) @ x),
    "einsum": ("einsum", lambda x: torch.einsum("nd,md->nm", x, x)[:, :1] + x),
    "x.T @ w": ("linear", lambda x: nn.functional.linear(x.T, torch.ones(3, 3, dtype=x.dtype).tril()).T),
    "deeper": ("mean", lambda x: x.tanh() - x.tanh().mean()),
    "batch second": ("amax", lambda x: (x.T - x.T.amax(1, keepdim=True)).T),
    "in place": ("max", lambda x: (x * 1).sub_(x.max())),
}


def _head(function: Rows) -> nn.Module:
    dense = weights(nn.Linear(4, 2, bias=False), scale=2).requires_grad_(False)
    return Module(lambda x: dense(function(x))[:, 1])


@pytest.mark.slow
@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_samples_is_refused_by_name(name: str, composite: str) -> None:
    operation, function = MIXING[name]
    with pytest.raises(UnknownOperation, match=f"^{operation}: LRP .* mixes the samples of a batch") as caught:
        relevance(_head(function), numbers(3, 4), COMPOSITES[composite], target=None)
    assert caught.value.operation == operation


@pytest.mark.slow
@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", [n for n in MIXING if n not in ("x.softmax(0)", "x - x.std()", "x.T @ w")])
def test_one_sample_has_nobody_to_mix_with(name: str, composite: str) -> None:
    x, model = numbers(1, 4), _head(MIXING[name][1])
    maps = relevance(model, x, COMPOSITES[composite], target=None)
    assert maps.isfinite().all()
    if composite == "epsilon" and name != "x @ x.T":
        torch.testing.assert_close(maps.sum(1), model(x), rtol=1e-8, atol=1e-9)


APART: dict[str, Rows] = {
    "x - x.amax(1)": lambda x: x - x.amax(1, keepdim=True),
    "x - x.mean(1)": lambda x: x - 0.5 * x.mean(1, keepdim=True),
    "x / x.sum(1)": lambda x: x / x.sum(1, keepdim=True),
    "x / x.norm(dim=1)": lambda x: x / x.norm(dim=1, keepdim=True),
    "batch second": lambda x: (x.T - x.T.amax(0)).T,
    "merged": lambda x: (x.reshape(-1, 2) - x.reshape(-1, 2).amax(1, keepdim=True)).view(-1, 4),
    "merged behind": lambda x: (
        x + x.view(-1, 2, 2).transpose(0, 1).reshape(-1, 2).tanh().view(2, -1, 2).mean(0).repeat(1, 2)
    ),
    "one by one": lambda x: torch.stack([row - row.max() for row in x]),
    "routed": lambda x: torch.zeros_like(x).index_add(0, torch.arange(len(x)).flip(0), x.flip(0).tanh()) + x,
}


@pytest.mark.slow
@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", APART)
def test_what_does_not_mix_gives_each_sample_what_it_has_alone(name: str, composite: str) -> None:
    x, model = numbers(3, 4), _head(APART[name])
    maps = relevance(model, x, COMPOSITES[composite], target=None)
    close(maps, torch.cat([relevance(model, row[None], COMPOSITES[composite], target=None) for row in x]))
    if composite in ("epsilon", "plus", "attn", "cp", "gamma-box"):  # dense layers take epsilon
        close(maps.sum(1), model(x), 1e-8)


@pytest.mark.parametrize("composite", ["epsilon", "plus", "attn", "cp", "gamma-box"])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: x / x.norm(),  # what divides takes no relevance
        lambda x: x / x.sum(),
        lambda x: x + 0 * x.max(),
        lambda x: x * (x.detach().max() + 1),
    ],
)
def test_what_takes_no_relevance_may_mix(function: Rows, composite: str) -> None:
    x, model = numbers(3, 4), _head(function)
    close(relevance(model, x, COMPOSITES[composite], target=None).sum(1), model(x), 1e-8)


COMPLEX = ("fft", "rfft, irfft", "modulus", "complex product", "fft2, batch second", "spectrogram")  # have no rule
ROW_WISE = {
    f"{name} of {shape}": (function, shape)
    for shape, functions in (((6,), ROWS), ((5, 6), TOKENS), ((4, 9, 9), IMAGES))
    for name, function in functions.items()
    if name not in COMPLEX
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ROW_WISE)
def test_no_row_wise_operation_is_taken_for_a_mixing_one(name: str) -> None:
    function, shape = ROW_WISE[name]

    def scalar(x: Tensor) -> Tensor:
        y = function(x).reshape(len(x), -1)
        return (y * torch.arange(1.0, y.shape[1] + 1, dtype=y.dtype)).sum(1)

    x = uniform(3, *shape)
    maps = relevance(scalar, x)
    alone = torch.cat([relevance(scalar, row[None]) for row in x])
    torch.testing.assert_close(maps, alone, rtol=1e-6, atol=1e-7, equal_nan=True)


def test_what_is_only_logged_passes() -> None:
    model, x = weights(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))), numbers(3, 4)
    expected, seen = relevance(model, x), []
    for log in (Tensor.max, Tensor.mean, Tensor.std, Tensor.norm, Tensor.median, lambda y: y.prod(), lambda y: y @ y.T):
        model[1].register_forward_hook(lambda *args, log=log: seen.append(log(args[2])))
    assert torch.equal(relevance(model, x), expected)
    assert len(seen) >= 7


def test_samples_can_be_mixed_with_a_warning() -> None:
    with pytest.warns(UnknownOperationWarning, match="^max: LRP uses .* mixes the samples"):
        maps = attribute(_head(lambda x: x - x.max()), numbers(3, 4), LRP(unknown="warn"))
    assert isinstance(maps, Tensor)
    assert maps.isfinite().all()
