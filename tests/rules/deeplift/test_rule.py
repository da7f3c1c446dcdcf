"""DeepLIFT-Rescale on small nets: completeness, parity with Captum where Captum is right, and refusals.

Whole models of every family are in tests/algorithms/test_deeplift.py.
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from captum.attr import DeepLift, LayerDeepLift
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

from tests.rules.models import Function, uniform
from xbench import algorithms, attribute
from xbench.rules.deeplift import Rescale
from xbench.rules.errors import UnknownOperation, UnknownOperationWarning


def multipliers(function: Function, x: Tensor, x0: Tensor, rule: Rescale | None = None) -> Tensor:
    """Every input beside a reference of its own. function: (2m, ...) -> (2m,); result shaped like x."""
    batch = torch.cat([x, x0]).requires_grad_()
    with (rule or Rescale()).apply():
        output = function(batch)
    (gradient,) = torch.autograd.grad(output.sum(), batch)
    return gradient[: len(x)]


def completeness_error(function: Function, x: Tensor, x0: Tensor) -> float:
    """The largest |sum(attribution) - (f(x) - f(x0))| / |f(x) - f(x0)| over samples."""
    attribution = multipliers(function, x, x0) * (x - x0)
    with torch.no_grad():
        difference = function(x) - function(x0)
    assert difference.abs().min() > 1e-4, "the outputs do not differ enough for this test to mean anything"
    return float(((attribution.flatten(1).sum(1) - difference) / difference).abs().max())


def frozen(*modules: nn.Module) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(*modules)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
    return model.double().eval().requires_grad_(False)


@pytest.mark.parametrize(
    "normalised",
    [
        lambda x: F.group_norm(x, 2),
        lambda x: F.layer_norm(x, x.shape[1:]),
        lambda x: x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6),
        lambda x: (50 * x).softmax(1),
    ],
    ids=["group_norm", "layer_norm", "written out", "softmax"],
)
def test_a_flat_baseline_is_complete_in_float32(normalised: Function) -> None:
    """Normalisations divide by the deviation, which a black image does not have."""

    def function(x: Tensor) -> Tensor:
        for _ in range(4):
            x = normalised(x)
        return (x * torch.arange(8.0)).sum(1)

    x = uniform(4, 8).float()
    assert completeness_error(function, x, torch.zeros_like(x)) < 1e-3


@pytest.mark.filterwarnings("ignore:Input Tensor", "ignore:Setting forward, backward hooks")
@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (frozen(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 3)), (4, 6)),
        (frozen(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.ELU(), nn.Linear(8, 3)), (4, 6)),
        (
            frozen(
                nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 2), nn.Softplus(),
                nn.Conv2d(4, 4, 1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 3),
            ),
            (4, 2, 8, 8),
        ),
    ],
    ids=["relu-sigmoid", "tanh-elu", "convolutional"],
)  # fmt: skip
def test_agrees_with_captum(model: nn.Sequential, shape: tuple[int, ...]) -> None:
    x, x0 = uniform(*shape), uniform(*shape, seed=1)
    if x.ndim == 2:  # where Captum's pools meet no difference, they use the first example's gradient
        x0[0] = x[0]
    theirs = DeepLift(model, multiply_by_inputs=False).attribute(x, x0, target=1).detach()
    ours = multipliers(lambda batch: model(batch)[:, 1], x, x0)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_without_a_difference_the_multiplier_is_the_gradient() -> None:
    model = frozen(nn.Linear(6, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3), nn.Softmax(dim=1))
    x = uniform(3, 6).requires_grad_()
    ours = multipliers(lambda batch: model(batch)[:, 1], x.detach(), x.detach())
    (gradient,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    torch.testing.assert_close(ours, gradient, rtol=1e-9, atol=1e-12)


def test_batch_mates_do_not_matter_with_a_softmax_readout() -> None:
    model = frozen(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(dim=1))
    x, x0 = uniform(5, 6), uniform(5, 6, seed=1)

    def function(batch: Tensor) -> Tensor:
        return model(batch)[:, 1]

    together = multipliers(function, x, x0)
    alone = torch.cat([multipliers(function, x[i : i + 1], x0[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-14)
    assert completeness_error(function, x, x0) < 1e-10


def test_overlapping_pools_after_relu_and_reused_in_place_modules() -> None:
    relu = nn.ReLU(inplace=True)
    model = frozen(
        nn.Conv2d(2, 3, 3), relu, nn.MaxPool2d(3, 2, 1), nn.Conv2d(3, 3, 1), nn.MaxPool2d(3, 1), relu,
        nn.Flatten(), nn.Linear(12, 2),
    )  # fmt: skip
    x, x0 = uniform(3, 2, 10, 10), uniform(3, 2, 10, 10, seed=1)
    assert completeness_error(lambda batch: model(batch)[:, 0], x, x0) < 1e-10


def test_a_max_pool_gives_the_difference_to_the_larger_maximum() -> None:
    """Two windows of three that share the middle value, worked out by hand."""
    x = torch.tensor([[[1.0, 2.0, 7.0, 4.0, 3.0]]], dtype=torch.float64)
    x0 = torch.tensor([[[0.0, 5.0, 6.0, 0.0, 9.0]]], dtype=torch.float64)
    multiplier = multipliers(lambda batch: F.max_pool1d(batch, 3, 2).sum((1, 2)), x, x0)
    # Window one: 7 - 6, at position 2, where x - x0 = 1. Window two: 7 - 9, at position 4, where x - x0 = -6.
    expected = torch.tensor([[[0.0, 0.0, 1.0, 0.0, 2 / 6]]], dtype=torch.float64)
    torch.testing.assert_close(multiplier, expected)


def test_a_product_is_split_at_the_mean() -> None:
    x = torch.tensor([[3.0, 5.0]], dtype=torch.float64)
    x0 = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    multiplier = multipliers(lambda batch: batch[:, 0] * batch[:, 1], x, x0)
    torch.testing.assert_close(multiplier, torch.tensor([[3.5, 2.0]], dtype=torch.float64))


def test_an_unknown_operation_is_refused_by_name() -> None:
    with pytest.raises(UnknownOperation, match=r"cummax.*unknown='warn'") as caught:
        multipliers(lambda batch: batch.cummax(1).values.sum(1), uniform(2, 5), uniform(2, 5, seed=1))
    assert caught.value.operation == "cummax"


def test_an_unknown_operation_can_be_let_through_with_a_warning() -> None:
    batch = uniform(4, 5).requires_grad_()
    with pytest.warns(UnknownOperationWarning, match="sort"), Rescale(unknown="warn").apply():
        output = batch.sort(1).values.tanh().sum(1)
    torch.testing.assert_close(output, batch.sort(1).values.tanh().sum(1))
    (gradient,) = torch.autograd.grad(output.sum(), batch)
    assert gradient[:2].abs().min() > 0


def _unnoticed(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x.exp()


class _Swish(torch.autograd.Function):
    """Known operations inside, which are not differentiated."""

    @staticmethod
    def forward(ctx, x):
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: torch.where(x > 0, x, x.exp()), "where"),
        (lambda x: (x > 0).double() * x, "mul"),
        (lambda x: x * x.detach(), "mul"),
        (lambda x: x * _unnoticed(x), "mul"),
        (lambda x: _Swish.apply(x), "_Swish"),
        (lambda x: x * x[0, 0].item(), "item"),
        (lambda x: x * float(x[0, 0]), "float"),
        (lambda x: x.flip(0).exp(), "exp"),
        (lambda x: (x - x.mean(0)).exp(), "exp"),
        (lambda x: (x @ x.T).exp()[:, :4], "exp"),
        (lambda x: x.softmax(0), "softmax"),
        (lambda x: x.max(0, keepdim=True).values + x, "max"),
        (lambda x: F.dropout(x, 0.5, training=True), "dropout"),
        (lambda x: F.batch_norm(x, None, None, training=True), "batch_norm"),
        (lambda x: torch.fft.rfft(x).exp().real, "exp"),
        (lambda x: torch.fft.fftn(x).real.exp(), "exp"),
    ],
)
def test_what_would_be_silently_wrong_is_refused(function: Function, name: str) -> None:
    with pytest.raises(UnknownOperation, match=f"^{name}:"):
        multipliers(lambda batch: function(batch).sum(1), uniform(2, 5), uniform(2, 5, seed=1))


def test_parameters_must_be_frozen() -> None:
    model = frozen(nn.Linear(5, 2)).requires_grad_()
    with pytest.raises(ValueError, match="freeze the parameters"):
        multipliers(lambda batch: model(batch)[:, 0], uniform(2, 5), uniform(2, 5, seed=1))


def test_nothing_stays_behind_after_an_error() -> None:
    x = uniform(4, 5).requires_grad_()
    with pytest.raises(UnknownOperation), Rescale().apply():
        x.exp().tolist()
    assert _get_current_function_mode_stack() == []
    (gradient,) = torch.autograd.grad(x.exp().sum(), x)
    torch.testing.assert_close(gradient, x.exp())


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="eps must be >= 0, got -1"):
        Rescale(eps=-1)
    with pytest.raises(ValueError, match="unknown must be 'raise' or 'warn', got 'ignore'"):
        Rescale(unknown="ignore")  # type: ignore[arg-type]


# Captum 0.9.0 beside ours, where Captum's answer is wrong. More are in tests/algorithms/test_captum_divergences.py.

captum_warns = pytest.mark.filterwarnings(
    "ignore:Input Tensor . did not already require gradients:UserWarning",
    "ignore:Setting forward, backward hooks and attributes:UserWarning",
)


class Operation(nn.Module):
    """A function of two hidden vectors of 8."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.left, self.right, self.out = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.function(self.left(x), self.right(x)))


