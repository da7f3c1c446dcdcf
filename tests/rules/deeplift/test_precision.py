"""DeepLIFT-Rescale in single precision, beside the same in double: no rule loses more than rounding does.

Values are compared with the float64 function at the same (float32) numbers. What may be lost is `ROUNDINGS` units in
the last place of the function's own values and of the contributions that are added up.
"""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.rules.models import Function, uniform
from xbench import attribute
from xbench.algorithms import DeepLift
from xbench.rules import operations
from xbench.rules.deeplift import Rescale

UNIT = torch.finfo(torch.float32).eps
ROUNDINGS = 8


def multipliers(function: Function, x: Tensor, x0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The multipliers, in the precision of x, and the function's values at inputs and references."""
    batch = torch.cat([x, x0]).requires_grad_()
    with Rescale().apply():
        y = function(batch)
    (gradient,) = torch.autograd.grad(y.sum(), batch)
    values = y.detach().reshape(len(batch), -1)
    return gradient[: len(x)], *values.split(len(x))


def _at(*arguments: float | Tensor, **options: float) -> Callable[[str], Function]:
    """A function of x and further arguments, of torch or of torch.nn.functional."""

    def made(name: str) -> Function:
        function = getattr(torch, name, None) or getattr(F, name)
        return lambda x: function(x, *(a.to(x.dtype) if isinstance(a, Tensor) else a for a in arguments), **options)

    return made


_ARGUMENTS: dict[str, Callable[[str], Function]] = {
    "prelu": _at(torch.tensor([0.3])),
    "threshold": lambda _: lambda x: F.threshold(x, 0.25, 0.25),
    "clamp": _at(-0.5, 0.7),
    "clamp_min": _at(-0.5),
    "clamp_max": _at(0.7),
    "pow": _at(3),
    "float_power": lambda _: lambda x: x**2.5,  # torch.float_power itself gives float64
    "xlogy": _at(torch.tensor(2.0)),
    "hypot": _at(torch.tensor(0.3)),
    "atan2": _at(torch.tensor(0.3)),
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin"), _at(torch.tensor(0.5))),
    **dict.fromkeys(("remainder", "fmod"), _at(0.75)),
    **{name: lambda name: lambda x: getattr(F, name)(x) for name in ("rrelu", "relu6", "logsigmoid")},
}
_DOMAINS = {
    **dict.fromkeys(("log", "log2", "log10", "sqrt", "rsqrt", "float_power", "reciprocal"), (0.0, math.inf)),
    **dict.fromkeys(("asin", "acos", "atanh"), (-1.0, 1.0)),
    **{"log1p": (-1.0, math.inf), "acosh": (1.0, math.inf), "logit": (0.0, 1.0), "tan": (-1.5, 1.5)},
}
# Their slope jumps, is not defined or a small difference; their contributions are compared all the same.
_KINKED = {
    *("relu6", "hardtanh", "hardswish", "hardsigmoid", "hardshrink", "softshrink", "threshold", "tanhshrink"),
    *("clamp", "clamp_min", "clamp_max", "sign", "sgn", "round", "floor", "ceil", "trunc", "frac"),
    *("remainder", "fmod", "maximum", "minimum", "fmax", "fmin"),
}


def _pairs(low: float, high: float) -> tuple[Tensor, Tensor]:
    """Pairs of different numbers, from closer than rounding can tell to far apart, between two bounds."""
    x = torch.tensor([0.0, 1e-6, 1e-3, 0.03, 0.5, 1.0, 2.9, 6.0, 12.0, 30.0])
    x = torch.cat([-x.flip(0), x])
    steps = torch.tensor([1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0])
    x0 = torch.cat([x[:, None] + steps, x[:, None] - steps, x[:, None] * (1 + steps / 2), x.expand(len(x), -1)], 1)
    pairs = torch.stack([x[:, None].expand_as(x0).flatten(), x0.flatten()])
    kept = (pairs > low).all(0) & (pairs < high).all(0) & (pairs.abs() < 80).all(0) & (pairs[0] != pairs[1])
    first, second = pairs[:, kept]
    return first, second


@pytest.mark.parametrize("name", sorted(operations.ELEMENTWISE))
def test_functions_of_one_variable(name: str) -> None:
    function = _ARGUMENTS.get(name, _at())(name)
    x, x0 = _pairs(*_DOMAINS.get(name, (-math.inf, math.inf)))
    single, *values = multipliers(function, x, x0)
    double, *exact = multipliers(function, x.double(), x0.double())
    y, y0, exact_y, exact_y0 = (value[:, 0].double() for value in (*values, *exact))
    size = torch.maximum(exact_y.abs(), exact_y0.abs())
    # Where x is rounded, too: close to x0, or as a part of a difference.
    close = (x - x0).abs() <= UNIT**0.5 * x0.abs() if name != "tanhshrink" else torch.ones_like(x).bool()
    rounded = torch.where(close, torch.maximum(size, torch.maximum(x.abs(), x0.abs()).double()), size)
    own = 2 * ((y - exact_y).abs() + (y0 - exact_y0).abs())  # what the function itself rounds away
    lost = (single.double() * (x.double() - x0.double()) - (exact_y - exact_y0)).abs()
    assert (lost <= own + ROUNDINGS * UNIT * rounded + 1e-30).all()
    if name not in _KINKED:
        allowed = 2e-4 * torch.maximum(double.abs(), size) + own / (x.double() - x0.double()).abs() + 1e-30
        assert ((single - double).abs() <= allowed).all()


def _two(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    return lambda x: function(*x.unbind(1))


_BINARY: dict[str, Function] = {
    "mul": _two(torch.mul),
    "div": _two(lambda a, b: a / b),
    "reciprocal": _two(lambda a, b: a * b.reciprocal()),
    "rsqrt": _two(lambda a, b: a * b.square().rsqrt()),
    "maximum": _two(torch.maximum),
    "minimum": _two(torch.minimum),
    "max": lambda x: x.max(1).values,
    "logaddexp": _two(torch.logaddexp),
    "sum of squares": _two(lambda a, b: torch.linalg.vector_norm(torch.stack([a, b], 1), dim=1)),
}


@pytest.mark.parametrize("name", _BINARY)
def test_functions_of_two_variables(name: str) -> None:
    numbers = torch.tensor([-1e8, -400.0, -1.0, -0.3, 1e-6, 0.3, 0.3 + 1e-6, 2.0, 400.0, 400.001, 1e8])
    if name not in ("maximum", "minimum", "max", "logaddexp"):
        numbers = numbers[1:-1]
    x = torch.cartesian_prod(numbers, numbers)
    x, x0 = x.repeat_interleave(len(x), 0), x.repeat(len(x), 1)
    single, *values = multipliers(_BINARY[name], x, x0)
    double, exact, exact0 = multipliers(_BINARY[name], x.double(), x0.double())
    differences = x.double() - x0.double()
    contributions = single.double() * differences
    # What is added up is rounded by itself; the slopes are compared where they are all that there is.
    size = torch.maximum(exact.abs(), exact0.abs())[:, 0] + (double * differences).abs().amax(1)
    own = sum((value.double() - other).abs()[:, 0] for value, other in zip(values, (exact, exact0), strict=True))
    assert ((contributions.sum(1) - (exact - exact0)[:, 0]).abs() <= own + ROUNDINGS * UNIT * size + 1e-30).all()
    assert ((contributions - double * differences).abs() <= 2e-5 * size[:, None] + 1e-30).all()


def _logits(scale: float, shift: float, seed: int) -> Tensor:
    return uniform(64, 10, seed=seed).float() * scale + shift


_EXPONENTIALS: dict[str, Function] = {
    "softmax": lambda x: x.softmax(1)[:, 0],
    "log_softmax": lambda x: x.log_softmax(1)[:, 0],
    "logsumexp": lambda x: x.logsumexp(1),
    "attention": lambda x: F.scaled_dot_product_attention(x[:, None], x[:, None] * 0 + 1, x[:, None])[:, 0, 0],
}


@pytest.mark.parametrize("name", _EXPONENTIALS)
@pytest.mark.parametrize("scale", [1.0, 30.0, 400.0, 1e4, 1e6])
@pytest.mark.parametrize("shift", [0.0, 400.0])
@pytest.mark.parametrize("seed", [1, None], ids=["logits", "zeros"])
def test_sums_of_exponentials(name: str, scale: float, shift: float, seed: int | None) -> None:
    x = _logits(scale, shift, 0)
    x0 = torch.zeros_like(x) if seed is None else _logits(scale, 0.0, seed)
    single, _, _ = multipliers(_EXPONENTIALS[name], x, x0)
    double, y, y0 = multipliers(_EXPONENTIALS[name], x.double(), x0.double())
    differences = x.double() - x0.double()
    contributions = single.double() * differences
    size = (double * differences).abs().sum(1).clamp(min=1)  # shares of 1 are rounded
    assert ((contributions.sum(1) - (y - y0)[:, 0]).abs() <= ROUNDINGS * UNIT * size).all()
    torch.testing.assert_close(double * differences, contributions, rtol=2e-4, atol=float(1e-6 * size.max()))


@pytest.mark.parametrize("scale", [1.0, 30.0, 400.0, 1e4, 1e6])
def test_probabilities_have_a_constant_sum_and_their_logarithms_the_differences_of_the_logits(scale: float) -> None:
    """Closed forms: the sum of a softmax has no slope, and log p_0 - log p_1 is x_0 - x_1."""
    x, x0 = _logits(scale, 400.0, 0), _logits(scale, 0.0, 1)
    constant, _, _ = multipliers(lambda x: x.softmax(1).sum(1), x, x0)
    torch.testing.assert_close(constant, torch.zeros_like(x), rtol=0, atol=0)
    slopes, _, _ = multipliers(lambda x: x.log_softmax(1)[:, 0] - x.log_softmax(1)[:, 1], x, x0)
    expected = torch.zeros_like(x).index_fill_(1, torch.tensor(0), 1.0).index_fill_(1, torch.tensor(1), -1.0)
    torch.testing.assert_close(slopes, expected, rtol=0, atol=4 * UNIT)


def test_a_softmax_has_the_multipliers_of_logarithmic_means() -> None:
    """By hand, for two classes: m = q0 q1 / (q0 + q1), where q = (p - p0) / log(p / p0)."""
    x, x0 = torch.tensor([[2.0, 0.5]], dtype=torch.float64), torch.tensor([[-1.0, 0.0]], dtype=torch.float64)
    p, p0 = x.softmax(1), x0.softmax(1)
    q = (p - p0) / (p / p0).log()
    m = float(q.prod() / q.sum())
    slopes, _, _ = multipliers(lambda x: x.softmax(1)[:, 0], x, x0)
    torch.testing.assert_close(slopes, torch.tensor([[m, -m]], dtype=torch.float64))
    shifted, _, _ = multipliers(lambda x: x.softmax(1)[:, 0], x + 7, x0 - 3)
    torch.testing.assert_close(shifted, slopes)


_MODELS: dict[str, Callable[[], nn.Module]] = {
    "MLP": lambda: nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10)),
    "norms": lambda: nn.Sequential(
        nn.Linear(20, 64), nn.LayerNorm(64), nn.SiLU(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Tanh(),
        nn.Unflatten(1, (8, 8)), nn.GroupNorm(2, 8), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(32, 10),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", _MODELS)
@pytest.mark.parametrize("scale", [1.0, 400.0])
def test_probabilities_of_a_network_with_large_logits(name: str, scale: float) -> None:
    """Maps in float32 are those in float64, however far the softmax is saturated."""

    def scaled(output: nn.Linear) -> nn.Linear:
        output.weight.data.mul_(scale)
        output.bias.data.mul_(scale).add_(scale)
        return output

    with torch.random.fork_rng():
        torch.manual_seed(0)
        *layers, last = _MODELS[name]()
    assert isinstance(last, nn.Linear)
    model = nn.Sequential(*layers, scaled(last), nn.Softmax(1)).eval()
    x = uniform(32, 20).float()
    target = model(x).argmax(1)
    single = attribute(model, x, DeepLift(), target=target, baselines=0)
    double = attribute(model.double(), x.double(), DeepLift(), target=target, baselines=0)
    change = (model(x.double()) - model(torch.zeros(1, 20).double())).detach().gather(1, target[:, None])[:, 0]
    torch.testing.assert_close(single.double().sum(1), change, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-5 * float(double.abs().max()))
