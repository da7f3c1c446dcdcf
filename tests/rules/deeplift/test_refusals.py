"""DeepLIFT-Rescale at what it cannot pass: checkpoints, numbers that are logged, decisions by a value."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.rules.deeplift.test_rule import completeness_error, frozen, multipliers
from tests.rules.models import uniform
from xbench import algorithms, attribute
from xbench.rules.errors import UnknownOperation


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("algorithm", [algorithms.DeepLift(), algorithms.LRP(), algorithms.GuidedBackprop()])
def test_checkpointed_models_are_refused_in_clear_words(reentrant: bool, algorithm: algorithms.Algorithm) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.out = nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(checkpoint(lambda x: self.inner(x).sigmoid(), x, use_reentrant=reentrant))

    model, x = frozen(Checkpointed()), uniform(2, 6)
    with pytest.raises(RuntimeError, match="checkpoint.*switch the model's gradient checkpointing off"):
        attribute(model, x, algorithm, target=1, baselines=0)


LOGGED: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda x: x.max(),
    "std": lambda x: x.std(),
    "norm": lambda x: x.norm(),
    "var": lambda x: x.var(0),
    "median": lambda x: x.median(),
    "quantile": lambda x: x.quantile(0.9),
    "softmax": lambda x: x.softmax(0).sum(0),
    "exp": lambda x: (x - x.mean(0)).exp().log().mean(),
    "cummax": lambda x: x.cummax(1).values.exp(),
    "dropout": lambda x: F.dropout(x, 0.5, training=True).tanh(),
}


@pytest.mark.parametrize("name", LOGGED)
def test_what_is_only_logged_passes_and_what_is_used_is_refused_by_name(name: str) -> None:
    model, x = frozen(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)), uniform(3, 6)
    expected = attribute(model, x, algorithms.DeepLift(), target=1, baselines=0)
    seen: list[Tensor] = []
    logs = model[1].register_forward_hook(lambda *args: seen.append(LOGGED[name](args[2])))
    assert torch.equal(attribute(model, x, algorithms.DeepLift(), target=1, baselines=0), expected)
    assert len(seen) > 0
    logs.remove()
    model[1].register_forward_hook(lambda *args: args[2] + LOGGED[name](args[2]))
    with pytest.raises(UnknownOperation, match=f"^{name}: DeepLIFT-Rescale cannot pass through it") as caught:
        attribute(model, x, algorithms.DeepLift(), target=1, baselines=0)
    assert caught.value.operation == name


def test_a_refused_result_that_is_multiplied_by_zero_is_not_used() -> None:
    x, x0 = uniform(3, 6), uniform(3, 6, seed=1)
    assert completeness_error(lambda x: x.exp().sum(1) + 0 * x.median(), x, x0) < 1e-10


def test_numbers_of_activations_are_refused_unless_they_are_detached() -> None:
    """Whether a number is logged or used cannot be seen, so the user says it."""
    model, x = frozen(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)), uniform(2, 6)
    expected = attribute(model, x, algorithms.DeepLift(), target=1, baselines=0)
    seen: list[float] = []
    model[0].register_forward_hook(lambda *args: seen.append(args[2].detach().max().item()))
    torch.testing.assert_close(attribute(model, x, algorithms.DeepLift(), target=1, baselines=0), expected)
    assert len(seen) > 0
    model[1].register_forward_hook(lambda *args: seen.append(args[2].mean().item()))
    with pytest.raises(UnknownOperation, match=r"item: .*detach\(\) what is only logged"):
        attribute(model, x, algorithms.DeepLift(), target=1, baselines=0)


DECISIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda x: x.max() > 1,
    "any": lambda x: (x > 1).any(),
    "mean": lambda x: x.mean() * 2 > 1,
    "one value": lambda x: x[0, 0] > -9,
    "norm": lambda x: x.norm() > 5,
}


@pytest.mark.parametrize("name", DECISIONS)
def test_a_model_that_decides_by_its_input_is_refused_where_input_and_reference_may_go_apart(name: str) -> None:
    def function(x: Tensor) -> Tensor:
        return (x.exp() if DECISIONS[name](x) else x).sum(1)

    large, small = uniform(3, 5).abs() + 2, uniform(3, 5, seed=1).abs() / 4
    with pytest.raises(UnknownOperation, match="^bool: .* the model decides by a value of its input"):
        multipliers(function, large, small)
    if name in ("max", "any", "mean"):  # both go the same way
        assert completeness_error(function, large, large + 1) < 1e-10
        assert completeness_error(function, small, small / 2) < 1e-10


def test_a_check_that_no_value_is_missing_passes() -> None:
    def function(x: Tensor) -> Tensor:
        if torch.isnan(x).any() or not torch.isfinite(x).all():
            raise ValueError("missing values")
        return x.exp().sum(1)

    assert completeness_error(function, uniform(3, 5), uniform(3, 5, seed=1)) < 1e-10