def _attended(a: Tensor, b: Tensor) -> Tensor:
    return (a.view(-1, 4, 2) @ b.view(-1, 2, 4) @ a.view(-1, 4, 2)).flatten(1)


def _selected(model: nn.Module) -> Function:
    return lambda batch: model(batch)[:, 1]


@captum_warns
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(frozen(Operation(function)), id=name)
        for name, function in {
            "exp": lambda a, _: a.exp(),
            "quotient": lambda a, b: a / (b.square() + 1),
            "product": lambda a, b: a * b,
            "matmul": _attended,
            "functional relu": lambda a, _: F.relu(a),
            "maximum": torch.maximum,
        }.items()
    ]
    + [
        pytest.param(frozen(nn.Linear(6, 8), activation(), nn.Linear(8, 3)), id=activation.__name__)
        for activation in (nn.GELU, nn.SELU, nn.SiLU, nn.Hardswish)
    ]
    + [
        pytest.param(
            frozen(nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 2), *pair, nn.Flatten(), nn.Linear(4, 3)),
            id=" before ".join(type(module).__name__ for module in pair),
        )
        for pair in ((nn.MaxPool1d(2), nn.ReLU()), (nn.ReLU(), nn.MaxPool1d(2)))
    ],
)
def test_operations_that_captum_does_not_see_are_complete(model: nn.Module) -> None:
    x, x0 = uniform(4, 6), uniform(4, 6, seed=1)
    assert completeness_error(_selected(model), x, x0) < 1e-10
    theirs = DeepLift(model).attribute(x, x0, target=1).detach().sum(1)
    difference = (model(x) - model(x0))[:, 1]
    assert ((theirs - difference) / difference).abs().max() > 1e-2


@captum_warns
def test_where_a_pool_meets_no_difference_the_gradient_is_the_samples_own() -> None:
    """Captum takes the first example's."""
    model = frozen(nn.MaxPool1d(2), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    x, x0 = uniform(2, 1, 6), uniform(2, 1, 6, seed=1)
    x0[1] = x[1]

    def function(batch: Tensor) -> Tensor:
        return model(batch)[:, 0, 1]

    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(leaf).sum(), leaf)
    torch.testing.assert_close(multipliers(function, x, x0)[1], gradient[1], rtol=1e-9, atol=1e-12)
    theirs = DeepLift(model, multiply_by_inputs=False).attribute(x, x0, target=(0, 1))
    assert not torch.allclose(theirs[1], gradient[1], rtol=1e-2)


@captum_warns
@pytest.mark.parametrize("batch_first", [True, False])
def test_a_module_with_a_backward_hook_of_its_own_is_not_skipped(batch_first: bool) -> None:
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.tanh, self.out = nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = x if batch_first else x.transpose(0, 1)
            return self.out(self.tanh(self.inner(x)).sum(1 if batch_first else 0))

    model, x, x0 = frozen(Steps())[0].requires_grad_(), uniform(4, 2, 3), uniform(4, 2, 3, seed=1)
    right = attribute(model, x, algorithms.DeepLift(), target=1, baselines=x0)
    torch.testing.assert_close(right.flatten(1).sum(1), (model(x) - model(x0))[:, 1].detach())
    calls: list[nn.Module] = []
    for module in model.modules():
        module.register_full_backward_hook(lambda module, *_: calls.append(module))
    ours = attribute(model, x, algorithms.DeepLift(), target=1, baselines=x0)
    torch.testing.assert_close(ours, right)
    assert len(set(calls)) == 4
    theirs = DeepLift(model).attribute(x, x0, target=1).detach()
    assert not torch.allclose(theirs, right, rtol=1e-2)


@captum_warns
def test_attributes_of_modules_are_not_touched() -> None:
    """Captum keeps inputs and outputs on the modules, over what stands there, and for good off the explained path."""

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.explained = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
            self.explained[1].input = "the user's own"
            self.other = nn.Sequential(nn.Linear(6, 4), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            self.other(x)
            return self.explained(x)

    model, x, x0 = frozen(Heads())[0], uniform(4, 6), uniform(4, 6, seed=1)
    before = [set(vars(module)) for module in model.modules()]
    multipliers(_selected(model), x, x0)
    assert [set(vars(module)) for module in model.modules()] == before
    assert model.explained[1].input == "the user's own"
    DeepLift(model).attribute(x, x0, target=1)
    assert not hasattr(model.explained[1], "input")
    assert hasattr(model.other[1], "output")


@captum_warns
def test_both_ends_of_a_pool_can_be_explained() -> None:
    """Captum 0.9.0 is right at its output only."""
    model = frozen(nn.Conv1d(1, 2, 2), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    x, x0 = uniform(4, 1, 5), uniform(4, 1, 5, seed=1)
    wanted = (model(x) - model(x0))[:, 1]
    for layer in ("1", "1:input"):
        maps = attribute(model, x, algorithms.DeepLift(), target=1, baselines=x0, layer=layer)
        torch.testing.assert_close(maps.flatten(1).sum(1), wanted, rtol=1e-10, atol=1e-12)
    captum = LayerDeepLift(model.requires_grad_(), model[1])
    for at_input in (False, True):
        theirs = captum.attribute(x, x0, target=1, attribute_to_layer_input=at_input).detach().flatten(1).sum(1)
        assert torch.allclose(theirs, wanted, rtol=1e-2) != at_input


def test_a_modulus_that_is_zero_in_input_and_baseline_has_no_slope() -> None:
    class Loudness(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft(x).abs().log1p().sum(1, keepdim=True)

    x = torch.zeros(1, 8, dtype=torch.float64)
    maps = attribute(Loudness(), x, algorithms.DeepLift(), target=0, baselines=x)
    assert torch.equal(maps, torch.zeros_like(x))
